#include "autograd/ops/shape.h"

#include "autograd/tape.h"
#include "tensor/check.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/reduce.h"

namespace lorikeet {
namespace {

using Saved = absl::Span<Tensor>;

}  // namespace

// y = x in another shape.   dx = dy in x's shape.   Saves nothing.
Variable Reshape(const Variable& x, const Shape& shape) {
  return Record("Reshape", {x}, x.value().Reshape(shape), {},
                [sx = x.shape()](Saved, const Tensor& dy, GradSink& grad) { grad.Add(0, dy.Reshape(sx)); });
}

// y = x with dimensions a and b swapped.   dx = dy with them swapped back.   Saves nothing.
Variable Transpose(const Variable& x, int a, int b) {
  return Record("Transpose", {x}, x.value().Transpose(a, b), {},
                [a, b](Saved, const Tensor& dy, GradSink& grad) { grad.Add(0, dy.Transpose(a, b)); });
}

// y = x[begin:end] along dim.   dx = dy there, 0 elsewhere.   Saves nothing.
Variable Slice(const Variable& x, int dim, int64_t begin, int64_t end) {
  return Record("Slice", {x}, x.value().Slice(dim, begin, end), {},
                [sx = x.shape(), dim, begin, end](Saved, const Tensor& dy, GradSink& grad) {
                  Tensor dx = Tensor::Zeros(sx, dy.dtype(), dy.device());
                  Tensor part = dx.Slice(dim, begin, end);
                  tensor::CopyInto(dy, part);
                  grad.Add(0, dx);
                });
}

// y_i = the i-th of x's neighbouring slices along dim.   dx = the dy_i side by side, 0 for a part that was not used.
// Saves nothing.
std::vector<Variable> Split(const Variable& x, int dim, absl::Span<const int64_t> sizes) {
  std::vector<Tensor> parts;
  std::vector<int64_t> ends;
  int64_t end = 0;
  for (const int64_t size : sizes) {
    parts.push_back(x.value().Slice(dim, end, end + size));
    ends.push_back(end += size);
  }
  LORIKEET_CHECK_EQ(end, x.value().dim(dim)) << "Split: the sizes must add up to x " << Describe(x.value());
  return RecordMany("Split", {x}, parts, {},
                    [sx = x.shape(), dtype = x.dtype(), device = x.value().device(), dim, ends](
                        Saved, absl::Span<const Tensor> dys, GradSink& grad) {
                      Tensor dx = Tensor::Empty(sx, dtype, device);
                      for (size_t i = 0; i < dys.size(); ++i) {
                        Tensor part = dx.Slice(dim, i == 0 ? 0 : ends[i - 1], ends[i]);
                        if (dys[i].defined()) {
                          tensor::CopyInto(dys[i], part);
                        } else {
                          tensor::FillInPlace(part, 0);
                        }
                      }
                      grad.Add(0, dx);
                    });
}

// y = x repeated along dimensions of size 1.   dx = dy summed over them.   Saves nothing.
Variable Expand(const Variable& x, const Shape& shape) {
  return Record("Expand", {x}, x.value().Expand(shape), {},
                [sx = x.shape()](Saved, const Tensor& dy, GradSink& grad) { grad.Add(0, tensor::SumTo(dy, sx)); });
}

// y = x rounded to another dtype.   dx = dy rounded to x's.   Saves nothing.
Variable Cast(const Variable& x, DType dtype) {
  return Record("Cast", {x}, x.value().Cast(dtype), {},
                [from = x.dtype()](Saved, const Tensor& dy, GradSink& grad) { grad.Add(0, dy.Cast(from)); });
}

}  // namespace lorikeet
