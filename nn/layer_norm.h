// LayerNormLayer: y = w * (x - mean(x)) / sqrt(var(x) + eps) + b over the last dimension. Ba, Kiros & Hinton, 2016.
//
//   LayerNormLayer norm(hidden_size, 1e-5f);
//   Variable y = norm(x);                             // x [tokens, hidden]
//
// Weight and bias are kept in f32 whatever the compute dtype.
#ifndef LORIKEET_NN_LAYER_NORM_H_
#define LORIKEET_NN_LAYER_NORM_H_

#include <cstdint>

#include "autograd/ops/norm.h"
#include "autograd/parameter.h"
#include "autograd/tape.h"
#include "autograd/variable.h"
#include "nn/module.h"
#include "tensor/tensor.h"

namespace lorikeet {

class LayerNormLayer : public Module {
 public:
  LayerNormLayer(int64_t size, float eps)
      : weight_{.name = "", .value = Tensor::Full({size}, 1, DType::kF32), .trainable = false},
        bias_{.name = "", .value = Tensor::Zeros({size}, DType::kF32), .trainable = false},
        eps_(eps) {}

  Variable operator()(const Variable& x) { return LayerNorm(x, Use(weight_), Use(bias_), eps_); }
  void Visit(Visitor& v) override {
    v.Leaf("weight", weight_);
    v.Leaf("bias", bias_);
  }

 private:
  Parameter weight_, bias_;
  float eps_;
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_LAYER_NORM_H_
