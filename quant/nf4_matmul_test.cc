#include "quant/nf4_matmul.h"

#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "quant/nf4.h"
#include "quant/nf4_panels.h"
#include "quant/random_for_test.h"
#include "tensor/dtype.h"
#include "tensor/kernels/parallel.h"
#include "tensor/ops/matmul.h"
#include "tensor/random.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

Tensor Random(int64_t rows, int64_t cols, DType dtype, uint64_t seed) {
  const std::vector<float> x = Normal(rows * cols, RngKey{.seed = seed});
  return Tensor::From<float>(absl::MakeConstSpan(x), {rows, cols}).Cast(dtype);
}

Nf4Tensor RandomWeight(int64_t rows, int64_t cols, const Nf4Options& options = {}) {
  return *QuantizeNf4(Random(rows, cols, DType::kF32, rows * 10007 + cols), options);
}

bool SameBits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() && std::memcmp(a.raw(), b.raw(), a.nbytes()) == 0;
}

double LargestDifference(const Tensor& a, const Tensor& b) {
  const Tensor x = a.Cast(DType::kF64), y = b.Cast(DType::kF64);
  double most = 0;
  for (int64_t i = 0; i < x.size(); ++i) {
    const double d = std::fabs(x.data<double>()[i] - y.data<double>()[i]);
    if (!(d <= most)) most = d;  // NaN wins
  }
  return most;
}

struct Case {
  int64_t tokens, out, in;
  int block;
};
constexpr Case kCases[] = {{5, 64, 64, 64},  {17, 192, 576, 64}, {64, 576, 192, 32},
                           {9, 130, 96, 64}, {12, 75, 77, 64},   {33, 128, 320, 256},
                           {7, 5, 64, 64},   {8, 65, 5, 32},     {70, 200, 4160, 64}};

TEST(Nf4MatMulTest, ProductsHaveTheBitsOfTheProductWithTheDecodedWeight) {
  for (const Case& c : kCases) {
    for (Nf4Kind kind : {Nf4Kind::kNf4, Nf4Kind::kFp4}) {
      const Nf4Tensor w = RandomWeight(c.out, c.in, {.kind = kind, .block = c.block});
      for (DType dtype : {DType::kBF16, DType::kF32}) {
        const Tensor x = Random(c.tokens, c.in, dtype, 1), dy = Random(c.tokens, c.out, dtype, 2);
        const Tensor dense = Dequantize(w, dtype);
        EXPECT_TRUE(SameBits(MatMulNf4(x, w, true), tensor::MatMul(x, dense, false, true))) << c.out << "x" << c.in;
        EXPECT_TRUE(SameBits(MatMulNf4(dy, w, false), tensor::MatMul(dy, dense))) << c.out << "x" << c.in;
      }
    }
  }
}

TEST(Nf4MatMulTest, AFewRowsMatchTheProductWithTheDecodedWeight) {
  for (int64_t tokens = 1; tokens <= 4; ++tokens) {
    for (int64_t in : {64, 96, 576, 75}) {
      const Nf4Tensor w = RandomWeight(133, in);
      const Tensor x = Random(tokens, in, DType::kF32, 3);
      const Tensor want = tensor::MatMul(x, Dequantize(w, DType::kF32), false, true);
      EXPECT_LE(LargestDifference(MatMulNf4(x, w, true), want), 1e-4);
      const Tensor b = x.Cast(DType::kBF16);
      Tensor y = Tensor::Empty({tokens, 133}, DType::kF32), want_b = Tensor::Empty({tokens, 133}, DType::kF32);
      MatMulNf4Into(y, b, w, true, {});
      tensor::MatMulInto(want_b, b, false, Dequantize(w, DType::kBF16), true);
      EXPECT_LE(LargestDifference(y, want_b), 2e-4);
    }
  }
}

TEST(Nf4MatMulTest, WeightsOfOneRowOrColumnMatchTheProductWithTheDecodedWeight) {
  for (const auto& [out, in] : {std::pair<int64_t, int64_t>{1, 64}, {65, 1}}) {
    const Nf4Tensor w = RandomWeight(out, in);
    const Tensor x = Random(9, in, DType::kF32, 10), dy = Random(9, out, DType::kF32, 11);
    const Tensor dense = Dequantize(w, DType::kF32);
    EXPECT_LE(LargestDifference(MatMulNf4(x, w, true), tensor::MatMul(x, dense, false, true)), 1e-4);
    EXPECT_LE(LargestDifference(MatMulNf4(dy, w, false), tensor::MatMul(dy, dense)), 1e-4);
  }
}

TEST(Nf4MatMulTest, OneHotRowsReadTheWeightExactly) {
  const Nf4Tensor w = RandomWeight(64, 64);
  Tensor identity = Tensor::Zeros({64, 64}, DType::kBF16);
  for (int i = 0; i < 64; ++i) identity.data<bf16>()[i * 65] = bf16(1);
  EXPECT_TRUE(SameBits(MatMulNf4(identity, w, false), Dequantize(w, DType::kBF16)));
  EXPECT_TRUE(SameBits(MatMulNf4(identity.Slice(0, 3, 4), w, false), Dequantize(w, DType::kBF16).Slice(0, 3, 4)));
}

TEST(Nf4MatMulTest, ProductsAddIntoTheOutput) {
  const Nf4Tensor w = RandomWeight(128, 192);
  const Tensor x = Random(10, 192, DType::kBF16, 4);
  Tensor y = Random(10, 128, DType::kF32, 5), want = y.Clone();
  MatMulNf4Into(y, x, w, true, {.alpha = 0.5f, .beta = 2});
  tensor::MatMulInto(want, x, false, Dequantize(w, DType::kBF16), true, 0.5f, 2);
  EXPECT_TRUE(SameBits(y, want));
}

TEST(Nf4MatMulTest, OtherFloatsMultiplyADenseCopy) {
  const Nf4Tensor w = RandomWeight(30, 50);
  for (DType dtype : {DType::kF64, DType::kF16}) {
    const Tensor x = Random(6, 50, dtype, 6);
    EXPECT_TRUE(SameBits(MatMulNf4(x, w, true), tensor::MatMul(x, Dequantize(w, dtype), false, true)));
  }
}

TEST(Nf4MatMulTest, ThePlainDecoderGivesTheSameBits) {
  const Nf4Tensor w = RandomWeight(192, 320);
  const Nf4Panels best(w), plain(w, Nf4Panels::Decoder::kPlain);
  for (bool transpose : {false, true}) {
    const Tensor x = Random(40, transpose ? 320 : 192, DType::kBF16, 7);
    Tensor a = Tensor::Empty({40, transpose ? 192 : 320}, DType::kBF16), b = Tensor::Empty(a.shape(), DType::kBF16);
    tensor::MatMulPanels(a, x, best.source(), transpose, {});
    tensor::MatMulPanels(b, x, plain.source(), transpose, {});
    EXPECT_TRUE(SameBits(a, b));
  }
}

TEST(Nf4MatMulTest, TheNumberOfThreadsDoesNotChangeABit) {
  const Nf4Tensor w = RandomWeight(300, 448);
  for (int64_t tokens : {1, 4, 70}) {
    const Tensor x = Random(tokens, 448, DType::kBF16, 8), dy = Random(tokens, 300, DType::kBF16, 9);
    SetNumThreads(1);
    const Tensor y = MatMulNf4(x, w, true), dx = MatMulNf4(dy, w, false);
    for (int threads : {2, 3}) {
      SetNumThreads(threads);
      EXPECT_TRUE(SameBits(MatMulNf4(x, w, true), y));
      EXPECT_TRUE(SameBits(MatMulNf4(dy, w, false), dx));
    }
  }
}

}  // namespace
}  // namespace lorikeet
