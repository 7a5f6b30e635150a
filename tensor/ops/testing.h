// What the tests of the ops share: random tensors, their values as doubles, comparison with a plain f64 reference.
//
//   const Tensor x = RandomTensor({3, 37}, DType::kBF16, /*seed=*/1);
//   std::vector<double> want = Values(x);  for (double& v : want) v = std::exp(v);
//   EXPECT_TRUE(IsClose(Exp(x), want, Tolerance(x.dtype())));
//   ForEachThreadCount([&] { EXPECT_TRUE(SameBits(Exp(x), first)); });
//
// References start from Values(x), that is from what the tensor holds after rounding to its dtype.
#ifndef LORIKEET_TENSOR_OPS_TESTING_H_
#define LORIKEET_TENSOR_OPS_TESTING_H_

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/kernels/parallel.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {

inline constexpr DType kFloatDTypes[] = {DType::kF64, DType::kF32, DType::kBF16, DType::kF16};

inline std::vector<double> Values(const Tensor& x) {
  const Tensor d = x.To(kCpu).Cast(DType::kF64).Contiguous();
  const absl::Span<double> s = d.data<double>();
  return {s.begin(), s.end()};
}

inline Tensor FromDoubles(const std::vector<double>& values, const Shape& shape, DType dtype) {
  return Tensor::From<double>(absl::MakeConstSpan(values), shape).Cast(dtype);
}

// Uniform in [lo, hi].
inline Tensor RandomTensor(const Shape& shape, DType dtype, uint32_t seed, double lo = -2, double hi = 2) {
  std::mt19937 bits(seed);
  std::vector<double> values(static_cast<size_t>(shape.size()));
  for (double& v : values) v = lo + (hi - lo) * (bits() * 0x1p-32);
  return FromDoubles(values, shape, dtype);
}

// The same values in memory of another order: the first and the last dimension are swapped there.
inline Tensor Strided(const Tensor& x) { return x.Transpose(0, -1).Clone().Transpose(0, -1); }

// Relative for large values, absolute for small ones.
inline double Tolerance(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return 1e-12;
    case DType::kBF16:
      return 0x1p-8;
    case DType::kF16:
      return 0x1p-11;
    default:
      return 2e-6;
  }
}

// Equal up to tolerance * max(1, |want|); NaN equals NaN only, an infinity itself only.
inline bool Near(double got, double want, double tolerance) {
  if (std::isnan(want)) return std::isnan(got);
  if (std::isinf(want)) return got == want;
  return std::fabs(got - want) <= tolerance * std::fmax(1, std::fabs(want));
}

inline testing::AssertionResult IsClose(const Tensor& got, const std::vector<double>& want, double tolerance) {
  const std::vector<double> values = Values(got);
  if (values.size() != want.size()) {
    return testing::AssertionFailure() << Describe(got) << " has not " << want.size() << " elements";
  }
  for (size_t i = 0; i < want.size(); ++i) {
    if (!Near(values[i], want[i], tolerance)) {
      return testing::AssertionFailure() << Describe(got) << " element " << i << ": " << values[i] << ", want "
                                         << want[i] << " within " << tolerance;
    }
  }
  return testing::AssertionSuccess();
}

inline bool SameBits(const Tensor& a, const Tensor& b) {
  const Tensor x = a.Contiguous(), y = b.Contiguous();
  return x.shape() == y.shape() && x.dtype() == y.dtype() &&
         (x.size() == 0 || std::memcmp(x.raw(), y.raw(), static_cast<size_t>(x.nbytes())) == 0);
}

template <typename F>
void ForEachThreadCount(F&& body) {
  for (int threads : {1, 2, 3}) {
    SetNumThreads(threads);
    body();
  }
  SetNumThreads(0);
}

}  // namespace lorikeet::tensor

#endif  // LORIKEET_TENSOR_OPS_TESTING_H_
