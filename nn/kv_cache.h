// KvCache: the keys and values of the tokens that one sequence has seen, layer by layer.
//
//   KvCache cache(config.num_layers, /*capacity=*/2048, config.num_kv_heads, config.head_dim, DType::kBF16,
//                 model.device());
//   model.Hidden(prompt, &cache);                     // appends the prompt's rows in every layer
//   model.Hidden(next_token, &cache);                 // positions continue at cache.length()
//
// Rows are [capacity, kv_heads, head_dim] per layer, allocated once; a token's row is that of its position. Append
// returns views that stay valid while the cache lives. Keys are stored rotated. Not for training: nothing is recorded.
// On a device the views are longer than what is filled: their length is a power of two, 256 at least, or the capacity,
// and attention finds the end in CuSeqlens. So a pass of one token gives the device the same work as the one before,
// many times over, and can be captured (apps/model/decode_graphs.h). On the CPU, where nothing is, they end at the end.
#ifndef LORIKEET_NN_KV_CACHE_H_
#define LORIKEET_NN_KV_CACHE_H_

#include <algorithm>
#include <bit>
#include <cstdint>
#include <utility>
#include <vector>

#include "tensor/check.h"
#include "tensor/device.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/gather.h"
#include "tensor/tensor.h"

namespace lorikeet {

class KvCache {
 public:
  static constexpr int64_t kFewestRows = 256;

  KvCache(int64_t num_layers, int64_t capacity, int64_t kv_heads, int64_t head_dim, DType dtype, Device device = kCpu)
      : capacity_(capacity), cu_seqlens_(Tensor::Zeros({2}, DType::kI32, device)) {
    for (int64_t i = 0; i < num_layers; ++i) {
      keys_.push_back(Tensor::Empty({capacity, kv_heads, head_dim}, dtype, device));
      values_.push_back(Tensor::Empty({capacity, kv_heads, head_dim}, dtype, device));
    }
  }

  int64_t length() const { return length_; }
  int64_t capacity() const { return capacity_; }

  // Writes k and v, [n, kv_heads, head_dim], of the tokens at `positions`, which are the next n; returns views that
  // begin with all rows including them.
  std::pair<Tensor, Tensor> Append(int64_t layer, const Tensor& k, const Tensor& v, const Tensor& positions) {
    const size_t i = static_cast<size_t>(layer);
    const int64_t rows = Rows(k.dim(0));
    Put(k, positions, keys_[i]);
    Put(v, positions, values_[i]);
    return {keys_[i].Slice(0, 0, rows), values_[i].Slice(0, 0, rows)};
  }
  // How long Append's views are when `tokens` come.
  int64_t Rows(int64_t tokens) const {
    const int64_t end = length_ + tokens;
    LORIKEET_CHECK(end <= capacity_) << "KvCache: " << end << " tokens, capacity " << capacity_;
    if (cu_seqlens_.device().is_cpu()) return end;
    const uint64_t least = static_cast<uint64_t>(std::max(end, kFewestRows));
    return std::min(capacity_, static_cast<int64_t>(std::bit_ceil(least)));
  }
  // {0, end}: the extent of all rows once `tokens` more are appended, for attention. The same memory at every call; the
  // first one of a length writes to it.
  Tensor CuSeqlens(int64_t tokens) {
    const int64_t end = length_ + tokens;
    if (end != end_) {
      tensor::CopyInto(Tensor::From<int32_t>({0, static_cast<int32_t>(end)}, {2}, cu_seqlens_.device()), cu_seqlens_);
    }
    end_ = end;
    return cu_seqlens_;
  }
  // Once per forward pass, after the last layer.
  void Advance(int64_t tokens) { length_ += tokens; }
  // Forgets everything from `length` on.
  void Truncate(int64_t length) {
    LORIKEET_CHECK(0 <= length && length <= length_) << "KvCache: truncate to " << length << " of " << length_;
    length_ = length;
  }

 private:
  // x [n, kv_heads, head_dim] as rows of their own.
  static void Put(const Tensor& x, const Tensor& positions, const Tensor& cache) {
    const int64_t row = cache.dim(1) * cache.dim(2);
    Tensor table = cache.Reshape({cache.dim(0), row});
    tensor::ScatterRows(x.Cast(cache.dtype()).Reshape({x.dim(0), row}), positions, table);
  }

  int64_t capacity_;
  int64_t length_ = 0;
  Tensor cu_seqlens_;
  int64_t end_ = 0;  // what it says
  std::vector<Tensor> keys_, values_;
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_KV_CACHE_H_
