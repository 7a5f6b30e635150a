// Which keys a query sees, and which queries see a key: always one run each, so a mask is two numbers.
//
//   Sequence s = SequenceAt(params, n);
//   Run keys = VisibleKeys(params, s, i);       // keys [begin, end) of the sequence that its query i sees
//   Run queries = VisibleQueries(params, s, j); // queries that see its key j
//
// Only for the CPU kernels of this package.
#ifndef LORIKEET_TENSOR_KERNELS_ATTENTION_MASK_H_
#define LORIKEET_TENSOR_KERNELS_ATTENTION_MASK_H_

#include <algorithm>
#include <cstdint>

#include "tensor/kernels/attention.h"
#include "tensor/view.h"

namespace lorikeet::internal {

struct Sequence {
  int64_t q_begin, queries;  // first token, number of tokens
  int64_t k_begin, keys;
};

inline int64_t SequenceCount(const AttentionParams& p) { return p.cu_seqlens_q.dims[0] - 1; }

inline Sequence SequenceAt(const AttentionParams& p, int64_t n) {
  auto at = [](const View& v, int64_t i) -> int64_t { return v.ptr<const int32_t>()[i * v.strides[0]]; };
  const int64_t q = at(p.cu_seqlens_q, n), k = at(p.cu_seqlens_k, n);
  return {q, at(p.cu_seqlens_q, n + 1) - q, k, at(p.cu_seqlens_k, n + 1) - k};
}

struct Run {
  int64_t begin, end;
};

inline Run Clamped(int64_t begin, int64_t end, int64_t size) {
  begin = std::clamp<int64_t>(begin, 0, size);
  return {begin, std::max(begin, std::min(end, size))};
}

inline Run VisibleKeys(const AttentionParams& p, const Sequence& s, int64_t query) {
  const int64_t position = s.keys - s.queries + query;
  int64_t begin = 0, end = p.causal ? position + 1 : s.keys;
  if (p.window > 0) {
    begin = position - p.window + 1;
    end = std::min(end, position + p.window);
  }
  return Clamped(begin, end, s.keys);
}

inline Run VisibleQueries(const AttentionParams& p, const Sequence& s, int64_t key) {
  const int64_t offset = s.keys - s.queries;  // position of query 0
  int64_t begin = p.causal ? key - offset : 0, end = s.queries;
  if (p.window > 0) {
    begin = std::max(begin, key - p.window + 1 - offset);
    end = key + p.window - offset;
  }
  return Clamped(begin, end, s.queries);
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_ATTENTION_MASK_H_
