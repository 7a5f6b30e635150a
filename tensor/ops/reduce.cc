#include "tensor/ops/reduce.h"

#include <cstdint>
#include <limits>
#include <vector>

#include "tensor/check.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/kernels/reduce.h"
#include "tensor/ops/checks.h"
#include "tensor/ops/kernel_or_die.h"
#include "tensor/view.h"

namespace lorikeet::tensor {
namespace {

const ReduceKernels& KernelsFor(Device device) { return device.is_cpu() ? kCpuReduce : kCudaReduce; }

// x's dimensions with the reduced ones last, and what is left of its shape.
struct Plan {
  View x;
  Shape kept, result;  // result: with ones in place of reduced dimensions, if they are to stay
  int64_t count = 1;   // elements a result is made of

  Plan(const char* op, const Tensor& t, absl::Span<const int> dims, bool keepdim) {
    CheckFloat(op, t);
    bool reduced[kMaxRank] = {};
    for (int dim : dims) {
      const int d = dim < 0 ? dim + t.rank() : dim;
      LORIKEET_CHECK(d >= 0 && d < t.rank() && !reduced[d]) << op << ": dimension " << dim << " of " << Describe(t);
      reduced[d] = true;
    }
    x = t.view();
    int at = 0;
    for (bool last : {false, true}) {
      for (int d = 0; d < t.rank(); ++d) {
        if (reduced[d] != last) continue;
        x.dims[at] = t.dim(d);
        x.strides[at++] = t.stride(d);
        if (last) count *= t.dim(d);
      }
    }
    for (int d = 0; d < t.rank(); ++d) {
      if (!reduced[d]) kept.push_back(t.dim(d));
      if (!reduced[d] || keepdim) result.push_back(reduced[d] ? 1 : t.dim(d));
    }
  }
};

Tensor Reduce(const char* name, ReduceOp op, const Tensor& x, const Plan& plan, double scale) {
  Tensor y = Tensor::Empty(plan.kept, x.dtype(), x.device());
  KernelOrDie(KernelsFor(x.device()).reduce, name, x)(op, plan.x, scale, y.view(), {});
  return y.Reshape(plan.result);
}

std::vector<int> AllDims(const Tensor& x) {
  std::vector<int> dims;
  for (int d = 0; d < x.rank(); ++d) dims.push_back(d);
  return dims;
}

}  // namespace

Tensor Sum(const Tensor& x, absl::Span<const int> dims, bool keepdim) {
  return Reduce("Sum", ReduceOp::kSum, x, Plan("Sum", x, dims, keepdim), 1);
}

Tensor Mean(const Tensor& x, absl::Span<const int> dims, bool keepdim) {
  const Plan plan("Mean", x, dims, keepdim);
  const double scale =
      plan.count > 0 ? 1.0 / static_cast<double>(plan.count) : std::numeric_limits<double>::quiet_NaN();
  return Reduce("Mean", ReduceOp::kSum, x, plan, scale);
}

Tensor Max(const Tensor& x, absl::Span<const int> dims, bool keepdim) {
  const Plan plan("Max", x, dims, keepdim);
  LORIKEET_CHECK(plan.count > 0) << "Max: of no elements: " << Describe(x);
  return Reduce("Max", ReduceOp::kMax, x, plan, 1);
}

Tensor SumAll(const Tensor& x) { return Sum(x, AllDims(x)); }

Tensor SumTo(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  const int lead = x.rank() - shape.rank();
  std::vector<int> dims;
  for (int d = 0; d < x.rank(); ++d) {
    LORIKEET_CHECK(lead >= 0 && (d < lead || shape[d - lead] == x.dim(d) || shape[d - lead] == 1))
        << "SumTo: " << Describe(x) << " to " << shape;
    if (d < lead || shape[d - lead] != x.dim(d)) dims.push_back(d);
  }
  return Sum(x, dims).Reshape(shape);
}

Tensor RowDot(const Tensor& a, const Tensor& b) {
  CheckFloat("RowDot", a);
  CheckFloat("RowDot", b);
  CheckSameDevice("RowDot", a, b);
  LORIKEET_CHECK(a.rank() == 2 && b.shape() == a.shape())
      << "RowDot: a is " << Describe(a) << ", b is " << Describe(b) << ", expected [n,d] both";
  const bool f64 = a.dtype() == DType::kF64 || b.dtype() == DType::kF64;
  Tensor y = Tensor::Empty({a.dim(0)}, f64 ? DType::kF64 : DType::kF32, a.device());
  KernelOrDie(KernelsFor(a.device()).row_dot, "RowDot", a)(a.view(), b.view(), y.view(), {});
  return y;
}

double SumSquares(const Tensor& x) {
  CheckFloat("SumSquares", x);
  const Tensor y = Tensor::Empty({}, DType::kF64, x.device());
  KernelOrDie(KernelsFor(x.device()).sum_squares, "SumSquares", x)(x.view(), y.view(), {});
  return y.item();
}

Tensor SumSquaresOfEach(absl::Span<const Tensor> xs) {
  std::vector<Tensor> held;  // until the launch
  std::vector<View> views;
  for (const Tensor& x : xs) {
    LORIKEET_CHECK(x.dtype() == DType::kF32 || x.dtype() == DType::kF64)
        << "SumSquaresOfEach: x is " << Describe(x) << ", expected f32 or f64";
    CheckSameDevice("SumSquaresOfEach", xs[0], x);
    held.push_back(x.Contiguous());
    views.push_back(held.back().view());
  }
  const int64_t n = static_cast<int64_t>(xs.size());
  const Tensor y = Tensor::Empty({n}, DType::kF64, n == 0 ? kCpu : xs[0].device());
  if (n == 0) return y;
  KernelOrDie(KernelsFor(y.device()).sum_squares_each, "SumSquaresOfEach", xs[0])(views.data(), n, y.view(), {});
  return y;
}

bool AllFinite(const Tensor& x) {
  CheckFloat("AllFinite", x);
  Tensor y = Tensor::Empty({}, DType::kI32, x.device());
  KernelOrDie(KernelsFor(x.device()).all_finite, "AllFinite", x)(x.view(), y.view(), {});
  return y.item() != 0;
}

Tensor ArgMax(const Tensor& x) {
  CheckFloat("ArgMax", x);
  LORIKEET_CHECK(x.rank() > 0 && x.dim(-1) > 0) << "ArgMax: of no elements: " << Describe(x);
  Shape shape;
  for (int d = 0; d < x.rank() - 1; ++d) shape.push_back(x.dim(d));
  Tensor y = Tensor::Empty({shape.size()}, DType::kI32, x.device());
  const Tensor rows = x.Reshape({shape.size(), x.dim(-1)});
  KernelOrDie(KernelsFor(x.device()).arg_max, "ArgMax", x)(rows.view(), y.view(), {});
  return y.Reshape(shape);
}

}  // namespace lorikeet::tensor
