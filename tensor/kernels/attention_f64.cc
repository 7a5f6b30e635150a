#include "tensor/kernels/attention_f64.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "tensor/kernels/attention.h"
#include "tensor/kernels/attention_mask.h"
#include "tensor/kernels/parallel.h"
#include "tensor/view.h"

namespace lorikeet::internal {
namespace {

// Element 0 of a head's row, and the distance between its elements.
struct Row {
  double* x;
  int64_t stride;
  double& operator[](int64_t i) const { return x[i * stride]; }
};
Row RowAt(const View& v, int64_t token, int64_t head) {
  return {v.ptr<double>() + token * v.strides[0] + head * v.strides[1], v.strides[2]};
}
double& At(const View& v, int64_t token, int64_t head) {
  return v.ptr<double>()[token * v.strides[0] + head * v.strides[1]];
}

double Dot(Row a, Row b, int64_t d) {
  double sum = 0;
  for (int64_t i = 0; i < d; ++i) sum += a[i] * b[i];
  return sum;
}

struct Score {
  double s, slope;  // slope: of s, with respect to scale * q.k
};
Score ScoreOf(const AttentionParams& p, Row q, Row k, int64_t d) {
  const double raw = double{p.scale} * Dot(q, k, d);
  if (p.softcap == 0) return {raw, 1};
  const double t = std::tanh(raw / p.softcap);
  return {p.softcap * t, 1 - t * t};
}

void AttendQuery(const View& q, const View& k, const View& v, const AttentionParams& p, const Sequence& s, int64_t i,
                 int64_t head, const View& y, const View& lse) {
  const int64_t d = q.dims[2], kv = head * k.dims[1] / q.dims[1], token = s.q_begin + i;
  const Run keys = VisibleKeys(p, s, i);
  const Row query = RowAt(q, token, head), out = RowAt(y, token, head);
  for (int64_t c = 0; c < d; ++c) out[c] = 0;
  double max = -std::numeric_limits<double>::infinity(), sum = 0;
  std::vector<double> weights;
  for (int64_t j = keys.begin; j < keys.end; ++j) {
    weights.push_back(ScoreOf(p, query, RowAt(k, s.k_begin + j, kv), d).s);
    max = std::fmax(max, weights.back());
  }
  for (double& w : weights) sum += w = std::exp(w - max);
  for (int64_t j = keys.begin; j < keys.end; ++j) {
    const Row value = RowAt(v, s.k_begin + j, kv);
    for (int64_t c = 0; c < d; ++c) out[c] += weights[static_cast<size_t>(j - keys.begin)] / sum * value[c];
  }
  At(lse, token, head) = keys.begin == keys.end ? max : max + std::log(sum);
}

// What every pair of a query and a key contributes to the gradients.
struct Pair {
  double p, ds;  // ds: with respect to q.k, scale included
};
struct Gradient {
  View dy, q, k, v, y, lse;
  const AttentionParams& params;

  Pair PairOf(int64_t token, int64_t head, int64_t key, int64_t kv) const {
    const int64_t d = q.dims[2];
    const Row g = RowAt(dy, token, head);
    const Score score = ScoreOf(params, RowAt(q, token, head), RowAt(k, key, kv), d);
    const double p = std::exp(score.s - At(lse, token, head));
    const double ds = p * (Dot(g, RowAt(v, key, kv), d) - Dot(g, RowAt(y, token, head), d));
    return {p, ds * score.slope * params.scale};
  }

  void Query(const Sequence& s, int64_t i, int64_t head, const View& dq) const {
    const int64_t d = q.dims[2], kv = head * k.dims[1] / q.dims[1];
    const Row out = RowAt(dq, s.q_begin + i, head);
    for (int64_t c = 0; c < d; ++c) out[c] = 0;
    const Run keys = VisibleKeys(params, s, i);
    for (int64_t j = keys.begin; j < keys.end; ++j) {
      const Row key = RowAt(k, s.k_begin + j, kv);
      const double ds = PairOf(s.q_begin + i, head, s.k_begin + j, kv).ds;
      for (int64_t c = 0; c < d; ++c) out[c] += ds * key[c];
    }
  }

  void Key(const Sequence& s, int64_t j, int64_t kv, const View& dk, const View& dv) const {
    const int64_t d = q.dims[2], group = q.dims[1] / k.dims[1];
    const Row out_k = RowAt(dk, s.k_begin + j, kv), out_v = RowAt(dv, s.k_begin + j, kv);
    for (int64_t c = 0; c < d; ++c) out_k[c] = out_v[c] = 0;
    const Run queries = VisibleQueries(params, s, j);
    for (int64_t i = queries.begin; i < queries.end; ++i) {
      for (int64_t head = kv * group; head < (kv + 1) * group; ++head) {
        const Row query = RowAt(q, s.q_begin + i, head), g = RowAt(dy, s.q_begin + i, head);
        const Pair pair = PairOf(s.q_begin + i, head, s.k_begin + j, kv);
        for (int64_t c = 0; c < d; ++c) {
          out_k[c] += pair.ds * query[c];
          out_v[c] += pair.p * g[c];
        }
      }
    }
  }
};

}  // namespace

void AttentionF64(const View& q, const View& k, const View& v, const AttentionParams& params, const View& y,
                  const View& lse) {
  for (int64_t n = 0; n < SequenceCount(params); ++n) {
    const Sequence s = SequenceAt(params, n);
    ParallelFor(s.queries * q.dims[1], 1, [&](int64_t begin, int64_t) {
      AttendQuery(q, k, v, params, s, begin / q.dims[1], begin % q.dims[1], y, lse);
    });
  }
}

void AttentionGradF64(const View& dy, const View& q, const View& k, const View& v, const View& y, const View& lse,
                      const AttentionParams& params, const View& dq, const View& dk, const View& dv) {
  const Gradient gradient{dy, q, k, v, y, lse, params};
  for (int64_t n = 0; n < SequenceCount(params); ++n) {
    const Sequence s = SequenceAt(params, n);
    ParallelFor(s.queries * q.dims[1], 1,
                [&](int64_t begin, int64_t) { gradient.Query(s, begin / q.dims[1], begin % q.dims[1], dq); });
    ParallelFor(s.keys * k.dims[1], 1,
                [&](int64_t begin, int64_t) { gradient.Key(s, begin / k.dims[1], begin % k.dims[1], dk, dv); });
  }
}

}  // namespace lorikeet::internal
