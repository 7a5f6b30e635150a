#include "tensor/ops/copy.h"

#include <cstdint>

#include "tensor/check.h"
#include "tensor/device.h"
#include "tensor/kernels/copy.h"
#include "tensor/ops/checks.h"
#include "tensor/ops/kernel_or_die.h"
#include "tensor/shape.h"
#include "tensor/view.h"

namespace lorikeet::tensor {
namespace {

const CopyKernels& KernelsFor(Device device) { return device.is_cpu() ? kCpuCopy : kCudaCopy; }

}  // namespace

void CopyInto(const Tensor& x, Tensor& y) {
  LORIKEET_CHECK(x.defined() && y.defined()) << "CopyInto: " << Describe(x) << " into " << Describe(y);
  CheckSameDevice("CopyInto", x, y);
  CheckWritable("CopyInto", y);
  KernelOrDie(KernelsFor(y.device()).copy, "CopyInto", y)(x.Expand(y.shape()).view(), y.view(), {});
}

std::vector<Tensor> CastAll(absl::Span<const Tensor> xs, DType dtype) {
  std::vector<Tensor> ys;
  std::vector<View> from, to;
  for (const Tensor& x : xs) {
    LORIKEET_CHECK(x.defined() && x.device() == xs.front().device()) << "CastAll: " << Describe(x);
    ys.push_back(x.dtype() == dtype ? x : Tensor::Empty(x.shape(), dtype, x.device()));
    if (x.dtype() == dtype) continue;
    from.push_back(x.view());
    to.push_back(ys.back().view());
  }
  if (from.empty()) return ys;
  KernelOrDie(KernelsFor(xs.front().device()).copy_all, "CastAll", xs.front())(from.data(), to.data(),
                                                                               static_cast<int64_t>(from.size()), {});
  return ys;
}

void FillInPlace(Tensor& y, double value) {
  LORIKEET_CHECK(y.defined()) << "FillInPlace: undefined tensor";
  CheckWritable("FillInPlace", y);
  KernelOrDie(KernelsFor(y.device()).fill, "FillInPlace", y)(y.view(), value, {});
}

Tensor Concat(absl::Span<const Tensor> parts, int dim) {
  LORIKEET_CHECK(!parts.empty()) << "Concat: no tensors";
  const Tensor& first = parts.front();
  const int d = dim < 0 ? dim + first.rank() : dim;
  LORIKEET_CHECK(d >= 0 && d < first.rank()) << "Concat: dimension " << dim << " of " << Describe(first);
  Shape shape = first.shape();
  int64_t total = 0;
  for (const Tensor& part : parts) {
    LORIKEET_CHECK(part.defined() && part.rank() == first.rank())
        << "Concat: " << Describe(part) << " after " << Describe(first);
    shape.set(d, part.dim(d));
    CheckShape("Concat", "a part", part, shape);
    CheckSameDType("Concat", first, part);
    CheckSameDevice("Concat", first, part);
    total += part.dim(d);
  }
  shape.set(d, total);
  Tensor y = Tensor::Empty(shape, first.dtype(), first.device());
  int64_t at = 0;
  for (const Tensor& part : parts) {
    Tensor slot = y.Slice(d, at, at + part.dim(d));
    CopyInto(part, slot);
    at += part.dim(d);
  }
  return y;
}

}  // namespace lorikeet::tensor
