#include "tensor/ops/matmul.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/ops/each_target.h"
#include "tensor/ops/testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {
namespace {

struct Dims {
  int64_t m, n, k;
};

// Odd and skinny ones, and each side of every block: tiles of 6 and 8 rows, panels of 64, rows of 4.
const Dims kShapes[] = {{1, 1, 1},      {1, 70, 65},  {3, 16, 33},  {4, 129, 200}, {5, 64, 64},
                        {7, 17, 2},     {13, 48, 31}, {64, 64, 64}, {65, 33, 129}, {130, 16, 37},
                        {16, 200, 301}, {200, 1, 19}, {66, 66, 1},  {31, 130, 66}, {90, 64, 48}};

Tensor Operand(int64_t rows, int64_t columns, bool transposed, DType dtype, uint32_t seed) {
  return transposed ? RandomTensor({columns, rows}, dtype, seed) : RandomTensor({rows, columns}, dtype, seed);
}

// y = alpha * op(a)*op(b) + beta * y in f64, and per element the scale of its rounding errors.
struct Reference {
  std::vector<double> y, scale;
};
Reference Naive(const Tensor& a, bool ta, const Tensor& b, bool tb, const Tensor& y0, double alpha, double beta) {
  const std::vector<double> av = Values(ta ? a.Transpose(0, 1) : a), bv = Values(tb ? b.Transpose(0, 1) : b);
  const int64_t m = ta ? a.dim(1) : a.dim(0), k = ta ? a.dim(0) : a.dim(1), n = tb ? b.dim(0) : b.dim(1);
  Reference r{Values(y0), std::vector<double>(static_cast<size_t>(m * n))};
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0, absolute = 0;
      for (int64_t l = 0; l < k; ++l) {
        const double p = av[static_cast<size_t>(i * k + l)] * bv[static_cast<size_t>(l * n + j)];
        sum += p;
        absolute += std::fabs(p);
      }
      const size_t at = static_cast<size_t>(i * n + j);
      const double old = beta == 0 ? 0 : beta * r.y[at];
      r.y[at] = alpha * sum + old;
      r.scale[at] = std::fabs(alpha) * absolute + std::fabs(old);
    }
  }
  return r;
}

double UnitRoundoff(DType dtype) {
  return dtype == DType::kF64 ? 0x1p-53 : dtype == DType::kF32 ? 0x1p-24 : dtype == DType::kBF16 ? 0x1p-8 : 0x1p-11;
}

// Sums of k terms, each rounded: about sqrt(k) * eps; and one rounding into y.
testing::AssertionResult IsProduct(const Tensor& y, const Reference& want, int64_t k, DType operands) {
  const double eps = UnitRoundoff(operands == DType::kF64 ? DType::kF64 : DType::kF32);
  const std::vector<double> got = Values(y);
  for (size_t i = 0; i < want.y.size(); ++i) {
    const double sums = 8 * std::sqrt(static_cast<double>(k + 4)) * eps * want.scale[i];
    const double rounding = UnitRoundoff(y.dtype()) * std::fabs(want.y[i]);
    if (!(std::fabs(got[i] - want.y[i]) <= sums + rounding + 1e-30)) {
      return testing::AssertionFailure() << Describe(y) << " element " << i << ": " << got[i] << ", want " << want.y[i]
                                         << " within " << sums + rounding << ", k = " << k;
    }
  }
  return testing::AssertionSuccess();
}

testing::AssertionResult Check(const Dims& s, bool ta, bool tb, DType a_dtype, DType b_dtype, DType y_dtype,
                               float alpha = 1, float beta = 0) {
  const Tensor a = Operand(s.m, s.k, ta, a_dtype, 1), b = Operand(s.k, s.n, tb, b_dtype, 2);
  Tensor y = RandomTensor({s.m, s.n}, y_dtype, 3);
  const Reference want = Naive(a, ta, b, tb, y, alpha, beta);
  MatMulInto(y, a, ta, b, tb, alpha, beta);
  return IsProduct(y, want, s.k, a_dtype) << " [" << s.m << "," << s.n << "] ta " << ta << " tb " << tb;
}

template <typename F>
void ForEachTransposition(F&& body) {
  for (bool ta : {false, true}) {
    for (bool tb : {false, true}) body(ta, tb);
  }
}

TEST(MatMulTest, EveryShapeTranspositionAndDTypeAgreesWithF64) {
  for (DType dtype : kFloatDTypes) {
    for (const Dims& s : kShapes) {
      ForEachTransposition([&](bool ta, bool tb) { EXPECT_TRUE(Check(s, ta, tb, dtype, dtype, dtype)); });
    }
  }
}

TEST(MatMulTest, EveryInstructionSetAgreesWithF64) {
  ForEachTarget([&] {
    for (DType dtype : {DType::kF32, DType::kBF16}) {
      for (const Dims& s : kShapes) {
        ForEachTransposition([&](bool ta, bool tb) { EXPECT_TRUE(Check(s, ta, tb, dtype, dtype, DType::kF32)); });
      }
    }
  });
}

TEST(MatMulTest, LongReductionsAreSummedOverAllBlocks) {
  for (DType dtype : {DType::kF64, DType::kF32, DType::kBF16}) {
    for (const Dims& s : {Dims{6, 70, 4500}, Dims{3, 20, 5001}, Dims{17, 5, 8192}}) {
      ForEachTransposition([&](bool ta, bool tb) { EXPECT_TRUE(Check(s, ta, tb, dtype, dtype, DType::kF32)); });
    }
  }
}

TEST(MatMulTest, F32ActivationsMultiplyNarrowerWeights) {
  for (DType weight : {DType::kBF16, DType::kF16}) {
    for (const Dims& s : kShapes) {
      ForEachTransposition([&](bool ta, bool tb) { EXPECT_TRUE(Check(s, ta, tb, DType::kF32, weight, DType::kF32)); });
    }
  }
}

TEST(MatMulTest, AlphaAndBetaScaleEveryDTypeOfTheResult) {
  for (DType y : {DType::kF64, DType::kF32, DType::kBF16, DType::kF16}) {
    for (const Dims& s : {Dims{2, 70, 40}, Dims{19, 70, 40}, Dims{9, 30, 5000}}) {
      EXPECT_TRUE(Check(s, false, true, DType::kBF16, DType::kBF16, y, 0.5F, 1));
      EXPECT_TRUE(Check(s, false, false, DType::kF32, DType::kF32, y, -2, 0.25F));
      EXPECT_TRUE(Check(s, true, false, DType::kF32, DType::kF32, y, 1, -1));
    }
  }
}

TEST(MatMulTest, NoTermsLeaveOnlyBetaTimesY) {
  Tensor y = Tensor::Full({3, 5}, 2, DType::kF32);
  const Tensor a = Tensor::Zeros({3, 0}, DType::kF32), b = Tensor::Zeros({0, 5}, DType::kF32);
  MatMulInto(y, a, false, b, false, 1, 0.5F);
  EXPECT_EQ(Values(y), std::vector<double>(15, 1));
  MatMulInto(y, a, false, b, false);
  EXPECT_EQ(Values(y), std::vector<double>(15, 0));
  EXPECT_EQ(MatMul(Tensor::Zeros({0, 4}, DType::kBF16), Tensor::Zeros({4, 6}, DType::kBF16)).shape(), Shape({0, 6}));
}

TEST(MatMulTest, StridedOperandsAndResultsGiveTheBitsOfContiguousOnes) {
  for (DType dtype : kFloatDTypes) {
    for (int64_t m : {2, 70}) {
      const Tensor big = RandomTensor({m + 3, 200}, dtype, 1), w = RandomTensor({90, 200}, dtype, 2);
      const Tensor a = big.Slice(0, 1, m + 1).Slice(1, 5, 106), b = w.Slice(0, 2, 79).Slice(1, 7, 108);
      const Tensor want = MatMul(a.Clone(), b.Clone(), false, true);
      EXPECT_TRUE(SameBits(MatMul(a, b, false, true), want));
      Tensor wide = Tensor::Zeros({m, 100}, dtype), y = wide.Slice(1, 3, 80);
      MatMulInto(y, a, false, b, true);
      EXPECT_TRUE(SameBits(y, want));
      EXPECT_EQ(Values(wide.Slice(1, 0, 3)), std::vector<double>(static_cast<size_t>(3 * m), 0));
      EXPECT_EQ(Values(wide.Slice(1, 80, 100)), std::vector<double>(static_cast<size_t>(20 * m), 0));
    }
  }
}

TEST(MatMulTest, ATransposedResultIsWrittenThroughItsStrides) {
  const Tensor a = RandomTensor({70, 40}, DType::kBF16, 1), b = RandomTensor({40, 30}, DType::kBF16, 2);
  Tensor y = Tensor::Empty({30, 70}, DType::kBF16).Transpose(0, 1);
  MatMulInto(y, a, false, b, false);
  EXPECT_TRUE(SameBits(y, MatMul(a, b)));
}

TEST(MatMulTest, BetaZeroOverwritesNaN) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (DType dtype : kFloatDTypes) {
    for (int64_t m : {1, 20}) {
      const Tensor a = RandomTensor({m, 30}, dtype, 1), b = RandomTensor({30, 70}, dtype, 2);
      Tensor y = Tensor::Full({m, 70}, nan, dtype);
      MatMulInto(y, a, false, b, false);
      EXPECT_TRUE(SameBits(y, MatMul(a, b)));
    }
  }
}

TEST(MatMulTest, NaNAndInfinityStayInTheirRow) {
  for (DType dtype : kFloatDTypes) {
    for (int64_t m : {3, 20}) {
      Tensor a = Tensor::Full({m, 33}, 1, dtype);
      std::vector<double> values = Values(a);
      values[33 + 32] = std::numeric_limits<double>::quiet_NaN();
      values[66] = std::numeric_limits<double>::infinity();
      a = FromDoubles(values, {m, 33}, dtype);
      const std::vector<double> y = Values(MatMul(a, Tensor::Full({70, 33}, 2, dtype), false, true));
      EXPECT_EQ(y[0], 66);
      EXPECT_TRUE(std::isnan(y[70]) && std::isnan(y[139]));
      EXPECT_EQ(y[140], std::numeric_limits<double>::infinity());
    }
  }
}

TEST(MatMulTest, BitsDoNotDependOnThreads) {
  for (DType dtype : kFloatDTypes) {
    for (const Dims& s : {Dims{300, 200, 150}, Dims{2, 1000, 300}, Dims{1000, 16, 64}, Dims{16, 100, 2500}}) {
      ForEachTransposition([&](bool ta, bool tb) {
        const Tensor a = Operand(s.m, s.k, ta, dtype, 1), b = Operand(s.k, s.n, tb, dtype, 2);
        Tensor first;
        ForEachThreadCount([&] {
          const Tensor y = MatMul(a, b, ta, tb);
          if (!first.defined()) first = y;
          EXPECT_TRUE(SameBits(y, first));
        });
      });
    }
  }
}

TEST(MatMulTest, BitsDoNotDependOnTheRowsAround) {
  const Tensor a = RandomTensor({301, 96}, DType::kBF16, 1), b = RandomTensor({130, 96}, DType::kBF16, 2);
  const Tensor all = MatMul(a, b, false, true);
  for (int64_t rows : {5, 6, 7, 64, 65}) {
    const Tensor some = MatMul(a.Slice(0, 100, 100 + rows), b, false, true);
    EXPECT_TRUE(SameBits(some, all.Slice(0, 100, 100 + rows))) << rows;
  }
}

TEST(MatMulTest, ThinProductsHaveTheBitsOfWideOnes) {
  for (int64_t k : {64, 301, 1000}) {
    for (int64_t n : {33, 96, 200}) {
      const Tensor du = RandomTensor({k, 40}, DType::kBF16, 1), x = RandomTensor({k, n}, DType::kBF16, 2);
      const Tensor all = MatMul(du, x, true, false);  // 40 rows: too many to be thin
      for (int64_t rows : {1, 4, 16, 27, 32}) {
        const Tensor some = du.Slice(1, 3, 3 + rows), want = all.Slice(0, 3, 3 + rows);
        EXPECT_TRUE(SameBits(MatMul(some, x, true, false), want)) << k << " " << n << " " << rows;
        EXPECT_TRUE(SameBits(MatMul(x, some, true, false), want.Transpose(0, 1))) << k << " " << n << " " << rows;
      }
    }
  }
}

// A weight "packed" as f64, to be multiplied in any dtype.
struct F64Weight {
  std::vector<double> values;
  int64_t columns;

  static void Decode(const void* context, int64_t row0, int64_t rows, int64_t col0, int64_t cols, DType dtype,
                     void* dst, int64_t stride) {
    const F64Weight& w = *static_cast<const F64Weight*>(context);
    EXPECT_TRUE(row0 % 64 == 0 && col0 % 64 == 0 && reinterpret_cast<uintptr_t>(dst) % 64 == 0 && stride % 64 == 0);
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < cols; ++j) {
        const float v = static_cast<float>(w.At(row0 + i, col0 + j));
        if (dtype == DType::kBF16) {
          static_cast<bf16*>(dst)[i * stride + j] = bf16(v);
        } else {
          static_cast<float*>(dst)[i * stride + j] = v;
        }
      }
    }
  }
  static void PackBF16(const void* context, bool transposed, int64_t k0, int64_t k_count, int64_t n0, uint16_t* dst) {
    const F64Weight& w = *static_cast<const F64Weight*>(context);
    EXPECT_TRUE(k0 % 64 == 0 && k_count % 64 == 0 && n0 % 64 == 0 && reinterpret_cast<uintptr_t>(dst) % 64 == 0);
    for (int64_t k = 0; k < k_count; ++k) {
      for (int64_t n = 0; n < 64; ++n) {
        const double v = transposed ? w.At(n0 + n, k0 + k) : w.At(k0 + k, n0 + n);
        dst[(k / 2) * 128 + 2 * n + k % 2] = bf16(static_cast<float>(v)).bits;
      }
    }
  }
  static void Dot(const void* context, int64_t row0, int64_t rows, DType, const void* x, int64_t m_count,
                  int64_t x_stride, float* y, int64_t y_stride) {
    const F64Weight& w = *static_cast<const F64Weight*>(context);
    for (int64_t m = 0; m < m_count; ++m) {
      for (int64_t i = 0; i < rows; ++i) {
        double sum = 0;
        const bf16* row = static_cast<const bf16*>(x) + m * x_stride;
        for (int64_t k = 0; k < w.columns; ++k) sum += row[k] * w.At(row0 + i, k);
        y[m * y_stride + i] = static_cast<float>(sum);
      }
    }
  }
  double At(int64_t i, int64_t j) const { return values[static_cast<size_t>(i * columns + j)]; }
};

// y = alpha * gain * (a*b + u*v) + beta * y in f64.
testing::AssertionResult CheckEpilogue(const Dims& s, int64_t rank, bool ta, bool tb, DType dtype, DType y_dtype,
                                       bool with_gain) {
  const Tensor a = Operand(s.m, s.k, ta, dtype, 1), b = Operand(s.k, s.n, tb, dtype, 2);
  const Tensor u = RandomTensor({s.m, rank}, dtype, 4), v = RandomTensor({s.n, rank}, dtype, 5).Transpose(0, 1);
  const Tensor gain = RandomTensor({s.n}, dtype == DType::kF64 ? DType::kF64 : DType::kF32, 6);
  Tensor y = RandomTensor({s.m, s.n}, y_dtype, 3);
  const std::vector<double> old = Values(y), g = Values(gain);
  Reference want = Naive(a, ta, b, tb, y, 0.5, 0);
  const Reference correction = Naive(u, false, v, false, y, 0.5, 0);
  for (size_t i = 0; i < want.y.size(); ++i) {
    const double factor = with_gain ? g[i % static_cast<size_t>(s.n)] : 1;
    want.y[i] = factor * (want.y[i] + correction.y[i]) + 2 * old[i];
    want.scale[i] = std::fabs(factor) * (want.scale[i] + correction.scale[i]) + 2 * std::fabs(old[i]);
  }
  MatMulInto(y, a, ta, b, tb, {.alpha = 0.5F, .beta = 2, .u = u, .v = v, .gain = with_gain ? gain : Tensor()});
  return IsProduct(y, want, s.k + rank, dtype)
         << " [" << s.m << "," << s.n << "," << s.k << "] rank " << rank << " ta " << ta << " tb " << tb;
}

TEST(MatMulTest, ALowRankCorrectionAndAGainAreRoundedWithTheProductOnce) {
  for (DType dtype : kFloatDTypes) {
    for (const Dims& s : kShapes) {
      ForEachTransposition([&](bool ta, bool tb) {
        for (int64_t rank : {1, 8, 17}) {
          EXPECT_TRUE(CheckEpilogue(s, rank, ta, tb, dtype, dtype, rank != 8));
          EXPECT_TRUE(CheckEpilogue(s, rank, ta, tb, dtype, DType::kF32, rank != 17));
        }
      });
    }
  }
}

TEST(MatMulTest, EveryInstructionSetTakesACorrectionAndAGain) {
  ForEachTarget([&] {
    for (DType dtype : {DType::kF32, DType::kBF16}) {
      for (const Dims& s : {Dims{70, 90, 66}, Dims{7, 150, 2}, Dims{90, 64, 4500}, Dims{300, 70, 64}}) {
        EXPECT_TRUE(CheckEpilogue(s, 16, false, true, dtype, DType::kF32, true));
        EXPECT_TRUE(CheckEpilogue(s, 16, false, false, dtype, dtype, true));
      }
    }
  });
}

TEST(MatMulDeathTest, CorrectionsAndGainsOfWrongShapeAbort) {
  const Tensor a = RandomTensor({3, 4}, DType::kF32, 1), b = RandomTensor({4, 5}, DType::kF32, 2);
  const Tensor u = RandomTensor({3, 2}, DType::kF32, 3), v = RandomTensor({2, 5}, DType::kF32, 4);
  Tensor y = Tensor::Empty({3, 5}, DType::kF32);
  EXPECT_DEATH(MatMulInto(y, a, false, b, false, {.u = u}), "u and v come together");
  EXPECT_DEATH(MatMulInto(y, a, false, b, false, {.u = u, .v = v.Transpose(0, 1)}), "expected \\[3,r\\] and \\[r,5\\]");
  EXPECT_DEATH(MatMulInto(y, a, false, b, false, {.gain = RandomTensor({3}, DType::kF32, 5)}),
               "contiguous f32 \\[5\\]");
}

TEST(MatMulPanelsTest, DecodedWeightsGiveTheBitsOfDenseOnes) {
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Dims& s : {Dims{1, 200, 130}, Dims{3, 64, 900}, Dims{33, 100, 77}, Dims{70, 192, 2300}}) {
      const Tensor w = RandomTensor({s.n, s.k}, dtype, 1);
      const F64Weight weight{Values(w), s.k};
      PanelSource source{.rows = s.n, .cols = s.k, .context = &weight, .decode = F64Weight::Decode};
      for (auto pack : {static_cast<decltype(source.pack_bf16)>(nullptr), F64Weight::PackBF16}) {
        source.pack_bf16 = pack;
        const Tensor x = RandomTensor({s.m, s.k}, dtype, 2), dy = RandomTensor({s.m, s.n}, dtype, 3);
        Tensor y = Tensor::Full({s.m, s.n}, 1, dtype), want = y.Clone(), dx = Tensor::Empty({s.m, s.k}, dtype);
        MatMulPanels(y, x, source, true, {.alpha = 0.5F, .beta = 1});
        MatMulInto(want, x, false, w, true, 0.5F, 1);
        EXPECT_TRUE(SameBits(y, want)) << Describe(x) << Describe(w);
        MatMulPanels(dx, dy, source, false, {});
        EXPECT_TRUE(SameBits(dx, MatMul(dy, w))) << Describe(dy) << Describe(w);
      }
    }
  }
}

TEST(MatMulPanelsTest, AFewRowsGoThroughTheDotHook) {
  const Tensor w = RandomTensor({200, 70}, DType::kBF16, 1), x = RandomTensor({4, 70}, DType::kBF16, 2);
  const F64Weight weight{Values(w), 70};
  const PanelSource source{.rows = 200,
                           .cols = 70,
                           .context = &weight,
                           .decode = F64Weight::Decode,
                           .pack_bf16 = nullptr,
                           .dot_rows = F64Weight::Dot};
  Tensor y = Tensor::Full({4, 200}, 1, DType::kF32);
  const Reference want = Naive(x, false, w, true, y, 2, 1);
  MatMulPanels(y, x, source, true, {.alpha = 2, .beta = 1});
  EXPECT_TRUE(IsProduct(y, want, 70, DType::kBF16));
}

TEST(MatMulPanelsTest, EveryInstructionSetDecodesToTheDTypeOfX) {
  const Tensor w = RandomTensor({100, 1100}, DType::kF32, 1);
  const F64Weight weight{Values(w), 1100};
  const PanelSource source{.rows = 100, .cols = 1100, .context = &weight, .decode = F64Weight::Decode};
  ForEachTarget([&] {
    for (int64_t m : {2, 40}) {
      const Tensor x = RandomTensor({m, 1100}, DType::kBF16, 2);
      Tensor y = Tensor::Zeros({m, 100}, DType::kF32);
      const Reference want = Naive(x, false, w.Cast(DType::kBF16), true, y, 1, 0);
      MatMulPanels(y, x, source, true, {});
      EXPECT_TRUE(IsProduct(y, want, 1100, DType::kBF16));
    }
  });
}

TEST(MatMulDeathTest, WrongShapesAndDTypesAbort) {
  const Tensor a = Tensor::Zeros({2, 3}, DType::kF32);
  EXPECT_DEATH(MatMul(a, Tensor::Zeros({4, 5}, DType::kF32)), "MatMul: a is f32\\[2,3\\].*b f32\\[4,5\\]");
  EXPECT_DEATH(MatMul(a, Tensor::Zeros({3, 5}, DType::kF64)), "MatMul");
  Tensor y = Tensor::Zeros({2, 4}, DType::kF32);
  EXPECT_DEATH(MatMulInto(y, a, false, a, true), "y is f32\\[2,4\\], expected a float \\[2,2\\]");
}

}  // namespace
}  // namespace lorikeet::tensor
