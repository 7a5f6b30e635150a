// AdapterMap: what LoRA and DoRA share: a frozen base, two thin factors beside it, and dropout on the way into them.
//
//        x ---------> base ----------> (+) -> y          A [r, in],  B [out, r],  u = dropout(x)*A^T  [tokens, r]
//        `-> dropout -> A -> B -> *s ---^
//
// u is kept with s in it. The factors are f32 (f64 in gradient checks) and taken in x's dtype, cast where they are used
// unless a ParameterCasts (autograd/parameter_casts.h) has done so for all. The base is not asked how it stores W, so
// the same code adapts dense and 4-bit weights. Ownership: the map owns its base; TakeBase gives it back.
#ifndef LORIKEET_PEFT_ADAPTER_MAP_H_
#define LORIKEET_PEFT_ADAPTER_MAP_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/functional/function_ref.h"
#include "autograd/parameter.h"
#include "autograd/tape.h"
#include "nn/linear_map.h"
#include "peft/adapter_run.h"
#include "tensor/random.h"
#include "tensor/tensor.h"

namespace lorikeet {

// The two factors and what goes with them.
struct LoraFactors {
  Tensor a;           // [r, in]
  Tensor b;           // [out, r]
  float scaling = 1;  // s: alpha / r, or alpha / sqrt(r) for rank-stabilised LoRA
  float dropout = 0;  // probability of dropping an element of x on its way into A
  // What was taken out of the base: its weight is that of the model less s*taken_b*taken_a. Undefined: nothing.
  Tensor taken_a = {}, taken_b = {};
  bool saves_base = false;  // a file holds the base's weight beside the factors, as PEFT's do for embeddings and heads
};

class AdapterMap : public LinearMap {
 public:
  int64_t in_features() const override { return base_->in_features(); }
  int64_t out_features() const override { return base_->out_features(); }
  DType dtype() const override { return base_->dtype(); }
  Device device() const override { return base_->device(); }
  // Merged(), rounded to the base's dtype.
  Tensor Dense() const override { return Merged().Cast(dtype()); }

  // The weight that replaces base and adapter together, [out, in], in the factors' dtype.
  virtual Tensor Merged() const = 0;
  // What Merged would be over another weight w of the base, [out, in] in any dtype, from which nothing was taken.
  virtual Tensor MergedOver(Tensor w) const = 0;

  LinearMap& base() { return *base_; }
  const LinearMap& base() const { return *base_; }
  // Afterwards the map may only be destroyed.
  std::unique_ptr<LinearMap> TakeBase() { return std::move(base_); }
  int64_t rank() const { return a_.value.dim(0); }
  float scaling() const { return scaling_; }
  const Tensor& a() const { return a_.value; }
  const Tensor& b() const { return b_.value; }
  const Tensor& taken_a() const { return taken_a_; }
  const Tensor& taken_b() const { return taken_b_; }
  bool saves_base() const { return saves_base_; }

 protected:
  // `run` may be null (evaluation only) and must outlive the map; `index` tells this map's dropout masks from others'.
  AdapterMap(std::unique_ptr<LinearMap> base, LoraFactors factors, const AdapterRun* run, uint64_t index);

  // What dropout does in one pass; p = 0 when evaluating.
  struct Mask {
    float p = 0;
    KeySource key = RngKey{};
    Tensor operator()(const Tensor& x) const;
  };
  Mask CurrentMask() const;

  // w less what was taken out of the base.
  Tensor LessTaken(Tensor w) const;
  // w + s*B*A in the factors' dtype, in memory that nothing else holds.
  Tensor PlusProduct(Tensor w) const;

  // alpha * a*b in a's dtype.
  static Tensor Product(const Tensor& a, const Tensor& b, float alpha);
  // e, which has no correction yet, with u*v.
  static Epilogue With(Epilogue e, const Tensor& u, const Tensor& v);
  // y = what e makes of the sums that `fill` writes, for sums that the base's product cannot finish itself.
  static void FinishInto(Tensor& y, const Epilogue& e, absl::FunctionRef<void(Tensor&)> fill);

  // The factors' part of a rule: adds dB = g^T*u to input `b_input` and dA = du^T*x to input `a_input`, and returns
  // du = s*g*B. g [tokens, out] is the gradient of base(x) + u*B^T, u = s*x*A^T, x the (dropped-out) input of A.
  Tensor AddFactorGrads(const Tensor& g, const Tensor& x, const Tensor& u, const Tensor& b, int a_input, int b_input,
                        GradSink& grad) const;

  std::unique_ptr<LinearMap> base_;
  Parameter a_, b_;
  Tensor taken_a_, taken_b_;
  float scaling_, dropout_;
  bool saves_base_;
  const AdapterRun* run_;
  uint64_t index_;
};

}  // namespace lorikeet

#endif  // LORIKEET_PEFT_ADAPTER_MAP_H_
