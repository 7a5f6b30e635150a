// KvCache: the keys and values of the tokens that one sequence has seen, layer by layer.
//
//   KvCache cache(config.num_layers, /*capacity=*/2048, config.num_kv_heads, config.head_dim, DType::kBF16,
//                 model.device());
//   model.Hidden(prompt, &cache);                     // appends the prompt's rows in every layer
//   model.Hidden(next_token, &cache);                 // positions continue at cache.length()
//
// Rows are [capacity, kv_heads, head_dim] per layer, allocated once; Append returns views of the filled part, which
// stay valid while the cache lives. Keys are stored rotated. Not for training: nothing is recorded.
#ifndef LORIKEET_NN_KV_CACHE_H_
#define LORIKEET_NN_KV_CACHE_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "tensor/check.h"
#include "tensor/device.h"
#include "tensor/ops/copy.h"
#include "tensor/tensor.h"

namespace lorikeet {

class KvCache {
 public:
  KvCache(int64_t num_layers, int64_t capacity, int64_t kv_heads, int64_t head_dim, DType dtype, Device device = kCpu)
      : capacity_(capacity), device_(device) {
    for (int64_t i = 0; i < num_layers; ++i) {
      keys_.push_back(Tensor::Empty({capacity, kv_heads, head_dim}, dtype, device));
      values_.push_back(Tensor::Empty({capacity, kv_heads, head_dim}, dtype, device));
    }
  }

  int64_t length() const { return length_; }
  int64_t capacity() const { return capacity_; }

  // Writes k and v, [n, kv_heads, head_dim], behind the rows so far; returns all rows including them.
  std::pair<Tensor, Tensor> Append(int64_t layer, const Tensor& k, const Tensor& v) {
    const int64_t end = length_ + k.dim(0);
    LORIKEET_CHECK(end <= capacity_) << "KvCache: " << end << " tokens, capacity " << capacity_;
    const size_t i = static_cast<size_t>(layer);
    Tensor k_part = keys_[i].Slice(0, length_, end), v_part = values_[i].Slice(0, length_, end);
    tensor::CopyInto(k, k_part);
    tensor::CopyInto(v, v_part);
    return {keys_[i].Slice(0, 0, end), values_[i].Slice(0, 0, end)};
  }
  // {0, rows}: the extent of all rows once `tokens` more are appended, for attention. The same tensor for every layer.
  Tensor CuSeqlens(int64_t tokens) {
    const int64_t rows = length_ + tokens;
    if (!cu_seqlens_.defined() || rows != cu_seqlens_rows_) {
      cu_seqlens_ = Tensor::From<int32_t>({0, static_cast<int32_t>(rows)}, {2}, device_);
      cu_seqlens_rows_ = rows;
    }
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
  int64_t capacity_;
  Device device_;
  int64_t length_ = 0;
  int64_t cu_seqlens_rows_ = 0;
  Tensor cu_seqlens_;
  std::vector<Tensor> keys_, values_;
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_KV_CACHE_H_
