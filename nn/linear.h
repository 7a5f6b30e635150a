// Linear: y = x*W^T + b.
//
//   Linear up(std::move(map));                        // no bias
//   Variable y = up(x);                               // x [tokens, in] -> [tokens, out]
//
// W is whatever map the slot holds; a visitor may replace it (adapters, quantization, merging). The bias stays outside
// the map and is added in x's dtype.
#ifndef LORIKEET_NN_LINEAR_H_
#define LORIKEET_NN_LINEAR_H_

#include <cstdint>
#include <memory>
#include <optional>

#include "autograd/parameter.h"
#include "autograd/variable.h"
#include "nn/linear_map.h"
#include "nn/module.h"

namespace lorikeet {

class Linear : public Module {
 public:
  // An empty slot of this size, to be filled by a loader.
  Linear(int64_t in_features, int64_t out_features, bool bias);
  explicit Linear(std::unique_ptr<LinearMap> map);
  // The same with a bias, where checkpoints hold the weight transposed: what transformers calls Conv1D.
  static Linear Conv1D(int64_t in_features, int64_t out_features);

  Variable operator()(const Variable& x);
  void Visit(Visitor& v) override;

  LinearMap& map() { return *slot_.map; }

 private:
  MapSlot slot_;
  std::optional<Parameter> bias_;
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_LINEAR_H_
