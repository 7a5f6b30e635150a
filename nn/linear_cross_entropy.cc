#include "nn/linear_cross_entropy.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "autograd/parameter.h"
#include "autograd/tape.h"
#include "nn/module.h"
#include "tensor/check.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/cross_entropy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/gather.h"
#include "tensor/ops/reduce.h"

namespace lorikeet {
namespace {

// Parameters of the head, collected so that their gradients can be kept apart until Backward.
class CollectTrainable : public Visitor {
 public:
  std::vector<Parameter*> parameters;

 protected:
  void VisitLeaf(absl::string_view, Parameter& p) override {
    if (p.trainable) parameters.push_back(&p);
  }
};

// What came of the rows from `begin` on.
void Keep(const tensor::CrossEntropyResult& r, int64_t begin, const RowLosses& rows) {
  const int64_t end = begin + r.losses.dim(0);
  Tensor losses = rows.losses.Slice(0, begin, end), correct = rows.correct.Slice(0, begin, end);
  tensor::CopyInto(r.losses, losses);
  tensor::CopyInto(r.correct, correct);
}

// scale*(softmax - onehot) of the chunk at `begin`, in the compute dtype; in place of the logits where that is theirs.
Tensor LogitsGrad(const Tensor& logits, const Answers& answers, DType dtype, const LinearCrossEntropyOptions& o,
                  int64_t begin, const RowLosses& rows) {
  const Tensor targets = answers.targets.Slice(0, begin, begin + logits.dim(0));
  Tensor dlogits = dtype == logits.dtype() ? logits : Tensor::Empty(logits.shape(), dtype, logits.device());
  Keep(tensor::CrossEntropyInto(logits, targets, answers.scale, o.softcap, dlogits), begin, rows);
  return dlogits;
}

// Loss of every chunk; with `dh` also the gradient of the rows, [n, hidden], through a frozen head.
void FrozenHead(const Tensor& h, LinearMap& head, const Answers& answers, const LinearCrossEntropyOptions& o,
                Tensor* dh, const RowLosses& rows) {
  for (int64_t begin = 0; begin < h.dim(0); begin += o.chunk) {
    const int64_t end = std::min(begin + o.chunk, h.dim(0));
    Tensor logits = Tensor::Empty({end - begin, head.out_features()}, LossDType(h.dtype()), h.device());
    head.Forward(h.Slice(0, begin, end), logits, {});
    if (dh == nullptr) {
      Keep(tensor::CrossEntropy(logits, answers.targets.Slice(0, begin, end), o.softcap), begin, rows);
      continue;
    }
    Tensor part = dh->Slice(0, begin, end);
    head.InputGrad(LogitsGrad(logits, answers, h.dtype(), o, begin, rows), part, {});
  }
}

// The same through a head that trains: its parameters' gradients are left in them.
void TrainableHead(const Tensor& h, LinearMap& head, const Answers& answers, const LinearCrossEntropyOptions& o,
                   Tensor* dh, const RowLosses& rows) {
  for (int64_t begin = 0; begin < h.dim(0); begin += o.chunk) {
    const int64_t end = std::min(begin + o.chunk, h.dim(0));
    Tensor part = dh->Slice(0, begin, end);
    Tape tape;
    const Variable x = tape.Leaf(h.Slice(0, begin, end), [&](Tensor g) { tensor::CopyInto(g, part); });
    const Variable y = head.Apply(x);
    const Tensor logits = y.value().Cast(LossDType(h.dtype()));
    tape.Backward(y, LogitsGrad(logits, answers, h.dtype(), o, begin, rows));
  }
}

}  // namespace

int64_t LogitsChunk(int64_t rows, Device device) {
  constexpr int64_t kLeast = 256, kMost = 1024;
  return device.is_cpu() ? kLeast : std::clamp(rows / 8, kLeast, kMost);
}

DType LossDType(DType h) { return h == DType::kF64 ? DType::kF64 : DType::kF32; }

Answers FindAnswers(const Tensor& targets, double scale, DType loss, Device device, int64_t multiple) {
  LORIKEET_CHECK(targets.rank() == 1 && targets.dtype() == DType::kI32 && targets.device().is_cpu())
      << "FindAnswers: targets is " << Describe(targets) << ", expected i32[tokens] on the CPU";
  std::vector<int32_t> rows, kept, place;
  const Tensor flat = targets.Contiguous();
  const absl::Span<const int32_t> all = flat.data<int32_t>();
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i] < 0) continue;
    rows.push_back(static_cast<int32_t>(i));
    kept.push_back(all[i]);
  }
  const size_t unit = static_cast<size_t>(multiple), padded = (rows.size() + unit - 1) / unit * unit;
  rows.resize(padded, 0);
  kept.resize(padded, -1);
  int32_t next = 0;
  for (int32_t target : all) place.push_back(target < 0 ? static_cast<int32_t>(padded) : next++);
  const auto there = [device](const std::vector<int32_t>& v) {
    return Tensor::From<int32_t>(v, {static_cast<int64_t>(v.size())}, device);
  };
  return {there(rows), there(kept), there(place), Tensor::Scalar(scale, loss, device)};
}

Variable LinearCrossEntropy(const Variable& h, LinearMap& head, const Tensor& targets,
                            const LinearCrossEntropyOptions& o, RowLosses* rows) {
  return LinearCrossEntropy(h, head, FindAnswers(targets, o.scale, LossDType(h.dtype()), h.value().device()), o, rows);
}

Variable LinearCrossEntropy(const Variable& h, LinearMap& head, const Answers& answers,
                            const LinearCrossEntropyOptions& options, RowLosses* rows) {
  LORIKEET_CHECK(h.value().rank() == 2 && answers.place.shape() == (Shape{h.value().dim(0)}))
      << "LinearCrossEntropy: h is " << Describe(h.value()) << " for " << answers.place.size()
      << " targets, expected [tokens,hidden] and i32[tokens]";
  const Device device = h.value().device();
  const int64_t n = answers.rows.size();
  LinearCrossEntropyOptions o = options;
  if (o.chunk == 0) o.chunk = LogitsChunk(n, device);
  const Tensor answered = tensor::GatherRows(h.value(), answers.rows);
  const RowLosses own = {Tensor::Empty({n}, LossDType(h.dtype()), device), Tensor::Empty({n}, DType::kI32, device)};
  std::vector<Parameter*> parameters;
  std::vector<Tensor> held;
  Tensor gathered, dh;
  const bool recording = Tape::Current() != nullptr && (h.needs_grad() || !head.frozen());
  if (recording) {
    // With a row of zeros behind them, so that Backward finds every row's gradient in one lookup.
    gathered = Tensor::Empty({n + 1, answered.dim(1)}, answered.dtype(), device);
    Tensor none = gathered.Slice(0, n, n + 1);
    tensor::FillInPlace(none, 0);
    dh = gathered.Slice(0, 0, n);
  }
  if (recording && !head.frozen()) {
    CollectTrainable collect;
    head.Visit(collect);
    parameters = collect.parameters;
    for (Parameter* p : parameters) held.push_back(std::exchange(p->grad, Tensor()));
    TrainableHead(answered, head, answers, o, &dh, own);
    for (size_t i = 0; i < parameters.size(); ++i) std::swap(parameters[i]->grad, held[i]);
  } else {
    FrozenHead(answered, head, answers, o, recording ? &dh : nullptr, own);
  }
  if (rows != nullptr) *rows = own;
  const Tensor loss = tensor::Mul(tensor::SumAll(own.losses), answers.scale);
  if (!recording) return Variable(loss);
  std::vector<SavedValue> saved = {gathered, answers.place};
  saved.insert(saved.end(), held.begin(), held.end());
  BackwardManyFn rule = [parameters](absl::Span<Tensor> saved, absl::Span<const Tensor> dys, GradSink& grad) {
    const double dy = dys[0].item();
    if (grad.wants(0)) {
      Tensor dx = tensor::GatherRows(saved[0], saved[1]);
      if (dy != 1) tensor::ScaleInPlace(dx, dy);
      grad.Add(0, dx);
    }
    for (size_t i = 0; i < parameters.size(); ++i) {
      Tensor& g = saved[i + 2];
      if (!g.defined()) continue;
      if (parameters[i]->grad.defined()) {
        tensor::AddInPlace(parameters[i]->grad, g, dy);
      } else {
        if (dy != 1) tensor::ScaleInPlace(g, dy);
        parameters[i]->grad = g;
      }
    }
  };
  return Tape::Current()->Append("LinearCrossEntropy", {h}, {loss}, std::move(saved), std::move(rule))[0];
}

LossCounts CountLosses(const RowLosses& rows) {
  const Tensor losses = rows.losses.To(kCpu).Cast(DType::kF64), correct = rows.correct.To(kCpu);
  LossCounts counts;
  counts.tokens = losses.size();
  for (double loss : losses.data<double>()) counts.loss_sum += loss;
  for (int32_t hit : correct.data<int32_t>()) counts.correct += hit;
  return counts;
}

}  // namespace lorikeet
