#include "optim/adamw.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "optim/adamw8.h"
#include "tensor/check.h"
#include "tensor/dtype.h"
#include "tensor/kernels/copy.h"
#include "tensor/kernels/launch.h"
#include "tensor/ops/kernel_or_die.h"

namespace lorikeet {
namespace {

// Blocks of the store that saving and loading hold in memory at a time, however large its pages are.
constexpr int64_t kMostVisited = 16 * 1024;

// How a parameter's moments lie in a store of some dtype.
struct Layout {
  DType dtype;     // of the moments: the store's, or f32 in a store of bytes
  int64_t block;   // elements of the parameter to a block of the store
  int64_t blocks;  // that the parameter needs
  int64_t unit;    // elements of the store to one of `dtype`
};

Layout LayoutOf(const Parameter& p, DType store) {
  const int64_t n = p.value.size();
  const auto blocks = [n](int64_t block) { return (n + block - 1) / block; };
  if (store != DType::kU8 || n >= kMin8BitSize) return {store, kStateBlock, blocks(kStateBlock), 1};
  const int64_t bytes = static_cast<int64_t>(sizeof(float)), block = BlockElements(store) / bytes;
  return {DType::kF32, block, blocks(block), bytes};
}

// What is saved of a moment: its numbers, or in 8 bits its blocks.
Shape SavedShape(const Parameter& p, const Layout& layout) {
  if (layout.dtype == DType::kU8) return {layout.blocks, BlockElements(DType::kU8)};
  return p.value.shape();
}

const AdamWKernels& KernelsFor(Device device) { return device.is_cpu() ? kCpuAdamW : kCudaAdamW; }
const AdamW8Kernels& KernelsFor8Bits(Device device) { return device.is_cpu() ? kCpuAdamW8 : kCudaAdamW8; }

// [begin, end) of a contiguous view of rank 1.
View Part(const View& v, int64_t begin, int64_t end) {
  View part = v;
  part.data = v.ptr<char>() + begin * static_cast<int64_t>(SizeOf(v.dtype));
  part.dims[0] = end - begin;
  return part;
}

// The same memory as numbers of another dtype.
View As(const View& v, DType dtype) {
  View out = v;
  out.dtype = dtype;
  out.dims[0] = v.dims[0] * static_cast<int64_t>(SizeOf(v.dtype)) / static_cast<int64_t>(SizeOf(dtype));
  return out;
}

View FlatPart(const Tensor& t, int64_t begin, int64_t end) { return t.Reshape({-1}).Slice(0, begin, end).view(); }

// Copies from the device that `device` names to the host, or back; a view on that device has no Tensor.
void CopyToHost(const View& from, Device device, const Tensor& to) {
  if (device.is_cpu()) return kCpuCopy.copy(from, to.view(), LaunchContext{});
  tensor::KernelOrDie(kCudaCopy.transfer, "AdamW::SaveState", to)(from, true, to.view(), false, LaunchContext{});
}
void CopyFromHost(const Tensor& from, const View& to, Device device) {
  if (device.is_cpu()) return kCpuCopy.copy(from.view(), to, LaunchContext{});
  tensor::KernelOrDie(kCudaCopy.transfer, "AdamW::LoadState", from)(from.view(), false, to, true, LaunchContext{});
}

}  // namespace

int64_t StateElements(absl::Span<Parameter* const> parameters, DType store) {
  int64_t blocks = 0;
  for (const Parameter* p : parameters) blocks += LayoutOf(*p, store).blocks;
  return blocks * BlockElements(store);
}

AdamW::AdamW(std::vector<Parameter*> parameters, AdamWOptions options, std::unique_ptr<StateStore> store)
    : parameters_(std::move(parameters)), options_(std::move(options)), store_(std::move(store)) {
  int64_t begin = 0;
  const DType dtype = store_->dtype() == DType::kU8 ? DType::kF32 : store_->dtype();
  for (const Parameter* p : parameters_) {
    LORIKEET_CHECK(p->trainable && p->value.dtype() == dtype && p->value.device() == store_->device())
        << "AdamW: parameter " << p->name << " is " << Describe(p->value) << (p->trainable ? "" : ", frozen")
        << "; expected a trainable " << Name(dtype) << " on " << ToString(store_->device());
    begins_.push_back(begin);
    begin += LayoutOf(*p, store_->dtype()).blocks * BlockElements(store_->dtype());
    groups_.push_back(options_.group ? options_.group(*p) : AdamWGroup{1, options_.weight_decay});
  }
  begins_.push_back(begin);
  LORIKEET_CHECK_EQ(begin, store_->elements()) << "AdamW: elements of the parameters' state and of the store";
}

std::vector<AdamW::Slice> AdamW::SlicesOf(int page) const {
  const int64_t first = page * store_->page_elements();
  const int64_t last = std::min(first + store_->page_elements(), store_->elements());
  std::vector<Slice> slices;
  const auto after = std::upper_bound(begins_.begin(), begins_.end(), first);
  const int64_t per_block = BlockElements(store_->dtype());
  for (size_t i = static_cast<size_t>(after - begins_.begin() - 1); i < parameters_.size() && begins_[i] < last; ++i) {
    const int64_t block = LayoutOf(*parameters_[i], store_->dtype()).block;
    const int64_t from = std::max(first, begins_[i]);
    const int64_t begin = (from - begins_[i]) / per_block * block;
    const int64_t end = std::min(parameters_[i]->value.size(), (last - begins_[i]) / per_block * block);
    if (begin < end) slices.push_back({static_cast<int>(i), begin, end, from - first});
  }
  return slices;
}

std::vector<int> AdamW::Walk() const {
  std::vector<int> pages;
  for (int page = 0; page < store_->num_pages(); ++page) {
    const std::vector<Slice> slices = SlicesOf(page);
    const auto has_gradient = [&](const Slice& s) { return parameters_[s.parameter]->grad.defined(); };
    if (std::any_of(slices.begin(), slices.end(), has_gradient)) pages.push_back(page);
  }
  if ((steps_ + 1) % 2 == 0) std::reverse(pages.begin(), pages.end());
  return pages;
}

AdamW::Segments AdamW::SegmentsOf(const StatePage& state, int page, double lr) const {
  Segments segments;
  for (const Slice& s : SlicesOf(page)) {
    const Parameter& p = *parameters_[s.parameter];
    if (!p.grad.defined()) continue;
    const AdamWGroup& group = groups_[s.parameter];
    const Layout layout = LayoutOf(p, store_->dtype());
    const bool in_8_bits = layout.dtype == DType::kU8;
    const int64_t n = s.end - s.begin, blocks = (n + layout.block - 1) / layout.block;
    const int64_t end = s.offset + (in_8_bits ? blocks * BlockElements(DType::kU8) : n * layout.unit);
    (in_8_bits ? segments.in_8_bits : segments.full)
        .push_back({.g = FlatPart(p.grad, s.begin, s.end),
                    .p = FlatPart(p.value, s.begin, s.end),
                    .m = As(Part(state.m, s.offset, end), layout.dtype),
                    .v = As(Part(state.v, s.offset, end), layout.dtype),
                    .lr = lr * group.lr_scale,
                    .weight_decay = group.weight_decay});
  }
  return segments;
}

void AdamW::UpdatePage(const StatePage& state, int page, double lr, const AdamWStep& step) const {
  const Segments segments = SegmentsOf(state, page, lr);
  const auto run = [&](auto kernel, const std::vector<AdamWSegment>& list) {
    LORIKEET_CHECK(kernel != nullptr) << "AdamW: no kernel for " << ToString(store_->device());
    if (!list.empty()) kernel(list.data(), static_cast<int64_t>(list.size()), step, LaunchContext{});
  };
  run(KernelsFor8Bits(store_->device()).step, segments.in_8_bits);
  run(KernelsFor(store_->device()).step, segments.full);
}

absl::Status AdamW::Step(double lr, double grad_scale) { return Update(lr, grad_scale, nullptr); }

absl::Status AdamW::Step(double lr, const Tensor& gate) {
  LORIKEET_CHECK(gate.dtype() == DType::kF64 && gate.size() >= 1 && gate.device() == store_->device())
      << "AdamW::Step: gate is " << Describe(gate) << ", expected f64 on " << ToString(store_->device());
  const double* const scale = static_cast<const double*>(gate.raw());
  if (gate.device().is_cuda()) return Update(lr, 1, scale);
  if (!std::isnan(*scale)) return Update(lr, *scale, nullptr);
  ++steps_;
  return absl::OkStatus();
}

void AdamW::UndoStepCount(int64_t steps) {
  LORIKEET_CHECK(steps >= 0 && steps <= steps_) << "AdamW::UndoStepCount: " << steps << " of " << steps_ << " steps";
  steps_ -= steps;
}

absl::Status AdamW::Update(double lr, double grad_scale, const double* gate) {
  if (!damage_.ok()) return damage_;
  for (Parameter* p : parameters_) {
    LORIKEET_CHECK(p->value.contiguous()) << "AdamW: parameter " << p->name << " is not contiguous";
    if (!p->grad.defined()) continue;
    LORIKEET_CHECK(p->grad.shape() == p->value.shape() && p->grad.dtype() == p->value.dtype())
        << "AdamW: parameter " << p->name << " is " << Describe(p->value) << ", its gradient " << Describe(p->grad);
    p->grad = p->grad.Contiguous();
  }
  if (absl::Status whole = store_->Verify(); !whole.ok()) return whole;

  const double t = static_cast<double>(steps_ + 1);
  const AdamWStep step = {.beta1 = options_.beta1,
                          .beta2 = options_.beta2,
                          .eps = options_.eps,
                          .c1 = 1 - std::pow(options_.beta1, t),
                          .c2 = std::sqrt(1 - std::pow(options_.beta2, t)),
                          .grad_scale = grad_scale,
                          .gate = gate};
  const std::vector<int> walk = Walk();
  for (size_t i = 0; i < walk.size(); ++i) {
    absl::StatusOr<StatePage> state = store_->Acquire(walk[i]);
    if (!state.ok() && i == 0) return state.status();
    if (!state.ok()) {
      damage_ = absl::DataLossError(
          absl::StrCat("optimizer state was lost in the middle of step ", steps_ + 1,
                       "; parameters are partly updated, go back to the last checkpoint: ", state.status().message()));
      return damage_;
    }
    if (i + 1 < walk.size()) store_->Prefetch(walk[i + 1]);
    UpdatePage(*state, walk[i], lr, step);
    store_->Release(walk[i], /*modified=*/true);
  }
  ++steps_;
  return absl::OkStatus();
}

std::vector<StateTensor> AdamW::StateTensors() const {
  std::vector<StateTensor> tensors;
  for (const char* moment : {"exp_avg.", "exp_avg_sq."}) {
    for (const Parameter* p : parameters_) {
      const Layout layout = LayoutOf(*p, store_->dtype());
      tensors.push_back({absl::StrCat(moment, p->name), SavedShape(*p, layout), layout.dtype});
    }
  }
  return tensors;
}

absl::Status AdamW::VisitMoment(int tensor, bool modify, absl::FunctionRef<absl::Status(View, int64_t)> f) {
  const int count = static_cast<int>(parameters_.size()), parameter = tensor % count;
  const bool second = tensor >= count;
  const Layout layout = LayoutOf(*parameters_[parameter], store_->dtype());
  const int64_t first = begins_[parameter];
  const int64_t last = first + SavedShape(*parameters_[parameter], layout).size() * layout.unit;
  const int64_t most = kMostVisited * BlockElements(store_->dtype());
  for (int64_t at = first; at < last;) {
    const int page = static_cast<int>(at / store_->page_elements());
    absl::StatusOr<StatePage> state = store_->Acquire(page);
    if (!state.ok()) return state.status();
    const int64_t begin = at - state->begin, end = std::min(last - state->begin, state->m.dims[0]);
    absl::Status done;
    for (int64_t from = begin; from < end && done.ok(); from += most) {
      const View piece = As(Part(second ? state->v : state->m, from, std::min(end, from + most)), layout.dtype);
      done = f(piece, (state->begin + from - first) / layout.unit);
    }
    store_->Release(page, modify);
    if (!done.ok()) return done;
    at = state->begin + end;
  }
  return absl::OkStatus();
}

absl::Status AdamW::SaveState(WriteState write) {
  if (!damage_.ok()) return damage_;
  const std::vector<StateTensor> tensors = StateTensors();
  for (size_t i = 0; i < tensors.size(); ++i) {
    const absl::Status done = VisitMoment(static_cast<int>(i), false, [&](View piece, int64_t begin) {
      const Tensor values = Tensor::Empty({piece.dims[0]}, piece.dtype);
      CopyToHost(piece, store_->device(), values);
      return write(tensors[i], begin, values);
    });
    if (!done.ok()) return done;
  }
  return absl::OkStatus();
}

absl::Status AdamW::LoadState(int64_t steps, ReadState read) {
  LORIKEET_CHECK(steps >= 0) << "AdamW::LoadState: step " << steps;
  damage_ = absl::DataLossError("optimizer state was loaded in part only; load a whole checkpoint");
  const std::vector<StateTensor> tensors = StateTensors();
  for (size_t i = 0; i < tensors.size(); ++i) {
    const absl::Status done = VisitMoment(static_cast<int>(i), true, [&](View piece, int64_t begin) -> absl::Status {
      absl::StatusOr<Tensor> values = read(tensors[i], begin, begin + piece.dims[0]);
      if (!values.ok()) return values.status();
      const bool fits = IsFloat(piece.dtype) ? IsFloat(values->dtype()) : values->dtype() == piece.dtype;
      if (values->size() != piece.dims[0] || !fits) {
        return absl::InvalidArgumentError(absl::StrCat(tensors[i].name, ": got ", Describe(*values), " for ",
                                                       piece.dims[0], " elements of optimizer state"));
      }
      CopyFromHost(values->Reshape({-1}).Cast(piece.dtype), piece, store_->device());
      return absl::OkStatus();
    });
    if (!done.ok()) return done;
  }
  damage_ = absl::OkStatus();
  steps_ = steps;
  return absl::OkStatus();
}

}  // namespace lorikeet
