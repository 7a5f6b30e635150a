// LinearMap: x -> x * W^T, however W is stored. Dense, 4-bit or adapted, a layer cannot tell.
//
//   std::unique_ptr<LinearMap> map = std::make_unique<DenseMap>(weight);   // nn/dense_map.h
//   Variable y = map->Apply(x);                                           // x [tokens, in] -> y [tokens, out]
//
// Quantization is a map that stores W packed; an adapter is a map around a map. Bias is not part of it (nn/linear.h).
// Shapes: x [tokens, in_features], y [tokens, out_features], W [out_features, in_features]; x's dtype is the compute
// dtype, and y may be f32 where x is narrower. Ownership: a recorded Apply refers to the map until Backward, so the map
// must outlive the tape. Threads: const methods may run concurrently. Errors: wrong shapes abort.
#ifndef LORIKEET_NN_LINEAR_MAP_H_
#define LORIKEET_NN_LINEAR_MAP_H_

#include <cstdint>
#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/strings/string_view.h"
#include "autograd/variable.h"
#include "nn/module.h"
#include "tensor/device.h"
#include "tensor/ops/matmul.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {

class LinearMap {
 public:
  virtual ~LinearMap() = default;

  virtual int64_t in_features() const = 0;
  virtual int64_t out_features() const = 0;
  // True when nothing in it trains.
  virtual bool frozen() const = 0;
  // The dtype of Dense(): what the weights were before packing.
  virtual DType dtype() const = 0;
  // Where the weights are; x and y are there too.
  virtual Device device() const = 0;

  // y = x*W^T and dx = dy*W, with what tensor/ops/matmul.h lets a product do besides:
  //   y = alpha * gain * (x*W^T + u*v) + beta*y.
  // So an adapter's correction costs no pass of its own over y. With beta 0 the output may be uninitialised.
  using Epilogue = tensor::Epilogue;
  virtual void Forward(const Tensor& x, Tensor& y, const Epilogue& e) const = 0;
  virtual void InputGrad(const Tensor& dy, Tensor& dx, const Epilogue& e) const = 0;

  // The differentiable forms. The defaults are those of a frozen map: one record that saves no activation, and a
  // constant lookup. A map with parameters overrides both.
  virtual Variable Apply(const Variable& x);
  virtual Variable Lookup(const Tensor& ids, DType dtype);

  // Rows of W, as an embedding reads them: ids i32 [n] -> [n, in_features] in `dtype`.
  virtual Tensor Rows(const Tensor& ids, DType dtype) const;

  // W itself, [out, in]. For merging, export and norms; may be large.
  virtual Tensor Dense() const = 0;

  // Shows its parameters and buffers under checkpoint names, relative to the slot: "weight", "lora_A.weight", ...
  virtual void Visit(Visitor& v) = 0;

 protected:
  // What an Apply records: y, with x's tokens, dtype and place, which `make` fills if anybody asks for it.
  Deferred OutputWhenAsked(const Tensor& x, absl::AnyInvocable<void(const Tensor& x, Tensor& y)> make) const;
};

// A replaceable place for a map, and the size that whatever fills it must have. A freshly constructed model has empty
// slots; a loader fills them (nn/load.h).
struct MapSlot {
  int64_t in_features;
  int64_t out_features;
  std::unique_ptr<LinearMap> map = nullptr;
  bool embedding = false;   // read by rows (nn/embedding.h), not only multiplied by
  bool transposed = false;  // a checkpoint holds the dense weight as [in, out] (transformers' Conv1D)

  LinearMap* operator->() const { return map.get(); }
  // The dense weight's shape in a checkpoint, and a weight turned from there to [out, in] or back.
  Shape stored_shape() const {
    return transposed ? Shape{in_features, out_features} : Shape{out_features, in_features};
  }
  Tensor Turned(const Tensor& w) const { return transposed ? w.Transpose(0, 1).Contiguous() : w; }
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_LINEAR_MAP_H_
