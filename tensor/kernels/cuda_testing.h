// What the tests of CUDA kernels share: they run a kernel and the CPU's of the same table on the same values.
//
//   class NormCudaTest : public CudaKernelTest {};
//   TEST_P(NormCudaTest, ...) {
//     const Pair x = Values({5, 37}, 1), y = Result({5, 37});               // x.cpu, x.cuda: the same values
//     kCpuNorm.rms_norm(x.cpu.view(), ..., y.cpu.view(), ..., {});
//     kCudaNorm.rms_norm(x.cuda.view(), ..., y.cuda.view(), ..., {});
//     EXPECT_TRUE(Agrees(y));
//   }
//   INSTANTIATE_CUDA_TEST_SUITE(NormCudaTest);                              // f32, bf16, f16
//
// Without a usable device the tests are skipped, with the reason.
#ifndef LORIKEET_TENSOR_KERNELS_CUDA_TESTING_H_
#define LORIKEET_TENSOR_KERNELS_CUDA_TESTING_H_

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "tensor/cuda_memory.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/kernels/copy.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {

struct Pair {
  Tensor cpu, cuda;

  // The same view of both.
  template <typename F>
  Pair Map(F f) const {
    return {f(cpu), f(cuda)};
  }
};

// What stderr says, for EXPECT_DEATH, when a kernel has ended with __trap; its own words are on stdout.
inline constexpr char kTrapped[] = "CUDA: .*(unspecified launch failure|illegal instruction|trap)";

// Two of a dtype's last places: each side may round a transcendental's last bit its own way.
inline double CudaTolerance(DType dtype) {
  return dtype == DType::kBF16 ? 0x1p-7 : dtype == DType::kF16 ? 0x1p-10 : 4e-6;
}

// |got - want| <= tolerance * max(floor, |want|); NaN agrees with NaN only, an infinity with itself.
inline testing::AssertionResult Agree(const Tensor& cuda, const Tensor& cpu, double tolerance, double floor) {
  const Tensor got = cuda.To(kCpu).Cast(DType::kF64).Contiguous(), want = cpu.Cast(DType::kF64).Contiguous();
  if (got.shape() != want.shape()) return testing::AssertionFailure() << Describe(cuda) << " and " << Describe(cpu);
  for (int64_t i = 0; i < want.size(); ++i) {
    const double g = got.data<double>()[i], w = want.data<double>()[i];
    const bool same = std::isnan(w)   ? std::isnan(g)
                      : std::isinf(w) ? g == w
                                      : std::fabs(g - w) <= tolerance * std::fmax(floor, std::fabs(w));
    if (!same) return testing::AssertionFailure() << Describe(cuda) << " at " << i << ": got " << g << ", want " << w;
  }
  return testing::AssertionSuccess();
}

// Values below `floor` may be off by what one of its size may.
inline testing::AssertionResult Agrees(const Pair& result, double floor = 1e-2) {
  return Agree(result.cuda, result.cpu, CudaTolerance(result.cpu.dtype()), floor);
}

inline Pair Of(const Tensor& cpu) { return {cpu, cpu.To(Cuda(0))}; }

class CudaKernelTest : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  }

  // Uniform in [lo, hi], rounded to dtype.
  static Pair Uniform(const Shape& shape, DType dtype, uint32_t seed, double lo = -2, double hi = 2) {
    std::mt19937 bits(seed);
    std::vector<float> values(static_cast<size_t>(shape.size()));
    for (float& v : values) v = static_cast<float>(lo + (hi - lo) * (bits() * 0x1p-32));
    return Of(Tensor::From<float>(absl::MakeConstSpan(values), shape).Cast(dtype).Clone());
  }
  // The same, in the test's dtype.
  static Pair Values(const Shape& shape, uint32_t seed, double lo = -2, double hi = 2) {
    return Uniform(shape, GetParam(), seed, lo, hi);
  }
  // For a kernel to write to: what it leaves alone is -77 on both sides.
  static Pair Result(const Shape& shape, DType dtype) {
    return {Tensor::Full(shape, -77, dtype), Tensor::Full(shape, -77, dtype, Cuda(0))};
  }
  static Pair Result(const Shape& shape) { return Result(shape, GetParam()); }
  // The same values in memory of another order, at an odd offset: x is [n, d].
  static Pair Strided(const Pair& x) {
    return x.Map([](const Tensor& t) {
      const Tensor wide = Tensor::Zeros({t.dim(1) + 1, t.dim(0) + 2}, t.dtype(), t.device());
      const Tensor inner = wide.Transpose(0, 1).Slice(0, 1, t.dim(0) + 1).Slice(1, 1, t.dim(1) + 1);
      const CopyKernels& copy = t.device().is_cpu() ? kCpuCopy : kCudaCopy;
      copy.copy(t.view(), inner.view(), {});
      return inner;
    });
  }
};

#define INSTANTIATE_CUDA_TEST_SUITE(suite)                                                         \
  INSTANTIATE_TEST_SUITE_P(Dtypes, suite, testing::Values(DType::kF32, DType::kBF16, DType::kF16), \
                           [](const testing::TestParamInfo<DType>& dtype_info) { return Name(dtype_info.param); })

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_KERNELS_CUDA_TESTING_H_
