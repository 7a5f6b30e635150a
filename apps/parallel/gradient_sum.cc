#include "apps/parallel/gradient_sum.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/types/span.h"
#include "tensor/check.h"
#include "tensor/cuda_stream.h"
#include "tensor/device.h"
#include "tensor/dtype.h"

namespace lorikeet {
namespace {

constexpr int64_t kBufferElements = int64_t{4} << 20;  // what Ranks::Sum sends at once

}  // namespace

GradientSum::GradientSum(Ranks* ranks, std::vector<Parameter*> parameters, NcclSum* nccl)
    : ranks_(ranks), parameters_(std::move(parameters)), nccl_(nccl) {
  int64_t total = 0;
  for (const Parameter* p : parameters_) {
    total += p->value.size();
    cuda_ = p->value.device().is_cuda();
  }
  if (nccl_ != nullptr) return;
  const Shape shape{std::clamp<int64_t>(total, 1, kBufferElements)};
  buffer_ = cuda_ ? Tensor::Empty(shape, DType::kF32, pinned_) : Tensor::Empty(shape, DType::kF32);
}

// Zeros where another rank has a gradient and this one has none.
absl::Status GradientSum::FillIn() {
  std::vector<double> have;
  for (const Parameter* p : parameters_) have.push_back(p->grad.defined() ? 1 : 0);
  if (absl::Status s = ranks_->Sum(absl::MakeSpan(have)); !s.ok()) return s;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    Parameter& p = *parameters_[i];
    if (have[i] > 0 && !p.grad.defined()) p.grad = Tensor::Zeros(p.value.shape(), DType::kF32, p.value.device());
  }
  return absl::OkStatus();
}

// As many elements as the buffer holds, from *element of *tensor on; both are then where it stopped.
std::vector<GradientSum::Piece> GradientSum::NextPieces(const std::vector<Tensor>& tensors, size_t* tensor,
                                                        int64_t* element) const {
  std::vector<Piece> pieces;
  int64_t offset = 0;
  while (offset < buffer_.size() && *tensor < tensors.size()) {
    const Tensor& t = tensors[*tensor];
    const int64_t n = std::min(t.size() - *element, buffer_.size() - offset);
    if (n > 0) pieces.push_back({static_cast<float*>(t.raw()) + *element, n, offset});
    offset += n;
    *element += n;
    if (*element < t.size()) break;
    ++*tensor;
    *element = 0;
  }
  return pieces;
}

void GradientSum::Copy(const std::vector<Piece>& pieces, bool to_buffer) {
  float* const buffer = buffer_.data<float>().data();
  for (const Piece& piece : pieces) {
    float* const here = buffer + piece.offset;
    float* const to = to_buffer ? here : piece.values;
    const float* const from = to_buffer ? piece.values : here;
    const size_t bytes = static_cast<size_t>(piece.elements) * sizeof(float);
    if (cuda_) {
      ComputeStream().Copy(to, from, bytes);
    } else {
      std::memcpy(to, from, bytes);
    }
  }
  // Kernels wait for the way back; the host, for the way here.
  if (cuda_ && to_buffer) ComputeStream().Synchronize();
}

absl::Status GradientSum::Add(const std::vector<Tensor>& others) {
  if (ranks_->size() == 1) return absl::OkStatus();
  if (absl::Status s = FillIn(); !s.ok()) return s;
  std::vector<Tensor> tensors;
  for (const Parameter* p : parameters_) {
    if (p->grad.defined()) tensors.push_back(p->grad);
  }
  tensors.insert(tensors.end(), others.begin(), others.end());
  for (const Tensor& t : tensors) {
    LORIKEET_CHECK(t.dtype() == DType::kF32 && t.contiguous()) << "GradientSum: " << Describe(t);
  }
  if (nccl_ != nullptr) {
    nccl_->Add(tensors);
    return absl::OkStatus();
  }
  size_t tensor = 0;
  int64_t element = 0;
  while (tensor < tensors.size()) {
    const std::vector<Piece> pieces = NextPieces(tensors, &tensor, &element);
    if (pieces.empty()) break;
    const int64_t elements = pieces.back().offset + pieces.back().elements;
    Copy(pieces, true);
    const absl::Span<float> values = buffer_.data<float>().first(static_cast<size_t>(elements));
    if (absl::Status s = ranks_->Sum(values); !s.ok()) return s;
    Copy(pieces, false);
  }
  return absl::OkStatus();
}

}  // namespace lorikeet
