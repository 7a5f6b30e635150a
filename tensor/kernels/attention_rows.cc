#include "tensor/kernels/attention_rows.h"

#include <cmath>
#include <cstdint>
#include <limits>

#include "tensor/dtype.h"
#include "tensor/kernels/attention.h"
#include "tensor/kernels/attention_mask.h"
#include "tensor/kernels/elementwise_op.h"
#include "tensor/kernels/parallel.h"
#include "tensor/kernels/rows.h"
#include "tensor/kernels/scratch.h"
#include "tensor/kernels/vec_attention.h"
#include "tensor/kernels/vec_f32.h"
#include "tensor/view.h"

namespace lorikeet::internal {
namespace {

constexpr int64_t kMostQueries = 4;

// Scores become weights that sum to 1; returns the logarithm of their sum before.
float Softmax(float* s, int64_t n, float softcap) {
  if (n == 0) return -std::numeric_limits<float>::infinity();
  if (softcap > 0) {
    for (int64_t j = 0; j < n; ++j) s[j] /= softcap;
    VecUnary(UnaryOp::kTanh, s, s, n);
    for (int64_t j = 0; j < n; ++j) s[j] *= softcap;
  }
  const float max = VecMax(s, n), sum = VecExpSum(s, max, s, n);
  for (int64_t j = 0; j < n; ++j) s[j] /= sum;
  return max + std::log(sum);
}

// One head of one query. T is k's and v's type.
template <typename T>
void Query(const Sequence& sequence, int64_t query, int64_t head, const View& q, const View& k, const View& v,
           const AttentionParams& params, const View& y, const View& lse) {
  const int64_t d = q.dims[2], kv = head * k.dims[1] / q.dims[1], token = sequence.q_begin + query;
  const Run keys = VisibleKeys(params, sequence, query);
  const int64_t n = keys.end - keys.begin, first = sequence.k_begin + keys.begin;
  float* row = static_cast<float*>(ThreadScratch(kScratchAttention, static_cast<size_t>(2 * d + n) * sizeof(float)));
  float *out = row + d, *s = out + d;
  CopyRow(q, token * q.strides[0] + head * q.strides[1], d, q.strides[2], row);
  for (int64_t i = 0; i < d; ++i) row[i] *= params.scale;
  VecScores(row, k.ptr<const T>() + first * k.strides[0] + kv * k.strides[1], k.strides[0], n, d, s);
  lse.ptr<float>()[token * lse.strides[0] + head * lse.strides[1]] = Softmax(s, n, params.softcap);
  VecWeightedSum(s, v.ptr<const T>() + first * v.strides[0] + kv * v.strides[1], v.strides[0], n, d, out);
  StoreRow(out, y, token * y.strides[0] + head * y.strides[1], d, y.strides[2]);
}

}  // namespace

bool FitsAttentionRows(const View& k, const View& v, const AttentionParams& params) {
  if (k.dtype != DType::kF32 && k.dtype != DType::kBF16) return false;
  if (k.strides[2] != 1 || v.strides[2] != 1) return false;
  for (int64_t n = 0; n < SequenceCount(params); ++n) {
    if (SequenceAt(params, n).queries > kMostQueries) return false;
  }
  return true;
}

void AttentionRows(const View& q, const View& k, const View& v, const AttentionParams& params, const View& y,
                   const View& lse) {
  const int64_t heads = q.dims[1];
  for (int64_t n = 0; n < SequenceCount(params); ++n) {
    const Sequence sequence = SequenceAt(params, n);
    ParallelFor(sequence.queries * heads, 1, [&](int64_t task, int64_t) {
      const int64_t query = task / heads, head = task % heads;
      if (k.dtype == DType::kBF16) {
        Query<bf16>(sequence, query, head, q, k, v, params, y, lse);
      } else {
        Query<float>(sequence, query, head, q, k, v, params, y, lse);
      }
    });
  }
}

}  // namespace lorikeet::internal
