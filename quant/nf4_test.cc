#include "quant/nf4.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "quant/code_maps.h"
#include "quant/random_for_test.h"
#include "quant/sha256_for_test.h"
#include "tensor/dtype.h"
#include "tensor/kernels/parallel.h"
#include "tensor/random.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

constexpr Nf4Options kPlain = {.double_quant = false};

Tensor Flat(absl::Span<const float> x) { return Tensor::From<float>(x, {static_cast<int64_t>(x.size())}); }

Nf4Tensor Quantized(const Tensor& w, const Nf4Options& options = kPlain) {
  absl::StatusOr<Nf4Tensor> q = QuantizeNf4(w, options);
  EXPECT_TRUE(q.ok()) << q.status();
  return *q;
}

// The 4-bit codes, one per element.
std::vector<int> Codes(const Nf4Tensor& q) {
  std::vector<int> out;
  for (int64_t i = 0; i < q.size(); ++i) {
    const uint8_t pair = q.codes.data<uint8_t>()[i / 2];
    out.push_back(i % 2 == 0 ? pair >> 4 : pair & 15);
  }
  return out;
}

template <typename T>
std::vector<T> Values(const Tensor& t) {
  const absl::Span<T> s = t.data<T>();
  return {s.begin(), s.end()};
}

uint32_t Bits(float x) { return std::bit_cast<uint32_t>(x); }

// The published test stream: a multiplicative hash of the index, exact in float32.
std::vector<float> GoldenInput() {
  std::vector<float> x(32768);
  for (uint32_t i = 0; i < x.size(); ++i) {
    const uint32_t h = (i * 2654435761u + 12345u) >> 8;
    x[i] = (static_cast<float>(h) - 8388608.0f) / 8388608.0f;
  }
  return x;
}

TEST(Nf4Test, CodesOfTheGoldenStreamHaveThePublishedDigest) {
  const Nf4Tensor q = Quantized(Flat(GoldenInput()));
  const std::vector<uint8_t> want = {0x0a, 0x2e, 0x61, 0xc3, 0xf9, 0x1d, 0x50, 0xb3,
                                     0xe7, 0x1c, 0x4f, 0x92, 0xe6, 0x0b, 0x3e, 0x81};
  const absl::Span<const uint8_t> codes = q.codes.data<uint8_t>();
  EXPECT_EQ(std::vector<uint8_t>(codes.begin(), codes.begin() + 16), want);
  EXPECT_EQ(Sha256(codes), "21186d0a0e596f5c2e6d447cb81ba16304d43ea942c17de83d96b3b6f602a750");
  EXPECT_EQ(Bits(q.scales.data<float>()[0]), 0x3f7fffa0u);
  EXPECT_EQ(Bits(q.scales.data<float>()[1]), 0x3f7d6d04u);
  EXPECT_EQ(Bits(q.scales.data<float>()[2]), 0x3f7e6946u);
}

TEST(Nf4Test, CodesOfTheGoldenStreamAreDistributedAsPublished) {
  std::vector<int> histogram(16);
  for (int c : Codes(Quantized(Flat(GoldenInput())))) ++histogram[c];
  EXPECT_EQ(histogram, (std::vector<int>{2589, 3870, 2414, 2004, 1672, 1597, 1500, 1385, 1306, 1355, 1415, 1620, 1825,
                                         2327, 3526, 2363}));
}

TEST(Nf4Test, DoubleQuantizationOfTheGoldenStreamHasThePublishedBits) {
  const Nf4Tensor q = Quantized(Flat(GoldenInput()), {});
  EXPECT_EQ(q.scale_mean, 0.9914675354957581f);
  EXPECT_EQ(Bits(q.scale_scales.data<float>()[0]), 0x3c4d2540u);
  EXPECT_EQ(Bits(q.scale_scales.data<float>()[1]), 0x3c4e6740u);
  const absl::Span<const uint8_t> scales = q.scales.data<uint8_t>();
  EXPECT_EQ(std::vector<int>(scales.begin(), scales.begin() + 8),
            (std::vector<int>{232, 62, 197, 210, 49, 218, 13, 179}));
  EXPECT_EQ(Sha256(scales), "1954596304764e37b651ef3a401cbd5204d2fe000a71bfe586035026cce78322");
}

TEST(Nf4Test, ErrorsOfTheGoldenStreamAreThePublishedOnes) {
  const std::vector<float> x = GoldenInput();
  const auto mean_error = [&](const Nf4Tensor& q) {
    const std::vector<float> y = Values<float>(Dequantize(q, DType::kF32));
    double sum = 0;
    for (size_t i = 0; i < x.size(); ++i) sum += std::fabs(double{x[i]} - double{y[i]});
    return sum / x.size();
  };
  const Nf4Tensor plain = Quantized(Flat(x)), nested = Quantized(Flat(x), {});
  EXPECT_NEAR(mean_error(plain), 0.0410360, 1e-7);
  EXPECT_NEAR(mean_error(nested), 0.0410366, 1e-7);
  const std::vector<float> exact = Values<float>(plain.scales), coded = Values<float>(DequantizeScales(nested));
  float worst = 0;
  for (size_t b = 0; b < exact.size(); ++b) worst = std::max(worst, std::fabs(exact[b] - coded[b]));
  EXPECT_NEAR(worst, 8.86e-5, 1e-7);
}

TEST(Nf4Test, ATieGoesToTheLowerCode) {
  std::vector<float> on(64), above(64);
  on[0] = above[0] = 1;
  for (int c = 0; c < 15; ++c) {
    on[c + 1] = kNf4Thresholds[c];
    above[c + 1] = std::nextafter(kNf4Thresholds[c], 2.0f);
  }
  const std::vector<int> low = Codes(Quantized(Flat(on))), high = Codes(Quantized(Flat(above)));
  EXPECT_EQ(low[0], 15);
  for (int c = 0; c < 15; ++c) {
    EXPECT_EQ(low[c + 1], c);
    EXPECT_EQ(high[c + 1], c + 1);
  }
}

// Mean absolute error that bitsandbytes publishes for 1024 x 1024 normally distributed numbers, its standard deviation
// and the mean relative error.
struct ErrorRow {
  int block;
  double nf4, nf4_deviation, nf4_relative, fp4, fp4_deviation, fp4_relative;
};
constexpr ErrorRow kErrors[] = {
    {32, .067746, .000069, .189726, .088925, .000091, .242443},
    {64, .072798, .000074, .203339, .096543, .000111, .260125},
    {128, .076831, .000091, .215237, .102969, .000134, .275817},
    {256, .080337, .000102, .226105, .108684, .000182, .289831},
    {512, .083547, .000143, .236079, .114115, .000234, .302881},
    {1024, .086610, .000187, .245370, .119333, .000320, .315},
    {2048, .089592, .000251, .254163, .124556, .000455, .326607},
    {4096, .092547, .000360, .262473, .129536, .000612, .337169},
};

TEST(Nf4Test, ErrorsOfNormalWeightsKeepToThePublishedTableForEveryBlockSize) {
  const std::vector<float> x = Normal(1 << 20, RngKey{.seed = 5});
  for (const ErrorRow& row : kErrors) {
    for (Nf4Kind kind : {Nf4Kind::kNf4, Nf4Kind::kFp4}) {
      const Nf4Tensor q = Quantized(Flat(x), {.kind = kind, .block = row.block, .double_quant = false});
      const std::vector<float> y = Values<float>(Dequantize(q, DType::kF32));
      double absolute = 0, relative = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        const double e = std::fabs(double{x[i]} - double{y[i]});
        absolute += e / x.size();
        relative += e / (std::fabs(x[i]) + 1e-8) / x.size();
      }
      const bool nf4 = kind == Nf4Kind::kNf4;
      EXPECT_NEAR(absolute, nf4 ? row.nf4 : row.fp4, 7 * (nf4 ? row.nf4_deviation : row.fp4_deviation)) << row.block;
      EXPECT_NEAR(relative, nf4 ? row.nf4_relative : row.fp4_relative, 0.003) << row.block;
    }
  }
}

TEST(Nf4Test, Fp4PicksTheNearestMagnitudeAndKeepsTheSign) {
  const std::vector<float> x = Normal(64 * 500, RngKey{.seed = 9});
  const Nf4Tensor q = Quantized(Flat(x), {.kind = Nf4Kind::kFp4, .double_quant = false});
  const std::vector<int> codes = Codes(q);
  for (size_t i = 0; i < x.size(); ++i) {
    const float t = x[i] / q.scales.data<float>()[i / 64];
    for (float other : kFp4Codes) ASSERT_LE(std::fabs(t - kFp4Codes[codes[i]]), std::fabs(t - other) + 1e-6) << t;
    ASSERT_EQ(codes[i] >= 8, x[i] < 0);
  }
}

TEST(Nf4Test, ABlockOfZerosStoresTheCodeOfZero) {
  const Tensor zeros = Tensor::Zeros({2, 64}, DType::kF32);
  for (uint8_t byte : Values<uint8_t>(Quantized(zeros).codes)) EXPECT_EQ(byte, 0x77);
  for (uint8_t byte : Values<uint8_t>(Quantized(zeros, {.kind = Nf4Kind::kFp4}).codes)) EXPECT_EQ(byte, 0);
  for (bool double_quant : {false, true}) {
    const Nf4Tensor q = Quantized(zeros, {.double_quant = double_quant});
    for (float v : Values<float>(Dequantize(q, DType::kF32))) EXPECT_EQ(v, 0);
  }
}

TEST(Nf4Test, TinyScalesStayFinite) {
  for (float a : {1e-37f, 1e-38f, 1e-40f, 1.4e-45f}) {
    const Nf4Tensor q = Quantized(Tensor::Full({64}, a, DType::kF32));
    EXPECT_EQ(q.scales.data<float>()[0], a);
    for (float v : Values<float>(Dequantize(q, DType::kF32))) EXPECT_LE(std::fabs(v - a), a);
  }
}

TEST(Nf4Test, AnOddNumberOfElementsIsPaddedWithAZero) {
  const Nf4Tensor q = Quantized(Tensor::From<float>({1, -1, 0.5f}, {3}));
  EXPECT_EQ(q.codes.shape(), (Shape{2, 1}));
  EXPECT_EQ(q.codes.data<uint8_t>()[0], 0xf0);
  EXPECT_EQ(q.codes.data<uint8_t>()[1], 0xc7);  // t = 0.5 is code 12
  EXPECT_EQ(Dequantize(q, DType::kF32).shape(), (Shape{3}));
}

TEST(Nf4Test, BlocksRunOverTheFlattenedWeightAndMayStraddleRows) {
  const std::vector<float> x = Normal(7 * 45, RngKey{.seed = 11});
  const Tensor flat = Flat(x), rows = Tensor::From<float>(x, {7, 45});
  const Nf4Tensor a = Quantized(flat), b = Quantized(rows);
  EXPECT_EQ(Values<uint8_t>(a.codes), Values<uint8_t>(b.codes));
  EXPECT_EQ(b.scales.shape(), (Shape{5}));
  EXPECT_EQ(Values<float>(Dequantize(a, DType::kF32)), Values<float>(Dequantize(b, DType::kF32)));
}

TEST(Nf4Test, ATransposedViewIsQuantizedInItsOwnOrder) {
  const Tensor w = Tensor::From<float>(Normal(64 * 6, RngKey{.seed = 12}), {64, 6});
  const Nf4Tensor view = Quantized(w.Transpose(0, 1)), copy = Quantized(w.Transpose(0, 1).Clone());
  EXPECT_EQ(Values<uint8_t>(view.codes), Values<uint8_t>(copy.codes));
}

TEST(Nf4Test, EveryRangeDecodesAsPartOfTheWhole) {
  for (bool double_quant : {false, true}) {
    const Nf4Tensor q = Quantized(Flat(Normal(333, RngKey{.seed = 13})), {.block = 32, .double_quant = double_quant});
    const std::vector<float> whole = Values<float>(Dequantize(q, DType::kF32));
    for (int begin = 0; begin < 333; begin += 7) {
      for (int end : {begin, begin + 1, std::min(begin + 40, 333), 333}) {
        std::vector<float> part(end - begin);
        Nf4Decode(q.view(), begin, end, part.data());
        ASSERT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + begin)) << begin << " " << end;
      }
    }
  }
}

TEST(Nf4Test, DecodingIsOneProductInFloat32AndOneRounding) {
  const Tensor w = Tensor::From<float>(Normal(640, RngKey{.seed = 14}), {640});
  for (bool double_quant : {false, true}) {
    const Nf4Tensor q = Quantized(w, {.double_quant = double_quant});
    const std::vector<int> codes = Codes(q);
    const std::vector<float> scales = Values<float>(DequantizeScales(q));
    const std::vector<float> f = Values<float>(Dequantize(q, DType::kF32));
    const std::vector<bf16> b = Values<bf16>(Dequantize(q, DType::kBF16));
    const std::vector<f16> h = Values<f16>(Dequantize(q, DType::kF16));
    for (int i = 0; i < 640; ++i) {
      const float product = kNf4Codes[codes[i]] * scales[i / 64];
      ASSERT_EQ(f[i], product);
      ASSERT_EQ(b[i].bits, F32ToBF16Bits(product));
      ASSERT_EQ(h[i].bits, F32ToF16Bits(product));
    }
  }
}

TEST(Nf4Test, SixteenBitWeightsAreWidenedFirst) {
  const Tensor w = Tensor::From<float>(Normal(1000, RngKey{.seed = 15}), {1000});
  for (DType dtype : {DType::kBF16, DType::kF16}) {
    const Tensor narrow = w.Cast(dtype);
    const Nf4Tensor q = Quantized(narrow), wide = Quantized(narrow.Cast(DType::kF32));
    EXPECT_EQ(q.dtype, dtype);
    EXPECT_EQ(Values<uint8_t>(q.codes), Values<uint8_t>(wide.codes));
    EXPECT_EQ(Values<float>(q.scales), Values<float>(wide.scales));
  }
}

TEST(Nf4Test, AWeightTakesFourBitsAndAnEighth) {
  const Nf4Tensor q = Quantized(Flat(Normal(1 << 20, RngKey{.seed = 16})), {});
  EXPECT_NEAR(8.0 * q.nbytes() / q.size(), 4.127, 0.01);
  EXPECT_NEAR(8.0 * Quantized(Flat(Normal(1 << 20, RngKey{.seed = 16}))).nbytes() / q.size(), 4.5, 0.01);
}

TEST(Nf4Test, AWeightThatIsNotFiniteIsAnErrorThatNamesThePosition) {
  Tensor w = Tensor::Full({300, 500}, 0.5, DType::kF32);
  w.data<float>()[217 * 500 + 3] = std::numeric_limits<float>::quiet_NaN();
  w.data<float>()[299 * 500 + 4] = -std::numeric_limits<float>::infinity();
  const absl::Status nan = QuantizeNf4(w).status();
  EXPECT_EQ(nan.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(nan.message()).find("f32[300,500] is nan at [217,3]"), std::string::npos) << nan;
  w.data<float>()[217 * 500 + 3] = 0;
  const absl::Status inf = QuantizeNf4(w).status();
  EXPECT_NE(std::string(inf.message()).find("-inf at [299,4]"), std::string::npos) << inf;
}

TEST(Nf4Test, ABlockSizeOutOfRangeIsAnErrorThatSaysWhatIsAllowed) {
  const Tensor w = Tensor::Zeros({64}, DType::kF32);
  for (int block : {0, -64, 16, 100, 8192}) {
    EXPECT_EQ(QuantizeNf4(w, {.block = block}).status().code(), absl::StatusCode::kInvalidArgument) << block;
    EXPECT_FALSE(QuantizeNf4(w, {.scale_block = block}).ok()) << block;
  }
  const absl::Status status = QuantizeNf4(w, {.block = 100}).status();
  EXPECT_NE(std::string(status.message()).find("it must be 32, 64,"), std::string::npos) << status;
}

TEST(Nf4Test, AnEmptyWeightIsFine) {
  const Nf4Tensor q = Quantized(Tensor::Zeros({0, 64}, DType::kF32), {});
  EXPECT_EQ(Dequantize(q, DType::kF32).shape(), (Shape{0, 64}));
}

TEST(Nf4Test, TheNumberOfThreadsDoesNotChangeABit) {
  const Tensor w = Tensor::From<float>(Normal(601 * 333, RngKey{.seed = 17}), {601, 333});
  SetNumThreads(1);
  const Nf4Tensor one = Quantized(w, {});
  const std::vector<bf16> dense = Values<bf16>(Dequantize(one, DType::kBF16));
  for (int threads : {2, 3}) {
    SetNumThreads(threads);
    const Nf4Tensor many = Quantized(w, {});
    EXPECT_EQ(Values<uint8_t>(one.codes), Values<uint8_t>(many.codes));
    EXPECT_EQ(Values<uint8_t>(one.scales), Values<uint8_t>(many.scales));
    EXPECT_EQ(Values<float>(one.scale_scales), Values<float>(many.scale_scales));
    EXPECT_EQ(dense, Values<bf16>(Dequantize(many, DType::kBF16)));
  }
}

}  // namespace
}  // namespace lorikeet
