// RmsNormLayer: y = w * x / sqrt(mean(x^2) + eps) over the last dimension. Zhang & Sennrich, 2019.
//
//   RmsNormLayer norm(hidden_size, 1e-5f);
//   Variable y = norm(x);                             // x [tokens, hidden]
//   auto [h, n] = norm.AddNorm(x, residual);          // h = x + residual, n = norm(h), in one pass
//
// The weight is kept in f32 whatever the compute dtype. Gemma's checkpoints hold w - 1.
#ifndef LORIKEET_NN_RMS_NORM_H_
#define LORIKEET_NN_RMS_NORM_H_

#include <cstdint>
#include <utility>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/norm.h"
#include "autograd/parameter.h"
#include "autograd/tape.h"
#include "autograd/variable.h"
#include "nn/module.h"
#include "tensor/tensor.h"

namespace lorikeet {

// What the parameter holds.
enum class NormWeight : uint8_t { kScale, kScaleMinusOne };

class RmsNormLayer : public Module {
 public:
  RmsNormLayer(int64_t size, float eps, NormWeight stored = NormWeight::kScale)
      : weight_{.name = "",
                .value = Tensor::Full({size}, stored == NormWeight::kScale ? 1 : 0, DType::kF32),
                .trainable = false},
        stored_(stored),
        eps_(eps) {}

  Variable operator()(const Variable& x) { return RmsNorm(x, Scale(), eps_); }
  std::pair<Variable, Variable> AddNorm(const Variable& x, const Variable& residual) {
    return AddRmsNorm(x, residual, Scale(), eps_);
  }
  void Visit(Visitor& v) override { v.Leaf("weight", weight_); }

 private:
  Variable Scale() { return stored_ == NormWeight::kScale ? Use(weight_) : AddScalar(Use(weight_), 1); }

  Parameter weight_;
  NormWeight stored_;
  float eps_;
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_RMS_NORM_H_
