#include "quant/nf4_panels.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "quant/nf4.h"
#include "quant/random_for_test.h"
#include "tensor/dtype.h"
#include "tensor/kernels/matmul.h"
#include "tensor/random.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

Nf4Tensor RandomWeight(int64_t rows, int64_t cols, const Nf4Options& options, float size = 1) {
  std::vector<float> x = Normal(rows * cols, RngKey{.seed = static_cast<uint64_t>(rows * 1000 + cols)});
  for (float& v : x) v *= size;
  return *QuantizeNf4(Tensor::From<float>(absl::MakeConstSpan(x), {rows, cols}), options);
}

struct Free {
  void operator()(void* p) const { std::free(p); }
};
template <typename T>
std::unique_ptr<T[], Free> Aligned(int64_t n) {
  return std::unique_ptr<T[], Free>(static_cast<T*>(std::aligned_alloc(64, (n * sizeof(T) + 63) / 64 * 64)));
}

// Every panel of the weight against its definition over Dequantize.
void ExpectPanels(const Nf4Tensor& w, bool transposed) {
  const Nf4Panels panels(w);
  if (panels.source().pack_bf16 == nullptr) GTEST_SKIP() << "no AVX-512 with VBMI and BF16 here";
  const Tensor dense = Dequantize(w, DType::kBF16);
  const bf16* d = dense.data<bf16>().data();
  const int64_t cols = w.shape[1], steps = transposed ? cols : w.shape[0], width = transposed ? w.shape[0] : cols;
  const int64_t k_count = 64;
  const auto panel = Aligned<uint16_t>(k_count * 64);
  for (int64_t k0 = 0; k0 + k_count <= steps; k0 += k_count) {
    for (int64_t n0 = 0; n0 + 64 <= width; n0 += 64) {
      panels.source().pack_bf16(panels.source().context, transposed, k0, k_count, n0, panel.get());
      for (int64_t k = 0; k < k_count; ++k) {
        for (int64_t n = 0; n < 64; ++n) {
          const bf16 want = transposed ? d[(n0 + n) * cols + k0 + k] : d[(k0 + k) * cols + n0 + n];
          ASSERT_EQ(panel[k / 2 * 128 + 2 * n + k % 2], want.bits) << k0 + k << " " << n0 + n;
        }
      }
    }
  }
}

TEST(Nf4PanelsTest, PanelsHaveTheBitsOfDequantizeForEveryBlockSize) {
  for (int block = 32; block <= 4096; block *= 2) {
    for (bool double_quant : {false, true}) {
      const Nf4Tensor w = RandomWeight(128, 192, {.block = block, .double_quant = double_quant});
      for (bool transposed : {false, true}) ExpectPanels(w, transposed);
    }
  }
}

TEST(Nf4PanelsTest, PanelsOfRowsThatShareBlocksHaveTheBitsOfDequantize) {
  for (int64_t cols : {96, 160, 288}) {
    for (int block : {64, 256}) {
      const Nf4Tensor w = RandomWeight(192, cols, {.block = block});
      for (bool transposed : {false, true}) ExpectPanels(w, transposed);
    }
  }
}

TEST(Nf4PanelsTest, PanelsOfFp4AndOfDenormalWeightsHaveTheBitsOfDequantize) {
  for (bool transposed : {false, true}) {
    ExpectPanels(RandomWeight(64, 128, {.kind = Nf4Kind::kFp4}), transposed);
    ExpectPanels(RandomWeight(64, 128, {.double_quant = false}, 1e-38f), transposed);
  }
}

TEST(Nf4PanelsTest, RowsThatAreNoMultipleOf32AreLeftToThePlainDecoder) {
  const Nf4Tensor w = RandomWeight(70, 75, {});
  EXPECT_EQ(Nf4Panels(w).source().pack_bf16, nullptr);
  EXPECT_EQ(Nf4Panels(w).source().dot_rows, nullptr);
  EXPECT_EQ(Nf4Panels(RandomWeight(70, 96, {}), Nf4Panels::Decoder::kPlain).source().pack_bf16, nullptr);
}

template <typename T>
void ExpectDecoded(const Nf4Tensor& w, DType dtype) {
  const Nf4Panels panels(w, Nf4Panels::Decoder::kPlain);
  const Tensor dense = Dequantize(w, dtype);
  const int64_t rows = w.shape[0], cols = w.shape[1];
  const auto out = Aligned<T>(64 * 128);
  for (int64_t row0 = 0; row0 < rows; row0 += 64) {
    for (int64_t col0 = 0; col0 < cols; col0 += 64) {
      const int64_t r = std::min<int64_t>(64, rows - row0), c = std::min<int64_t>(64, cols - col0);
      panels.source().decode(panels.source().context, row0, r, col0, c, dtype, out.get(), 128);
      for (int64_t i = 0; i < r; ++i)
        ASSERT_EQ(std::memcmp(&out[i * 128], &dense.data<T>()[(row0 + i) * cols + col0], c * sizeof(T)), 0);
    }
  }
}

TEST(Nf4PanelsTest, ThePlainDecoderHasTheBitsOfDequantizeUpToTheEdges) {
  for (int64_t cols : {75, 128, 96}) {
    ExpectDecoded<bf16>(RandomWeight(70, cols, {}), DType::kBF16);
    ExpectDecoded<float>(RandomWeight(70, cols, {.block = 32}), DType::kF32);
  }
}

// Dot products in f64 over the decoded weights, in x's dtype.
template <typename T>
void ExpectDots(const Nf4Tensor& w, int64_t m_count, double tolerance) {
  const Nf4Panels panels(w);
  if (panels.source().dot_rows == nullptr) GTEST_SKIP() << "no AVX-512 with VBMI and BF16 here";
  const int64_t rows = w.shape[0], cols = w.shape[1], x_stride = cols + 3;
  const std::vector<float> random = Normal(m_count * x_stride, RngKey{.seed = 8});
  std::vector<T> x;
  for (float v : random) x.push_back(T(v));
  std::vector<float> y(m_count * rows, NAN);
  panels.source().dot_rows(panels.source().context, 0, rows, DTypeOf<T>(), x.data(), m_count, x_stride, y.data(), rows);
  const Tensor dense = Dequantize(w, DTypeOf<T>());
  for (int64_t m = 0; m < m_count; ++m) {
    for (int64_t i = 0; i < rows; ++i) {
      double want = 0;
      for (int64_t k = 0; k < cols; ++k) want += double{x[m * x_stride + k]} * double{dense.data<T>()[i * cols + k]};
      ASSERT_TRUE(std::fabs(y[m * rows + i] - want) <= tolerance)
          << m << " " << i << ": " << y[m * rows + i] << " " << want;
    }
  }
}

TEST(Nf4PanelsTest, DotProductsOfOneToFourRowsMatchTheDecodedWeight) {
  for (int64_t cols : {64, 128, 576}) {
    for (int block : {64, 128, 1024}) {
      for (int64_t m = 1; m <= 4; ++m) {
        ExpectDots<bf16>(RandomWeight(37, cols, {.block = block}), m, 2e-4);
        ExpectDots<float>(RandomWeight(37, cols, {.block = block}), m, 1e-4);
      }
    }
  }
}

}  // namespace
}  // namespace lorikeet
