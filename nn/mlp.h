// Mlp: the gated feed-forward block, y = (silu(x*Wg^T) * (x*Wu^T)) * Wd^T. Shazeer, "GLU variants improve Transformer",
// 2020.
//
//   Mlp mlp(hidden_size, intermediate_size, /*bias=*/false);
//   Variable y = mlp(x);                              // x [tokens, hidden] -> [tokens, hidden]
#ifndef LORIKEET_NN_MLP_H_
#define LORIKEET_NN_MLP_H_

#include <cstdint>

#include "autograd/ops/activation.h"
#include "autograd/variable.h"
#include "nn/linear.h"
#include "nn/module.h"

namespace lorikeet {

class Mlp : public Module {
 public:
  Mlp(int64_t hidden_size, int64_t intermediate_size, bool bias)
      : gate_(hidden_size, intermediate_size, bias),
        up_(hidden_size, intermediate_size, bias),
        down_(intermediate_size, hidden_size, bias) {}

  Variable operator()(const Variable& x) { return down_(SwiGlu(gate_(x), up_(x))); }
  void Visit(Visitor& v) override {
    v.Child("gate_proj", gate_);
    v.Child("up_proj", up_);
    v.Child("down_proj", down_);
  }

 private:
  Linear gate_, up_, down_;
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_MLP_H_
