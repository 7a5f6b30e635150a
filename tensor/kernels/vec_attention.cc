#include "tensor/kernels/vec_attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/kernels/vec_attention.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "hwy/highway.h"
#include "tensor/kernels/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lorikeet::internal {
namespace HWY_NAMESPACE {

// A row of one head is short and the next one is a whole token away, which the processor does not foresee.
constexpr int64_t kAhead = 16;  // rows
template <typename T>
HWY_INLINE void PrefetchRow(const T* row, int64_t d) {
  for (int64_t i = 0; i < d; i += 64 / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(row + i);
}

template <typename T>
HWY_INLINE float DotRow(const float* q, const T* k, int64_t d) {
  const D df;
  V even = hn::Zero(df), odd = hn::Zero(df);
  int64_t i = 0;
  for (; i + 2 * kWidth <= d; i += 2 * kWidth) {
    even = hn::MulAdd(hn::LoadU(df, q + i), LoadVec(df, k + i), even);
    odd = hn::MulAdd(hn::LoadU(df, q + i + kWidth), LoadVec(df, k + i + kWidth), odd);
  }
  float sum = hn::GetLane(hn::SumOfLanes(df, hn::Add(even, odd)));
  for (; i < d; ++i) sum += q[i] * static_cast<float>(k[i]);
  return sum;
}

template <typename T>
HWY_INLINE void Scores(const float* q, const T* k, int64_t stride, int64_t n, int64_t d, float* s) {
  for (int64_t j = 0; j < n; ++j, k += stride) {
    PrefetchRow(k + kAhead * stride, d);
    s[j] = DotRow(q, k, d);
  }
}
void ScoresF32(const float* q, const float* k, int64_t stride, int64_t n, int64_t d, float* s) {
  Scores(q, k, stride, n, d, s);
}
void ScoresBF16(const float* q, const bf16* k, int64_t stride, int64_t n, int64_t d, float* s) {
  Scores(q, k, stride, n, d, s);
}

// Kv vectors of columns, over all rows.
template <int Kv, typename T>
HWY_INLINE void SumColumns(const float* p, const T* v, int64_t stride, int64_t n, float* y) {
  const D df;
  V sum[Kv];
  for (V& x : sum) x = hn::Zero(df);
  for (int64_t j = 0; j < n; ++j, v += stride) {
    PrefetchRow(v + kAhead * stride, Kv * kWidth);
    const V weight = hn::Set(df, p[j]);
    for (int c = 0; c < Kv; ++c) sum[c] = hn::MulAdd(weight, LoadVec(df, v + c * kWidth), sum[c]);
  }
  for (int c = 0; c < Kv; ++c) hn::StoreU(sum[c], df, y + c * kWidth);
}

template <typename T>
HWY_INLINE void WeightedSum(const float* p, const T* v, int64_t stride, int64_t n, int64_t d, float* y) {
  int64_t i = 0;
  for (; i + 4 * kWidth <= d; i += 4 * kWidth) SumColumns<4>(p, v + i, stride, n, y + i);
  for (; i + kWidth <= d; i += kWidth) SumColumns<1>(p, v + i, stride, n, y + i);
  for (; i < d; ++i) {
    y[i] = 0;
    for (int64_t j = 0; j < n; ++j) y[i] += p[j] * static_cast<float>(v[j * stride + i]);
  }
}
void WeightedSumF32(const float* p, const float* v, int64_t stride, int64_t n, int64_t d, float* y) {
  WeightedSum(p, v, stride, n, d, y);
}
void WeightedSumBF16(const float* p, const bf16* v, int64_t stride, int64_t n, int64_t d, float* y) {
  WeightedSum(p, v, stride, n, d, y);
}

}  // namespace HWY_NAMESPACE
}  // namespace lorikeet::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lorikeet::internal {

HWY_EXPORT(ScoresF32);
HWY_EXPORT(ScoresBF16);
HWY_EXPORT(WeightedSumF32);
HWY_EXPORT(WeightedSumBF16);

void VecScores(const float* q, const float* k, int64_t stride, int64_t n, int64_t d, float* s) {
  HWY_DYNAMIC_DISPATCH(ScoresF32)(q, k, stride, n, d, s);
}
void VecScores(const float* q, const bf16* k, int64_t stride, int64_t n, int64_t d, float* s) {
  HWY_DYNAMIC_DISPATCH(ScoresBF16)(q, k, stride, n, d, s);
}
void VecWeightedSum(const float* p, const float* v, int64_t stride, int64_t n, int64_t d, float* y) {
  HWY_DYNAMIC_DISPATCH(WeightedSumF32)(p, v, stride, n, d, y);
}
void VecWeightedSum(const float* p, const bf16* v, int64_t stride, int64_t n, int64_t d, float* y) {
  HWY_DYNAMIC_DISPATCH(WeightedSumBF16)(p, v, stride, n, d, y);
}

}  // namespace lorikeet::internal
#endif  // HWY_ONCE
