// The CUDA copies, conversions and fills against the CPU's.
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "tensor/cuda_memory.h"
#include "tensor/dtype.h"
#include "tensor/kernels/copy.h"
#include "tensor/kernels/cuda_testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"
#include "tensor/view.h"

namespace lorikeet {
namespace {

constexpr DType kDTypes[] = {DType::kF64, DType::kF32, DType::kBF16, DType::kF16, DType::kI32, DType::kI64, DType::kU8};

class CopyCudaTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  }
  // Small whole numbers, which every dtype has.
  static Pair Numbers(const Shape& shape, DType dtype) {
    std::vector<float> values(static_cast<size_t>(shape.size()));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i * 7 % 101);
    return Of(Tensor::From<float>(absl::MakeConstSpan(values), shape).Cast(dtype).Clone());
  }
  // Numbers that 16 bits have not.
  static Pair Thirds(const Shape& shape, DType dtype) {
    std::vector<float> values(static_cast<size_t>(shape.size()));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i * 7 % 101) / 3;
    return Of(Tensor::From<float>(absl::MakeConstSpan(values), shape).Cast(dtype).Clone());
  }
  static testing::AssertionResult CopiesAgree(const Pair& x, const Pair& y) {
    kCpuCopy.copy(x.cpu.view(), y.cpu.view(), {});
    kCudaCopy.copy(x.cuda.view(), y.cuda.view(), {});
    return Agree(y.cuda, y.cpu, 0, 0);
  }
};

TEST_F(CopyCudaTest, ContiguousCopiesOfEveryLengthAndDtypeAgree) {
  for (DType dtype : kDTypes) {
    for (int64_t n : {0, 1, 16, 37, 3001}) {
      const Pair y = Of(Tensor::Full({n}, 77, dtype));
      EXPECT_TRUE(CopiesAgree(Numbers({n}, dtype), y)) << Name(dtype) << " " << n;
    }
  }
}

TEST_F(CopyCudaTest, ConversionsBetweenAllDtypesAgree) {
  for (DType from : kDTypes) {
    for (DType to : kDTypes) {
      EXPECT_TRUE(CopiesAgree(Numbers({5, 43}, from), Of(Tensor::Full({5, 43}, 77, to)))) << Name(from) << Name(to);
      const Pair transposed = Numbers({5, 43}, from).Map([](const Tensor& t) { return t.Transpose(0, 1); });
      EXPECT_TRUE(CopiesAgree(transposed, Of(Tensor::Full({43, 5}, 77, to)))) << Name(from) << Name(to);
    }
  }
}

TEST_F(CopyCudaTest, SlicesPermutationsAndRepetitionsAgree) {
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kU8, DType::kI64}) {
    const Pair x = Numbers({10, 40, 48}, dtype);
    const auto expect = [&](auto view) {
      const Pair from = x.Map(view), to = Of(Tensor::Full(from.cpu.shape(), 77, dtype));
      EXPECT_TRUE(CopiesAgree(from, to)) << Describe(from.cpu);
    };
    expect([](const Tensor& t) { return t.Slice(2, 16, 32); });
    expect([](const Tensor& t) { return t.Slice(2, 3, 40); });
    expect([](const Tensor& t) { return t.Transpose(0, 1); });
    expect([](const Tensor& t) { return t.Transpose(1, 2); });
    expect([](const Tensor& t) { return t.Transpose(0, 2); });
    expect([](const Tensor& t) { return t.Transpose(0, 2).Transpose(1, 2); });
    expect([](const Tensor& t) { return t.Slice(1, 0, 3).Transpose(1, 2); });
    expect([](const Tensor& t) { return t.Slice(0, 2, 3).Expand({7, 40, 48}); });
    expect([](const Tensor& t) { return t.Slice(2, 2, 3).Expand({10, 40, 5}); });
  }
}

TEST_F(CopyCudaTest, TheTargetMayBeStrided) {
  const Pair x = Numbers({9, 32}, DType::kBF16);
  for (const Pair& wide : {Of(Tensor::Full({9, 80}, 77, DType::kBF16)), Of(Tensor::Full({9, 71}, 77, DType::kBF16))}) {
    const Pair inner = wide.Map([](const Tensor& t) { return t.Slice(1, 16, 48); });
    EXPECT_TRUE(CopiesAgree(x, inner));
    EXPECT_TRUE(Agree(wide.cuda, wide.cpu, 0, 0));  // and nothing else was written
  }
  const Pair y = Of(Tensor::Full({32, 9}, 77, DType::kBF16));
  EXPECT_TRUE(CopiesAgree(x, y.Map([](const Tensor& t) { return t.Transpose(0, 1); })));
}

TEST_F(CopyCudaTest, FloatsAreRoundedToNearestEven) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const Pair x = Of(Tensor::From<float>({1.00390625f, 1.01171875f, 65519.0f, 65520.0f, 3.4e38f, 3e-8f, 5.97e-8f, -0.0f,
                                         1e-40f, inf, -inf, nan, 1.00048828125f, 1.00146484375f},
                                        {14}));
  for (DType to : {DType::kBF16, DType::kF16}) {
    EXPECT_TRUE(CopiesAgree(x, Of(Tensor::Full({14}, 77, to)))) << Name(to);
  }
}

// Sizes around a thread's elements and a block's, more of them than one launch takes, beginnings that no pack has, and
// some that have to be copied one by one.
TEST_F(CopyCudaTest, ManyAtATimeAgree) {
  for (DType to : {DType::kBF16, DType::kF16, DType::kF32}) {
    std::vector<Pair> xs, ys;
    const auto add = [&](const Pair& x) {
      xs.push_back(x);
      ys.push_back(Of(Tensor::Full(x.cpu.shape(), 77, to)));
    };
    for (int64_t n : {0, 1, 7, 8, 9, 2047, 2048, 2049, 5000}) {
      add(Thirds({n}, DType::kF32));
      add(Thirds({n + 1}, DType::kF32).Map([&](const Tensor& t) { return t.Slice(0, 1, n + 1); }));
    }
    for (int64_t i = 0; i < 120; ++i) add(Thirds({i, 3}, DType::kF32));
    add(Thirds({6, 9}, DType::kF32).Map([](const Tensor& t) { return t.Transpose(0, 1); }));
    add(Thirds({6, 9}, DType::kBF16));
    std::vector<View> from, into;
    for (size_t i = 0; i < xs.size(); ++i) {
      from.push_back(xs[i].cuda.view());
      into.push_back(ys[i].cuda.view());
      kCpuCopy.copy(xs[i].cpu.view(), ys[i].cpu.view(), {});
    }
    kCudaCopy.copy_all(from.data(), into.data(), static_cast<int64_t>(from.size()), {});
    for (const Pair& y : ys) EXPECT_TRUE(Agree(y.cuda, y.cpu, 0, 0)) << Name(to) << " " << Describe(y.cpu);
  }
}

TEST_F(CopyCudaTest, FillsAgree) {
  for (DType dtype : kDTypes) {
    for (double value : {0.0, 3.0}) {
      const Pair y = Of(Tensor::Full({7, 24}, 77, dtype));
      const Pair part = y.Map([](const Tensor& t) { return t.Slice(1, 3, 20); });
      kCpuCopy.fill(part.cpu.view(), value, {});
      kCudaCopy.fill(part.cuda.view(), value, {});
      EXPECT_TRUE(Agree(y.cuda, y.cpu, 0, 0)) << Name(dtype);
      kCpuCopy.fill(y.cpu.view(), value, {});
      kCudaCopy.fill(y.cuda.view(), value, {});
      EXPECT_TRUE(Agree(y.cuda, y.cpu, 0, 0)) << Name(dtype);
    }
  }
}

}  // namespace
}  // namespace lorikeet
