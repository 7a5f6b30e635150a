// Rotary: a model's rotary frequencies, which make the table of a batch's positions.
//
//   Rotary rotary(config.rope_theta, config.head_dim, config.rope_scaling);
//   const tensor::RopeTable rope = rotary(batch.positions, cache);               // cos and sin [tokens, head_dim / 2]
//
// The frequencies move to the positions' device at the first call, and stay there: later calls wait for no copy.
// A longrope model has two sets of them, and the longest sequence of a batch says which, as in transformers. With a
// cache its capacity does, as in llama.cpp: the keys in it keep the angles with which they came.
// Sources: Su et al., "RoFormer", 2021; tensor/ops/rope_scaling.h.
#ifndef LORIKEET_NN_ROTARY_H_
#define LORIKEET_NN_ROTARY_H_

#include <cstdint>

#include "nn/kv_cache.h"
#include "tensor/device.h"
#include "tensor/ops/rope.h"
#include "tensor/ops/rope_scaling.h"
#include "tensor/tensor.h"

namespace lorikeet {

class Rotary {
 public:
  Rotary(double theta, int64_t rotary_dim, const RopeScaling& scaling = {})
      : inv_freq_(tensor::RopeFrequencies(theta, rotary_dim, scaling)),
        attention_factor_(tensor::RopeAttentionFactor(scaling)),
        long_from_(scaling.original_max_position) {}

  // cache: null for a batch that is all there is.
  tensor::RopeTable operator()(const Tensor& positions, const KvCache* cache) {
    if (inv_freq_.device() != positions.device()) inv_freq_ = inv_freq_.To(positions.device());
    return tensor::MakeRopeTable(positions, cache == nullptr ? inv_freq_ : FrequenciesFor(cache->capacity()),
                                 attention_factor_, long_from_);
  }

 private:
  Tensor FrequenciesFor(int64_t tokens) const {
    if (inv_freq_.rank() == 1) return inv_freq_;
    const int64_t row = tokens > long_from_ ? 1 : 0;
    return inv_freq_.Slice(0, row, row + 1).Reshape({inv_freq_.dim(1)});
  }

  Tensor inv_freq_;  // [rotary_dim / 2], or [2, rotary_dim / 2] for short and for long sequences
  double attention_factor_;
  int64_t long_from_;  // the first position of a long sequence alone
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_ROTARY_H_
