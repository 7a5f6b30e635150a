#include "tensor/ops/attention.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/ops/each_target.h"
#include "tensor/ops/gradcheck.h"
#include "tensor/ops/testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {
namespace {

Tensor Cu(std::initializer_list<int32_t> values) {
  return Tensor::From<int32_t>(values, {static_cast<int64_t>(values.size())});
}

struct Case {
  const char* name;
  Tensor cu_q, cu_k;
  int64_t heads, kv_heads, d;
  bool causal = true;
  int64_t window = 0;
  float softcap = 0;

  AttentionArgs args() const {
    const float scale = 1 / std::sqrt(static_cast<float>(d));
    return {.cu_seqlens_q = cu_q,
            .cu_seqlens_k = cu_k,
            .scale = scale,
            .causal = causal,
            .window = window,
            .softcap = softcap};
  }
  int64_t tokens() const { return static_cast<int64_t>(Values(cu_q).back()); }
  int64_t ctx() const { return static_cast<int64_t>(Values(cu_k).back()); }
  Tensor Q(DType t, uint32_t seed = 1) const { return RandomTensor({tokens(), heads, d}, t, seed); }
  Tensor K(DType t, uint32_t seed = 2) const { return RandomTensor({ctx(), kv_heads, d}, t, seed); }
};

// Odd sizes on purpose; `small` ones are differentiated numerically.
const std::vector<Case>& SmallCases() {
  static const auto* cases = new std::vector<Case>{
      {"one token", Cu({0, 1}), Cu({0, 1}), 3, 1, 5},
      {"causal", Cu({0, 7}), Cu({0, 7}), 2, 2, 5},
      {"full", Cu({0, 5}), Cu({0, 5}), 2, 2, 3, false},
      {"ragged, groups of 3, an empty sequence", Cu({0, 4, 4, 5, 11}), Cu({0, 4, 4, 5, 11}), 6, 2, 4},
      {"cached", Cu({0, 2, 5}), Cu({0, 6, 9}), 4, 1, 3},
      {"more queries than keys", Cu({0, 5}), Cu({0, 3}), 2, 1, 3},
      {"window", Cu({0, 9}), Cu({0, 9}), 2, 1, 4, true, 3},
      {"window on both sides", Cu({0, 8}), Cu({0, 8}), 2, 1, 4, false, 2},
      {"softcap", Cu({0, 6}), Cu({0, 6}), 2, 1, 4, true, 0, 0.7f},
      {"queries without keys", Cu({0, 2, 4}), Cu({0, 0, 3}), 2, 1, 3},
  };
  return *cases;
}

const std::vector<Case>& LargeCases() {
  static const auto* cases = new std::vector<Case>{
      {"several tiles", Cu({0, 150}), Cu({0, 150}), 2, 1, 64},
      {"groups of 3", Cu({0, 37, 38, 170}), Cu({0, 37, 38, 170}), 9, 3, 64},
      {"groups of 4, wide heads", Cu({0, 90}), Cu({0, 90}), 4, 1, 128},
      {"odd head", Cu({0, 70}), Cu({0, 70}), 2, 2, 37},
      {"heads wider than a panel", Cu({0, 33}), Cu({0, 33}), 2, 1, 80},
      {"full", Cu({0, 131}), Cu({0, 131}), 2, 1, 16, false},
      {"window", Cu({0, 300}), Cu({0, 300}), 2, 1, 32, true, 40},
      {"window on both sides", Cu({0, 300}), Cu({0, 300}), 1, 1, 32, false, 40},
      {"softcap", Cu({0, 100}), Cu({0, 100}), 2, 1, 24, true, 0, 1.5f},
      {"window and softcap", Cu({0, 300}), Cu({0, 300}), 2, 1, 32, true, 40, 1.5f},
      {"cached", Cu({0, 1, 3, 40}), Cu({0, 200, 350, 480}), 3, 1, 64},
      {"more queries than keys", Cu({0, 120}), Cu({0, 30}), 2, 1, 64},
  };
  return *cases;
}

bool Sees(const Case& c, int64_t queries, int64_t keys, int64_t i, int64_t j) {
  const int64_t p = keys - queries + i;
  return (!c.causal || j <= p) && (c.window == 0 || std::abs(p - j) < c.window);
}

// One head of one sequence: the softmax over a whole row of scores, by its definition.
void ReferenceHead(const Case& c, const std::vector<double>& q, const std::vector<double>& k,
                   const std::vector<double>& v, int64_t q0, int64_t q1, int64_t k0, int64_t k1, int64_t head,
                   std::vector<double>* y) {
  const int64_t kv = head * c.kv_heads / c.heads;
  for (int64_t i = 0; i < q1 - q0; ++i) {
    std::vector<double> w(static_cast<size_t>(k1 - k0), 0.0);
    double sum = 0;
    for (int64_t j = 0; j < k1 - k0; ++j) {
      if (!Sees(c, q1 - q0, k1 - k0, i, j)) continue;
      double s = 0;
      for (int64_t e = 0; e < c.d; ++e)
        s += q[((q0 + i) * c.heads + head) * c.d + e] * k[((k0 + j) * c.kv_heads + kv) * c.d + e];
      s *= c.args().scale;
      if (c.softcap > 0) s = c.softcap * std::tanh(s / c.softcap);
      sum += w[j] = std::exp(s);
    }
    for (int64_t j = 0; sum > 0 && j < k1 - k0; ++j) {
      for (int64_t e = 0; e < c.d; ++e)
        (*y)[((q0 + i) * c.heads + head) * c.d + e] += w[j] / sum * v[((k0 + j) * c.kv_heads + kv) * c.d + e];
    }
  }
}

std::vector<double> Reference(const Case& c, const Tensor& q, const Tensor& k, const Tensor& v) {
  const std::vector<double> cu_q = Values(c.cu_q), cu_k = Values(c.cu_k), x = Values(q), key = Values(k),
                            value = Values(v);
  std::vector<double> y(x.size(), 0.0);
  for (size_t n = 0; n + 1 < cu_q.size(); ++n) {
    for (int64_t h = 0; h < c.heads; ++h) {
      ReferenceHead(c, x, key, value, static_cast<int64_t>(cu_q[n]), static_cast<int64_t>(cu_q[n + 1]),
                    static_cast<int64_t>(cu_k[n]), static_cast<int64_t>(cu_k[n + 1]), h, &y);
    }
  }
  return y;
}

std::vector<Case> AllCases() {
  std::vector<Case> all = SmallCases();
  all.insert(all.end(), LargeCases().begin(), LargeCases().end());
  return all;
}

AttentionGradResult GradOf(const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                           const AttentionArgs& a) {
  const AttentionResult r = Attention(q, k, v, a);
  return AttentionGrad(dy, q, k, v, r.y, r.lse, a);
}

Tensor F64(const Tensor& x) { return x.Cast(DType::kF64); }

TEST(AttentionTest, MatchesItsDefinitionInEveryDType) {
  for (DType dtype : kFloatDTypes) {
    for (const Case& c : AllCases()) {
      SCOPED_TRACE(std::string(Name(dtype)) + " " + c.name);
      const Tensor q = c.Q(dtype), k = c.K(dtype), v = c.K(dtype, 3);
      EXPECT_TRUE(IsClose(Attention(q, k, v, c.args()).y, Reference(c, q, k, v), 2 * Tolerance(dtype)));
    }
  }
}

TEST(AttentionTest, GradientsAgreeWithCentralDifferences) {
  for (const Case& c : SmallCases()) {
    SCOPED_TRACE(c.name);
    const Tensor q = c.Q(DType::kF64), k = c.K(DType::kF64), v = c.K(DType::kF64, 3), dy = c.Q(DType::kF64, 4);
    const AttentionArgs args = c.args();
    const AttentionGradResult g = GradOf(dy, q, k, v, args);
    EXPECT_TRUE(IsGradient(
        g.dq, [&](const Tensor& t) { return Dot(Attention(t, k, v, args).y, dy); }, q));
    EXPECT_TRUE(IsGradient(
        g.dk, [&](const Tensor& t) { return Dot(Attention(q, t, v, args).y, dy); }, k));
    EXPECT_TRUE(IsGradient(
        g.dv, [&](const Tensor& t) { return Dot(Attention(q, k, t, args).y, dy); }, v));
  }
}

TEST(AttentionTest, GradientsInEveryDTypeAgreeWithF64) {
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const Case& c : AllCases()) {
      SCOPED_TRACE(std::string(Name(dtype)) + " " + c.name);
      const Tensor q = c.Q(dtype), k = c.K(dtype), v = c.K(dtype, 3), dy = c.Q(dtype, 4);
      const AttentionGradResult got = GradOf(dy, q, k, v, c.args());
      const AttentionGradResult want = GradOf(F64(dy), F64(q), F64(k), F64(v), c.args());
      EXPECT_TRUE(IsClose(got.dq, Values(want.dq), 5 * Tolerance(dtype)));
      EXPECT_TRUE(IsClose(got.dk, Values(want.dk), 5 * Tolerance(dtype)));
      EXPECT_TRUE(IsClose(got.dv, Values(want.dv), 5 * Tolerance(dtype)));
    }
  }
}

TEST(AttentionTest, EveryInstructionSetAgreesWithF64) {
  for (const Case& c : LargeCases()) {
    SCOPED_TRACE(c.name);
    const Tensor q = c.Q(DType::kF32), k = c.K(DType::kF32), v = c.K(DType::kF32, 3), dy = c.Q(DType::kF32, 4);
    const AttentionGradResult want = GradOf(F64(dy), F64(q), F64(k), F64(v), c.args());
    ForEachTarget([&] {
      const AttentionGradResult got = GradOf(dy, q, k, v, c.args());
      EXPECT_TRUE(IsClose(got.dq, Values(want.dq), 1e-5));
      EXPECT_TRUE(IsClose(got.dk, Values(want.dk), 1e-5));
      EXPECT_TRUE(IsClose(got.dv, Values(want.dv), 1e-5));
    });
  }
}

TEST(AttentionTest, LseIsTheLogarithmOfTheDenominator) {
  const Case c = {"", Cu({0, 2}), Cu({0, 2}), 1, 1, 2};
  const Tensor q = Tensor::From<float>({1, 0, 1, 0}, {2, 1, 2}), k = Tensor::From<float>({1, 5, 3, 5}, {2, 1, 2});
  AttentionArgs args = c.args();
  args.scale = 1;
  EXPECT_TRUE(IsClose(Attention(q, k, k, args).lse, {1.0, std::log(std::exp(1.0) + std::exp(3.0))}, 1e-6));
}

TEST(AttentionTest, StridedOperandsGiveTheSameBits) {
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    const Case c = {"", Cu({0, 50}), Cu({0, 50}), 4, 2, 32};
    const Tensor qkv = RandomTensor({50, 8, 32}, dtype, 1), dy = c.Q(dtype, 4);
    const Tensor q = qkv.Slice(1, 0, 4), k = qkv.Slice(1, 4, 6), v = Strided(qkv.Slice(1, 6, 8));
    const AttentionResult r = Attention(q, k, v, c.args());
    EXPECT_TRUE(SameBits(r.y, Attention(q.Clone(), k.Clone(), v.Clone(), c.args()).y));
    const AttentionGradResult a = GradOf(Strided(dy), q, k, v, c.args());
    const AttentionGradResult b = GradOf(dy, q.Clone(), k.Clone(), v.Clone(), c.args());
    EXPECT_TRUE(SameBits(a.dq, b.dq) && SameBits(a.dk, b.dk) && SameBits(a.dv, b.dv));
  }
}

TEST(AttentionTest, CachedDecodingGivesTheFullRunsRows) {
  const Case c = {"", Cu({0, 45}), Cu({0, 45}), 6, 2, 16};
  const Tensor q = c.Q(DType::kF32), k = c.K(DType::kF32), v = c.K(DType::kF32, 3);
  const Tensor full = Attention(q, k, v, c.args()).y;
  for (int32_t t = 0; t < 45; ++t) {
    AttentionArgs args = c.args();
    args.cu_seqlens_q = Cu({0, 1});
    args.cu_seqlens_k = Cu({0, t + 1});
    const Tensor row = Attention(q.Slice(0, t, t + 1), k.Slice(0, 0, t + 1), v.Slice(0, 0, t + 1), args).y;
    EXPECT_TRUE(IsClose(row, Values(full.Slice(0, t, t + 1)), 2e-6)) << t;
  }
}

TEST(AttentionTest, PackedSequencesEqualSequencesAlone) {
  const Case c = {"", Cu({0, 20, 53}), Cu({0, 20, 53}), 2, 1, 16};
  const Tensor q = c.Q(DType::kF32), k = c.K(DType::kF32), v = c.K(DType::kF32, 3);
  AttentionArgs args = c.args();
  const Tensor packed = Attention(q, k, v, args).y;
  args.cu_seqlens_q = args.cu_seqlens_k = Cu({0, 33});
  const Tensor alone = Attention(q.Slice(0, 20, 53), k.Slice(0, 20, 53), v.Slice(0, 20, 53), args).y;
  EXPECT_TRUE(IsClose(packed.Slice(0, 20, 53), Values(alone), 2e-6));
}

TEST(AttentionTest, AQueryThatSeesNoKeyGivesZeroAndNoGradient) {
  for (DType dtype : kFloatDTypes) {
    const Case c = {"", Cu({0, 5}), Cu({0, 3}), 2, 1, 8};  // queries 0 and 1 stand before the first key
    const Tensor q = c.Q(dtype), k = c.K(dtype), v = c.K(dtype, 3), dy = c.Q(dtype, 4);
    const AttentionResult r = Attention(q, k, v, c.args());
    EXPECT_TRUE(IsClose(r.y.Slice(0, 0, 2), std::vector<double>(32, 0.0), 0));
    EXPECT_TRUE(IsClose(r.lse.Slice(0, 0, 2), std::vector<double>(4, -std::numeric_limits<double>::infinity()), 0));
    EXPECT_TRUE(IsClose(GradOf(dy, q, k, v, c.args()).dq.Slice(0, 0, 2), std::vector<double>(32, 0.0), 0));
  }
}

// Sets row `token` of x to NaN.
Tensor WithNaN(const Tensor& x, int64_t token) {
  const Tensor y = x.Clone();
  std::vector<double> values = Values(y);
  const size_t row = values.size() / static_cast<size_t>(x.dim(0));
  for (size_t i = 0; i < row; ++i) values[static_cast<size_t>(token) * row + i] = std::nan("");
  return FromDoubles(values, x.shape(), x.dtype());
}

TEST(AttentionTest, NaNInAMaskedKeyReachesNoQueryThatDoesNotSeeIt) {
  for (DType dtype : kFloatDTypes) {
    for (int64_t bad : {3, 20, 69}) {
      SCOPED_TRACE(std::string(Name(dtype)) + " " + std::to_string(bad));
      const Case c = {"", Cu({0, 70}), Cu({0, 70}), 3, 1, 8};
      const Tensor q = c.Q(dtype), k = c.K(dtype), v = c.K(dtype, 3), dy = c.Q(dtype, 4);
      const Tensor bad_k = WithNaN(k, bad), bad_v = WithNaN(v, bad);
      const Tensor y = Attention(q, bad_k, bad_v, c.args()).y;
      EXPECT_TRUE(SameBits(y.Slice(0, 0, bad), Attention(q, k, v, c.args()).y.Slice(0, 0, bad)));
      for (double e : Values(y.Slice(0, bad, 70))) EXPECT_TRUE(std::isnan(e));
      const Tensor dq = GradOf(dy, q, bad_k, bad_v, c.args()).dq;
      EXPECT_TRUE(SameBits(dq.Slice(0, 0, bad), GradOf(dy, q, k, v, c.args()).dq.Slice(0, 0, bad)));
    }
  }
}

TEST(AttentionTest, NaNInAQueryReachesNoKeyThatItDoesNotSee) {
  for (DType dtype : kFloatDTypes) {
    SCOPED_TRACE(Name(dtype));
    const Case c = {"", Cu({0, 70}), Cu({0, 70}), 3, 1, 8};
    const Tensor q = c.Q(dtype), k = c.K(dtype), v = c.K(dtype, 3), dy = c.Q(dtype, 4);
    const AttentionGradResult good = GradOf(dy, q, k, v, c.args());
    const AttentionGradResult bad = GradOf(WithNaN(dy, 20), WithNaN(q, 20), k, v, c.args());
    EXPECT_TRUE(SameBits(bad.dk.Slice(0, 21, 70), good.dk.Slice(0, 21, 70)));
    EXPECT_TRUE(SameBits(bad.dv.Slice(0, 21, 70), good.dv.Slice(0, 21, 70)));
    for (double e : Values(bad.dk.Slice(0, 0, 21))) EXPECT_TRUE(std::isnan(e));
  }
}

TEST(AttentionTest, LargeScoresDoNotOverflow) {
  const Case c = {"", Cu({0, 20}), Cu({0, 20}), 1, 1, 8};
  const Tensor q = RandomTensor({20, 1, 8}, DType::kF32, 1, -300, 300),
               k = RandomTensor({20, 1, 8}, DType::kF32, 2, -300, 300);
  const Tensor v = c.K(DType::kF32, 3);
  EXPECT_TRUE(IsClose(Attention(q, k, v, c.args()).y, Values(Attention(F64(q), F64(k), F64(v), c.args()).y), 1e-3));
}

TEST(AttentionTest, BitsDoNotDependOnTheNumberOfThreads) {
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    const Case c = {"", Cu({0, 137, 138, 200}), Cu({0, 137, 138, 200}), 6, 2, 64};
    const Tensor q = c.Q(dtype), k = c.K(dtype), v = c.K(dtype, 3), dy = c.Q(dtype, 4);
    const AttentionResult first = Attention(q, k, v, c.args());
    const AttentionGradResult grad = GradOf(dy, q, k, v, c.args());
    ForEachThreadCount([&] {
      const AttentionResult r = Attention(q, k, v, c.args());
      EXPECT_TRUE(SameBits(r.y, first.y) && SameBits(r.lse, first.lse));
      const AttentionGradResult g = GradOf(dy, q, k, v, c.args());
      EXPECT_TRUE(SameBits(g.dq, grad.dq) && SameBits(g.dk, grad.dk) && SameBits(g.dv, grad.dv));
    });
  }
}

TEST(AttentionTest, NoTokensGiveEmptyResults) {
  const Tensor x = Tensor::Zeros({0, 2, 8}, DType::kF32);
  const AttentionArgs args{.cu_seqlens_q = Cu({0}), .cu_seqlens_k = Cu({0})};
  EXPECT_EQ(Attention(x, x, x, args).y.shape(), (Shape{0, 2, 8}));
  EXPECT_EQ(GradOf(x, x, x, x, args).dk.shape(), (Shape{0, 2, 8}));
}

TEST(AttentionDeathTest, SequencesThatDoNotFitTheTokensAbort) {
  const Tensor x = Tensor::Zeros({4, 2, 8}, DType::kF32);
  AttentionArgs args{.cu_seqlens_q = Cu({0, 3}), .cu_seqlens_k = Cu({0, 4})};
  EXPECT_DEATH(Attention(x, x, x, args), "cu_seqlens_q ends at 3, expected 4");
  args.cu_seqlens_q = Cu({0, 5, 4});
  EXPECT_DEATH(Attention(x, x, x, args), "must ascend");
}

TEST(AttentionDeathTest, HeadsThatDoNotDivideAbort) {
  const Tensor q = Tensor::Zeros({1, 3, 8}, DType::kF32), k = Tensor::Zeros({1, 2, 8}, DType::kF32);
  const AttentionArgs args{.cu_seqlens_q = Cu({0, 1}), .cu_seqlens_k = Cu({0, 1})};
  EXPECT_DEATH(Attention(q, k, k, args), "3 heads over 2 key-value heads");
}

}  // namespace
}  // namespace lorikeet::tensor
