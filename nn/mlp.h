// Mlp: the gated feed-forward block, y = (act(x*Wg^T) * (x*Wu^T)) * Wd^T. Shazeer, "GLU variants improve Transformer",
// 2020.
//
//   Mlp mlp(hidden_size, intermediate_size, /*bias=*/false, Gate::kSilu);
//   Variable y = mlp(x);                              // x [tokens, hidden] -> [tokens, hidden]
#ifndef LORIKEET_NN_MLP_H_
#define LORIKEET_NN_MLP_H_

#include <cstdint>

#include "autograd/ops/activation.h"
#include "autograd/variable.h"
#include "nn/linear.h"
#include "nn/module.h"

namespace lorikeet {

enum class Gate : uint8_t { kSilu, kGelu };  // the latter in its tanh form

class Mlp : public Module {
 public:
  Mlp(int64_t hidden_size, int64_t intermediate_size, bool bias, Gate act)
      : act_(act),
        gate_(hidden_size, intermediate_size, bias),
        up_(hidden_size, intermediate_size, bias),
        down_(intermediate_size, hidden_size, bias) {}

  Variable operator()(const Variable& x) {
    return down_(act_ == Gate::kSilu ? SwiGlu(gate_(x), up_(x)) : GeGlu(gate_(x), up_(x)));
  }
  void Visit(Visitor& v) override {
    v.Child("gate_proj", gate_);
    v.Child("up_proj", up_);
    v.Child("down_proj", down_);
  }

 private:
  Gate act_;
  Linear gate_, up_, down_;
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_MLP_H_
