// DenseMap: W as an ordinary [out, in] matrix, frozen or trainable.
//
//   DenseMap map(Parameter{.name = "", .value = w, .trainable = false});
//
// Frozen weights are in the compute dtype; trainable ones are f32 and cast to x's dtype where they are used.
//   y = x*W^T,   dx = dy*W,   dW = dy^T*x.   Saves x when W trains, nothing otherwise.
// As an embedding (Lookup), dW[ids[i]] += dy[i]: a head tied to the embedding adds into the same gradient.
#ifndef LORIKEET_NN_DENSE_MAP_H_
#define LORIKEET_NN_DENSE_MAP_H_

#include "autograd/parameter.h"
#include "nn/linear_map.h"

namespace lorikeet {

class DenseMap : public LinearMap {
 public:
  explicit DenseMap(Parameter weight);
  explicit DenseMap(Tensor frozen_weight)
      : DenseMap(Parameter{.name = "", .value = frozen_weight, .trainable = false}) {}

  int64_t in_features() const override { return weight_.value.dim(1); }
  int64_t out_features() const override { return weight_.value.dim(0); }
  bool frozen() const override { return !weight_.trainable; }
  DType dtype() const override { return weight_.value.dtype(); }
  Device device() const override { return weight_.value.device(); }
  void Forward(const Tensor& x, Tensor& y, const Epilogue& e) const override;
  void InputGrad(const Tensor& dy, Tensor& dx, const Epilogue& e) const override;
  Variable Apply(const Variable& x) override;
  Variable Lookup(const Tensor& ids, DType dtype) override;
  Tensor Rows(const Tensor& ids, DType dtype) const override;
  Tensor Dense() const override { return weight_.value; }
  void Visit(Visitor& v) override { v.Leaf("weight", weight_); }

 private:
  Parameter weight_;
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_DENSE_MAP_H_
