#include "autograd/ops/attention.h"

#include <cmath>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/matmul.h"
#include "autograd/ops/shape.h"
#include "autograd/ops/softmax.h"
#include "tensor/ops/attention.h"
#include "tensor/ops/testing.h"
#include "tests/testing/op_spec.h"

namespace lorikeet {
namespace {

using Lengths = std::vector<int32_t>;  // cumulative

struct Case {
  Lengths queries, keys;
  int64_t heads, kv_heads, head_dim;
  bool causal = true;
  int64_t window = 0;
  float softcap = 0;
};

Tensor Ints(const Lengths& v) { return Tensor::From<int32_t>(v, {static_cast<int64_t>(v.size())}); }

tensor::AttentionArgs Args(const Case& c, Device device) {
  return {.cu_seqlens_q = Ints(c.queries).To(device),
          .cu_seqlens_k = Ints(c.keys).To(device),
          .scale = 0.375f,
          .causal = c.causal,
          .window = c.window,
          .softcap = c.softcap};
}

// 0 where query t sees key s, else -infinity: [tokens, ctx].
Tensor Mask(const Case& c) {
  const int64_t tokens = c.queries.back(), ctx = c.keys.back();
  std::vector<double> mask(static_cast<size_t>(tokens * ctx), -INFINITY);
  for (size_t n = 0; n + 1 < c.queries.size(); ++n) {
    const int64_t past = (c.keys[n + 1] - c.keys[n]) - (c.queries[n + 1] - c.queries[n]);
    for (int64_t t = c.queries[n]; t < c.queries[n + 1]; ++t) {
      for (int64_t s = c.keys[n]; s < c.keys[n + 1]; ++s) {
        const int64_t back = (t - c.queries[n] + past) - (s - c.keys[n]);  // how far the key lies behind the query
        const bool seen = (!c.causal || back >= 0) && (c.window == 0 || std::abs(back) < c.window);
        if (seen) mask[static_cast<size_t>(t * ctx + s)] = 0;
      }
    }
  }
  return tensor::FromDoubles(mask, {tokens, ctx}, DType::kF64);
}

Variable Head(const Variable& x, int64_t h) { return Reshape(Slice(x, 1, h, h + 1), {x.shape()[0], x.shape()[2]}); }

// softmax(scale*q*k^T + mask)*v with the whole matrix, head by head.
Variable Reference(const Case& c, In in) {
  Variable y = Tensor::Zeros(in[0].shape(), DType::kF64);
  for (int64_t h = 0; h < c.heads; ++h) {
    const int64_t kv = h * c.kv_heads / c.heads;
    Variable scores = Scale(MatMul(Head(in[0], h), Head(in[1], kv), false, true), 0.375);
    if (c.softcap > 0) scores = Scale(Tanh(Scale(scores, 1.0 / c.softcap)), c.softcap);
    const Variable head = MatMul(Softmax(Add(scores, Mask(c))), Head(in[2], kv));
    std::vector<double> here(static_cast<size_t>(c.heads));
    here[static_cast<size_t>(h)] = 1;
    y = Add(y, Mul(Reshape(head, {c.queries.back(), 1, c.head_dim}),
                   tensor::FromDoubles(here, {1, c.heads, 1}, DType::kF64)));
  }
  return y;
}

OpSpec AttentionSpec(const std::string& name, const Case& c) {
  const Shape q = {c.queries.back(), c.heads, c.head_dim}, kv = {c.keys.back(), c.kv_heads, c.head_dim};
  return {.name = name,
          .inputs = {{"q", q}, {"k", kv}, {"v", kv}},
          .op = [c](In in) { return Attention(in[0], in[1], in[2], Args(c, DeviceOf(in))); },
          .reference = [c](In in) { return Reference(c, in); },
          .saved = "q k v y lse[" + std::to_string(c.queries.back() * c.heads) + "]",
          .slack = 24};
}

std::vector<OpSpec> AttentionSpecs() {
  const Case full = {.queries = {0, 5}, .keys = {0, 5}, .heads = 3, .kv_heads = 3, .head_dim = 7, .causal = false};
  const Case causal = {.queries = {0, 9}, .keys = {0, 9}, .heads = 2, .kv_heads = 2, .head_dim = 6};
  Case grouped = causal, windowed = causal, capped = causal, both_ways = full, multi_query = causal;
  grouped.heads = 6;
  multi_query.heads = 3, multi_query.kv_heads = 1;
  windowed.window = 3;
  both_ways.window = 2;
  capped.softcap = 0.8f;
  const Case one = {.queries = {0, 1}, .keys = {0, 1}, .heads = 2, .kv_heads = 1, .head_dim = 5};
  const Case cached = {.queries = {0, 3}, .keys = {0, 8}, .heads = 4, .kv_heads = 2, .head_dim = 5};
  const Case packed = {.queries = {0, 4, 5, 11}, .keys = {0, 4, 5, 11}, .heads = 2, .kv_heads = 1, .head_dim = 4};
  const Case ragged = {.queries = {0, 2, 2, 5}, .keys = {0, 4, 4, 7}, .heads = 2, .kv_heads = 2, .head_dim = 4};
  const Case none = {.queries = {0, 0}, .keys = {0, 0}, .heads = 2, .kv_heads = 1, .head_dim = 4};
  // A query without keys: the sequence has none. Its row is 0 and so are its gradients.
  const Case blind = {
      .queries = {0, 2, 5}, .keys = {0, 0, 3}, .heads = 2, .kv_heads = 1, .head_dim = 4, .causal = false};
  return {AttentionSpec("Attention", full),
          AttentionSpec("AttentionCausal", causal),
          AttentionSpec("AttentionGrouped", grouped),
          AttentionSpec("AttentionMultiQuery", multi_query),
          AttentionSpec("AttentionWindow", windowed),
          AttentionSpec("AttentionWindowBothWays", both_ways),
          AttentionSpec("AttentionSoftcap", capped),
          AttentionSpec("AttentionOneToken", one),
          AttentionSpec("AttentionCached", cached),
          AttentionSpec("AttentionPacked", packed),
          AttentionSpec("AttentionRagged", ragged),
          AttentionSpec("AttentionOfNoTokens", none),
          AttentionSpec("AttentionWithoutKeys", blind)};
}

INSTANTIATE_TEST_SUITE_P(Attention, OpSpecTest, testing::ValuesIn(AttentionSpecs()), SpecName);

}  // namespace
}  // namespace lorikeet
