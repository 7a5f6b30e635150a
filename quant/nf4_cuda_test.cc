// 4-bit weights on CUDA beside those on the CPU: the same codes, scales and decoded weights, bit for bit; and products.
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "quant/nf4.h"
#include "quant/nf4_kernels.h"
#include "quant/nf4_map.h"
#include "quant/nf4_matmul.h"
#include "quant/random_for_test.h"
#include "tensor/cuda_memory.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/kernels/cuda_testing.h"
#include "tensor/kernels/matmul.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/testing.h"
#include "tensor/random.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

using tensor::SameBits;

Tensor Random(const Shape& shape, DType dtype, uint64_t seed) {
  const std::vector<float> x = Normal(shape.size(), RngKey{.seed = seed});
  return Tensor::From<float>(absl::MakeConstSpan(x), shape).Cast(dtype);
}

void ExpectSame(const Nf4Tensor& cuda, const Nf4Tensor& cpu, const std::string& what) {
  EXPECT_TRUE(cuda.device().is_cuda()) << what;
  const Nf4Tensor got = cuda.To(kCpu);
  EXPECT_TRUE(SameBits(got.codes, cpu.codes)) << what;
  EXPECT_TRUE(SameBits(got.scales, cpu.scales)) << what;
  EXPECT_EQ(got.scale_mean, cpu.scale_mean) << what;
  ASSERT_EQ(got.double_quantized(), cpu.double_quantized()) << what;
  if (!cpu.double_quantized()) return;
  EXPECT_TRUE(SameBits(got.scale_scales, cpu.scale_scales)) << what;
}

class Nf4CudaTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  }
};

TEST_F(Nf4CudaTest, CodesAndScalesHaveTheBitsOfTheCpu) {
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (Nf4Kind kind : {Nf4Kind::kNf4, Nf4Kind::kFp4}) {
      for (bool double_quant : {false, true}) {
        const Nf4Options options = {.kind = kind, .double_quant = double_quant};
        const Tensor w = Random({67, 71}, dtype, 1);
        ExpectSame(*QuantizeNf4(w.To(Cuda(0)), options), *QuantizeNf4(w, options), Name(dtype));
      }
    }
  }
}

TEST_F(Nf4CudaTest, BlocksOfEverySizeAndShortLastOnes) {
  for (int block = 32; block <= 4096; block *= 2) {
    for (int64_t n : {1, 33, 4097, 9001}) {
      const Nf4Options options = {.block = block, .scale_block = 32 + 32 * (block > 64)};
      const Tensor w = Random({n}, DType::kBF16, 2);
      const Nf4Tensor there = *QuantizeNf4(w.To(Cuda(0)), options), here = *QuantizeNf4(w, options);
      ExpectSame(there, here, std::to_string(block));
      EXPECT_TRUE(SameBits(DequantizeScales(there).To(kCpu), DequantizeScales(here)));
      EXPECT_TRUE(SameBits(Dequantize(there, DType::kF32).To(kCpu), Dequantize(here, DType::kF32)));
    }
  }
}

TEST_F(Nf4CudaTest, DecodedWeightsHaveTheBitsOfTheCpu) {
  for (bool double_quant : {false, true}) {
    const Nf4Tensor here = *QuantizeNf4(Random({45, 333}, DType::kF32, 3), {.double_quant = double_quant});
    for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      EXPECT_TRUE(SameBits(Dequantize(here.To(Cuda(0)), dtype).To(kCpu), Dequantize(here, dtype))) << Name(dtype);
    }
  }
}

TEST_F(Nf4CudaTest, ManyScalesAreCodedAsOnTheCpu) {
  const Tensor w = Random({130000}, DType::kF32, 4);
  const Nf4Options options = {.block = 32, .scale_block = 2048};
  ExpectSame(*QuantizeNf4(w.To(Cuda(0)), options), *QuantizeNf4(w, options), "4063 scales");
}

TEST_F(Nf4CudaTest, ZerosAndTiniesDecodeAsOnTheCpu) {
  const Tensor w = Random({256}, DType::kF32, 5);
  const absl::Span<float> x = w.data<float>();
  for (int i = 0; i < 64; ++i) x[i] = i % 2 ? -0.0f : 0.0f;
  for (int i = 64; i < 128; ++i) x[i] *= 1e-39f;  // denormal
  for (Nf4Kind kind : {Nf4Kind::kNf4, Nf4Kind::kFp4}) {
    const Nf4Options options = {.kind = kind, .double_quant = false};
    const Nf4Tensor there = *QuantizeNf4(w.To(Cuda(0)), options), here = *QuantizeNf4(w, options);
    ExpectSame(there, here, "zeros");
    EXPECT_TRUE(SameBits(Dequantize(there, DType::kF32).To(kCpu), Dequantize(here, DType::kF32)));
  }
}

TEST_F(Nf4CudaTest, AWeightThatIsNotFiniteIsNamed) {
  const Tensor w = Random({8, 40}, DType::kF32, 6);
  w.data<float>()[5 * 40 + 7] = std::numeric_limits<float>::infinity();
  w.data<float>()[5 * 40 + 9] = std::numeric_limits<float>::quiet_NaN();
  const absl::StatusOr<Nf4Tensor> q = QuantizeNf4(w.To(Cuda(0)));
  ASSERT_FALSE(q.ok());
  EXPECT_NE(q.status().message().find("f32[8,40] is inf at [5,7]"), absl::string_view::npos) << q.status();
}

TEST_F(Nf4CudaTest, NoWeightsAreNothing) {
  const Nf4Tensor q = *QuantizeNf4(Tensor::Empty({0, 64}, DType::kBF16, Cuda(0)));
  EXPECT_EQ(Dequantize(q, DType::kBF16).size(), 0);
}

TEST_F(Nf4CudaTest, RowsAreLookedUpInThePackedWeight) {
  for (int64_t columns : {72, 77}) {
    const Nf4Map here(*QuantizeNf4(Random({19, columns}, DType::kF32, 7))), there(here.weight().To(Cuda(0)));
    const Tensor ids = Tensor::From<int32_t>({18, 0, 3, 3}, {4});
    for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      EXPECT_TRUE(SameBits(there.Rows(ids.To(Cuda(0)), dtype).To(kCpu), here.Rows(ids, dtype))) << columns;
    }
  }
}

TEST_F(Nf4CudaTest, AFewRowsMatchTheProductWithTheDecodedWeight) {
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (int64_t tokens = 1; tokens <= 4; ++tokens) {
      for (int64_t in : {8, 264, 576}) {
        const Nf4Tensor w = *QuantizeNf4(Random({35, in}, DType::kF32, 8));
        const Tensor x = Random({tokens, in}, dtype, 9);
        const Tensor want =
            tensor::MatMul(x.Cast(DType::kF64), Dequantize(w, DType::kF32).Cast(DType::kF64), false, true);
        const Tensor y = MatMulNf4(x.To(Cuda(0)), w.To(Cuda(0)), true);
        EXPECT_EQ(y.dtype(), dtype);
        EXPECT_TRUE(tensor::IsClose(y, tensor::Values(want), 4 * tensor::Tolerance(dtype))) << tokens << "x" << in;
      }
    }
  }
}

// Steps along a row shared by several warps, an uneven number of them, and more groups of rows than warps.
TEST_F(Nf4CudaTest, AFewRowsMatchHoweverTheWorkIsShared) {
  for (const Shape& shape : {Shape{9, 2080}, Shape{35, 4104}, Shape{5, 7200}, Shape{9001, 32}, Shape{17001, 32}}) {
    for (int64_t tokens : {1, 2}) {
      const Nf4Tensor w = *QuantizeNf4(Random(shape, DType::kF32, 21));
      const Tensor x = Random({tokens, shape[1]}, DType::kBF16, 22);
      Tensor want = tensor::MatMul(x.Cast(DType::kF32), Dequantize(w, DType::kF32), false, true);
      Tensor y = Tensor::Empty({tokens, shape[0]}, DType::kF32, Cuda(0)),
             again = Tensor::Empty(y.shape(), y.dtype(), Cuda(0));
      MatMulNf4Into(y, x.To(Cuda(0)), w.To(Cuda(0)), true, {});
      MatMulNf4Into(again, x.To(Cuda(0)), w.To(Cuda(0)), true, {});
      EXPECT_TRUE(tensor::IsClose(y, tensor::Values(want), 1e-4)) << shape << " " << tokens;
      EXPECT_TRUE(SameBits(y, again)) << shape;
    }
  }
}

TEST_F(Nf4CudaTest, AFewRowsTakeWeightsOfEveryKind) {
  for (int block : {32, 64, 4096}) {
    for (bool double_quant : {false, true}) {
      const Nf4Options options = {
          .kind = Nf4Kind::kFp4, .block = block, .scale_block = 32, .double_quant = double_quant};
      const Nf4Tensor w = *QuantizeNf4(Random({67, 1120}, DType::kF32, 23), options);
      const Tensor x = Random({1, 1120}, DType::kF32, 24);
      const Tensor want = tensor::MatMul(x, Dequantize(w, DType::kF32), false, true);
      const Tensor y = MatMulNf4(x.To(Cuda(0)), w.To(Cuda(0)), true);
      EXPECT_TRUE(tensor::IsClose(y, tensor::Values(want), 1e-4)) << block;
    }
  }
}

// Rows of x by twos and one by one, and too long a one, which goes another way.
TEST_F(Nf4CudaTest, AFewRowsMayBeLong) {
  if (kCudaMatMul.matmul == nullptr) GTEST_SKIP() << "this build's CUDA backend has no products";
  for (int64_t columns : {7168, 14328, 14336, 14368}) {
    const Nf4Tensor w = *QuantizeNf4(Random({5, columns}, DType::kF32, 27));
    const Tensor x = Random({3, columns}, DType::kF32, 28), u = Random({3, 2}, DType::kF32, 29);
    const Tensor v = Random({2, 5}, DType::kF32, 30);
    Tensor want = Tensor::Empty({3, 5}, DType::kF32), y = Tensor::Empty({3, 5}, DType::kF32, Cuda(0));
    tensor::MatMulInto(want, x, false, Dequantize(w, DType::kF32), true, {.u = u, .v = v});
    MatMulNf4Into(y, x.To(Cuda(0)), w.To(Cuda(0)), true, {.u = u.To(Cuda(0)), .v = v.To(Cuda(0))});
    EXPECT_TRUE(tensor::IsClose(y, tensor::Values(want), 1e-4)) << columns;
  }
}

TEST_F(Nf4CudaTest, CodesMayBeginAtAnyWord) {
  const Nf4Tensor w = QuantizeNf4(Random({12, 64}, DType::kF32, 25))->To(Cuda(0));
  Nf4Tensor moved = w;
  const int64_t bytes = w.codes.dim(0);
  moved.codes = Tensor::Empty({bytes + 4, 1}, DType::kU8, Cuda(0)).Slice(0, 4, bytes + 4);
  tensor::CopyInto(w.codes, moved.codes);
  const Tensor x = Random({1, 64}, DType::kF32, 26);
  const Tensor want = tensor::MatMul(x, Dequantize(w.To(kCpu), DType::kF32), false, true);
  EXPECT_TRUE(tensor::IsClose(MatMulNf4(x.To(Cuda(0)), moved, true), tensor::Values(want), 1e-5));
}

TEST_F(Nf4CudaTest, AFewRowsTakeTheEpilogueOfAProduct) {
  const Nf4Tensor w = *QuantizeNf4(Random({37, 128}, DType::kF32, 10));
  const Tensor x = Random({3, 128}, DType::kBF16, 11), u = Random({3, 40}, DType::kBF16, 12);
  const Tensor b = Random({37, 40}, DType::kBF16, 13), gain = Random({37}, DType::kF32, 14);
  Tensor z = Random({3, 37}, DType::kF32, 15).To(Cuda(0)), want = z.To(kCpu).Cast(DType::kF64);
  const auto wide = [](const Tensor& t) { return t.Cast(DType::kF64); };
  tensor::MatMulInto(want, wide(x), false, wide(Dequantize(w, DType::kF32)), true,
                     {.alpha = 0.5f, .beta = 2, .u = wide(u), .v = wide(b).Transpose(0, 1), .gain = wide(gain)});
  MatMulNf4Into(
      z, x.To(Cuda(0)), w.To(Cuda(0)), true,
      {.alpha = 0.5f, .beta = 2, .u = u.To(Cuda(0)), .v = b.To(Cuda(0)).Transpose(0, 1), .gain = gain.To(Cuda(0))});
  EXPECT_TRUE(tensor::IsClose(z, tensor::Values(want), 1e-5));
}

TEST_F(Nf4CudaTest, OneHotRowsReadTheWeightExactly) {
  for (int64_t columns : {64, 72}) {
    const Nf4Tensor w = *QuantizeNf4(Random({640, columns}, DType::kF32, 16));
    for (DType dtype : {DType::kF32, DType::kBF16}) {
      const Tensor one = Tensor::Zeros({1, columns}, DType::kF32);
      one.data<float>()[5] = 1;
      const Tensor y = MatMulNf4(one.Cast(dtype).To(Cuda(0)), w.To(Cuda(0)), true);
      const Tensor column = Dequantize(w, dtype).Slice(1, 5, 6).Reshape({1, 640});
      EXPECT_TRUE(SameBits(y.To(kCpu), column)) << columns;
    }
  }
}

TEST_F(Nf4CudaTest, ManyRowsAreAProductWithACopyOfTheWeight) {
  if (kCudaMatMul.matmul == nullptr) GTEST_SKIP() << "this build's CUDA backend has no products";
  const Nf4Map here(*QuantizeNf4(Random({48, 72}, DType::kF32, 17))), there(here.weight().To(Cuda(0)));
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    const Tensor x = Random({9, 72}, dtype, 18), dy = Random({9, 48}, dtype, 19);
    Tensor y = Tensor::Empty({9, 48}, dtype), y_there = y.To(Cuda(0));
    Tensor dx = Tensor::Empty({9, 72}, dtype), dx_there = dx.To(Cuda(0));
    here.Forward(x, y, {});
    there.Forward(x.To(Cuda(0)), y_there, {});
    EXPECT_TRUE(tensor::IsClose(y_there, tensor::Values(y), 4 * tensor::Tolerance(dtype)));
    here.InputGrad(dy, dx, {});
    there.InputGrad(dy.To(Cuda(0)), dx_there, {});
    EXPECT_TRUE(tensor::IsClose(dx_there, tensor::Values(dx), 4 * tensor::Tolerance(dtype)));
  }
}

using Nf4CudaDeathTest = Nf4CudaTest;

TEST_F(Nf4CudaDeathTest, AnIdOutOfRangeEndsTheProcess) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";  // a fork has no device
  const Nf4Map map(QuantizeNf4(Random({11, 64}, DType::kF32, 20))->To(Cuda(0)));
  const Tensor ids = Tensor::From<int32_t>({11}, {1}).To(Cuda(0));
  EXPECT_DEATH(map.Rows(ids, DType::kF32).To(kCpu), kTrapped);
}

}  // namespace
}  // namespace lorikeet
