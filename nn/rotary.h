// Rotary: a model's rotary frequencies, which make the table of a batch's positions.
//
//   Rotary rotary(tensor::RopeFrequencies(config.rope_theta, config.head_dim));
//   const tensor::RopeTable rope = rotary(batch.positions);                       // cos and sin [tokens, head_dim / 2]
//
// The frequencies move to the positions' device at the first call, and stay there: later calls wait for no copy.
// Source: Su et al., "RoFormer", 2021.
#ifndef LORIKEET_NN_ROTARY_H_
#define LORIKEET_NN_ROTARY_H_

#include <utility>

#include "tensor/device.h"
#include "tensor/ops/rope.h"
#include "tensor/tensor.h"

namespace lorikeet {

class Rotary {
 public:
  explicit Rotary(Tensor inv_freq) : inv_freq_(std::move(inv_freq)) {}

  tensor::RopeTable operator()(const Tensor& positions) {
    if (inv_freq_.device() != positions.device()) inv_freq_ = inv_freq_.To(positions.device());
    return tensor::MakeRopeTable(positions, inv_freq_);
  }

 private:
  Tensor inv_freq_;
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_ROTARY_H_
