#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/kernels/parallel.h"
#include "tensor/ops/attention.h"
#include "tensor/ops/random.h"
#include "tensor/random.h"
#include "tensor/tensor.h"
#include "tests/benchmarks/ladder/ladder.h"
#include "tests/benchmarks/ladder/rungs.h"

namespace lorikeet {
namespace {

constexpr int64_t kT = 512, kD = 64;
const float kScale = 1 / std::sqrt(static_cast<float>(kD));

struct Problem {
  Tensor q = tensor::Uniform({kT, 1, kD}, -2, 2, {1}, DType::kF32),
         k = tensor::Uniform({kT, 1, kD}, -2, 2, {2}, DType::kF32);
  Tensor v = tensor::Uniform({kT, 1, kD}, -2, 2, {3}, DType::kF32), y = Tensor::Zeros({kT, 1, kD}, DType::kF32);
  tensor::AttentionArgs args{.cu_seqlens_q = Tensor::From<int32_t>({0, kT}, {2}),
                             .cu_seqlens_k = Tensor::From<int32_t>({0, kT}, {2}),
                             .scale = kScale};
  Tensor want = tensor::Attention(q, k, v, args).y;
  const float *qp = q.data<float>().data(), *kp = k.data<float>().data(), *vp = v.data<float>().data();
  float* yp = y.data<float>().data();

  double Error() const {
    double worst = 0;
    const std::vector<float> got = Floats(y), expected = Floats(want);
    for (size_t i = 0; i < got.size(); ++i) {
      const double e = std::fabs(got[i] - expected[i]);
      if (!(e <= worst)) worst = e;
    }
    return worst;
  }
  static std::vector<float> Floats(const Tensor& t) {
    const Tensor f = t.Cast(DType::kF32);
    return {f.data<float>().begin(), f.data<float>().end()};
  }
};

float Dot(const float* a, const float* b) {
  float sum = 0;
  for (int64_t i = 0; i < kD; ++i) sum += a[i] * b[i];
  return sum;
}

void WholeMatrix(const Problem& p) {
  std::vector<float> s(kT * kT, 0.0f);
  for (int64_t t = 0; t < kT; ++t) {
    for (int64_t j = 0; j < kT; ++j) s[t * kT + j] = j <= t ? kScale * Dot(p.qp + t * kD, p.kp + j * kD) : -INFINITY;
  }
  for (int64_t t = 0; t < kT; ++t) {
    float* row = s.data() + t * kT;
    const float max = *std::max_element(row, row + kT);
    float sum = 0;
    for (int64_t j = 0; j < kT; ++j) sum += row[j] = std::exp(row[j] - max);
    for (int64_t j = 0; j < kT; ++j) row[j] /= sum;
  }
  for (int64_t t = 0; t < kT; ++t) {
    float* y = p.yp + t * kD;
    std::fill(y, y + kD, 0.0f);
    for (int64_t j = 0; j < kT; ++j) {
      for (int64_t i = 0; i < kD; ++i) y[i] += s[t * kT + j] * p.vp[j * kD + i];
    }
  }
}

void OnlyWhatIsSeen(const Problem& p) {
  float row[kT];
  for (int64_t t = 0; t < kT; ++t) {
    for (int64_t j = 0; j <= t; ++j) row[j] = kScale * Dot(p.qp + t * kD, p.kp + j * kD);
    const float max = *std::max_element(row, row + t + 1);
    float sum = 0;
    for (int64_t j = 0; j <= t; ++j) sum += row[j] = std::exp(row[j] - max);
    float* y = p.yp + t * kD;
    std::fill(y, y + kD, 0.0f);
    for (int64_t j = 0; j <= t; ++j) {
      for (int64_t i = 0; i < kD; ++i) y[i] += row[j] / sum * p.vp[j * kD + i];
    }
  }
}

// Keys in tiles that stay in the first-level cache while 16 queries pass; sums are rescaled when a maximum grows.
void OnlineSoftmaxInTiles(const Problem& p) {
  constexpr int64_t kQ = 16, kK = 64;
  for (int64_t t0 = 0; t0 < kT; t0 += kQ) {
    float max[kQ], sum[kQ] = {}, acc[kQ][kD] = {}, s[kQ][kK];
    std::fill(max, max + kQ, -INFINITY);
    for (int64_t j0 = 0; j0 < t0 + kQ; j0 += kK) {
      for (int64_t r = 0; r < kQ; ++r) {
        const int64_t n = std::clamp<int64_t>(t0 + r + 1 - j0, 0, kK);
        float top = max[r];
        for (int64_t j = 0; j < n; ++j) {
          s[r][j] = kScale * Dot(p.qp + (t0 + r) * kD, p.kp + (j0 + j) * kD);
          top = std::max(top, s[r][j]);
        }
        const float shrink = std::exp(max[r] - top);
        max[r] = top;
        sum[r] *= shrink;
        for (int64_t i = 0; i < kD; ++i) acc[r][i] *= shrink;
        for (int64_t j = 0; j < n; ++j) {
          const float w = std::exp(s[r][j] - top);
          sum[r] += w;
          for (int64_t i = 0; i < kD; ++i) acc[r][i] += w * p.vp[(j0 + j) * kD + i];
        }
      }
    }
    for (int64_t r = 0; r < kQ; ++r) {
      for (int64_t i = 0; i < kD; ++i) p.yp[(t0 + r) * kD + i] = acc[r][i] / sum[r];
    }
  }
}

void Shipped(Problem& p, DType dtype, int threads) {
  static Tensor q, k, v;  // cast once: a model's are in this dtype already
  if (!q.defined() || q.dtype() != dtype) q = p.q.Cast(dtype), k = p.k.Cast(dtype), v = p.v.Cast(dtype);
  SetNumThreads(threads);
  p.y = tensor::Attention(q, k, v, p.args).y;
  SetNumThreads(1);
}

}  // namespace

void AttentionLadder() {
  Problem p;
  RunLadder(
      {.title = "Causal attention, 512 tokens, one head of 64 (operations that the mask leaves)",
       .work = 1e-9 * 4 * kD * kT * (kT + 1) / 2,
       .unit = "GFLOP/s",
       .tolerance = 3e-2,  // bf16's; the f32 rungs are closer by far
       .rungs = {{"the whole matrix", "the definition: softmax(q*k^T)*v", [&] { WholeMatrix(p); }},
                 {"a row at a time", "what the mask hides is not computed, and no matrix is kept",
                  [&] { OnlyWhatIsSeen(p); }},
                 {"online softmax in tiles", "one pass over keys and values, 64 at a time",
                  [&] { OnlineSoftmaxInTiles(p); }},
                 {"shipped, f32", "64 queries side by side: products in registers, exponentials in vectors",
                  [&] { Shipped(p, DType::kF32, 1); }},
                 {"shipped, bf16", "products by the dot instruction", [&] { Shipped(p, DType::kBF16, 1); }},
                 {"shipped, bf16, two threads", "a run of queries is a task", [&] { Shipped(p, DType::kBF16, 2); }}},
       .error = [&] { return p.Error(); }});
}

}  // namespace lorikeet
