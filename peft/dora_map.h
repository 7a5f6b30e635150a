// DoraMap: y = (m / n) * (W*x + s*B*A*x), n = ||W + s*B*A|| row by row: LoRA with a learned length for every output
// row.
//
//   DoraMap map(std::move(base), factors, /*magnitude=*/absl::nullopt, &run, index);   // m starts as n: y = base(x)
//
// The norm is a constant in the backward pass, as section 4.3 of the paper proposes. With g = m/n, z = W*x + s*B*A*x:
//   dm = sum_tokens dy*z / n,   then with G = g*dy exactly LoRA's dA, dB and dx.     Saves x, u [tokens, r] and y.
// z is y/g. Where g is 0 training takes 2^-60 for it, so that y/g is defined without a look at g from the host; f16
// lacks the range, so there z is saved.
// The norm never forms W + s*B*A:  n^2 = ||W||^2 + 2s<B, W*A^T> + s^2<B, B*(A*A^T)>  row by row, where W*A^T is the
// base applied to A's rows, so it works over any frozen base for one skinny product; ||W||^2 is computed once, when the
// map is made, and n and g once per AdapterRun::weights_version where that is tracked. The norm is in the factors'
// dtype (f32), and the product's sums are scaled before they are rounded, whatever dtype x has: g in bf16, or times a z
// in bf16, would round away most of what m learns.
//
// With dropout the undropped base output is kept and only the correction sees x' = dropout(x), as in PEFT:
//   y = W*x + (g-1)*(W*x') + g*s*B*A*x'.
// A row with n = 0 has g = 1 (PEFT: NaN). A bias is not scaled (it is outside the map).
// Source: Liu et al., "DoRA: Weight-decomposed low-rank adaptation", 2024; PEFT's behaviour for dropout.
#ifndef LORIKEET_PEFT_DORA_MAP_H_
#define LORIKEET_PEFT_DORA_MAP_H_

#include <cstdint>
#include <memory>
#include <mutex>

#include "absl/types/optional.h"
#include "autograd/parameter.h"
#include "nn/linear_map.h"
#include "peft/adapter_map.h"
#include "peft/adapter_run.h"
#include "tensor/dtype.h"

namespace lorikeet {

class DoraMap : public AdapterMap {
 public:
  // magnitude [out]; absent: the norms of W + s*B*A as they are now.
  DoraMap(std::unique_ptr<LinearMap> base, LoraFactors factors, absl::optional<Tensor> magnitude, const AdapterRun* run,
          uint64_t index);

  bool frozen() const override { return !a_.trainable && !b_.trainable && !magnitude_.trainable; }
  void Forward(const Tensor& x, Tensor& y, const Epilogue& e) const override;
  void InputGrad(const Tensor& dy, Tensor& dx, const Epilogue& e) const override;
  Variable Apply(const Variable& x) override;
  // diag(m/n) * (W + s*B*A).
  Tensor Merged() const override;
  Tensor MergedOver(Tensor w) const override;
  void Visit(Visitor& v) override;

  const Tensor& magnitude() const { return magnitude_.value; }
  // n, [out]: the row norms of W + s*B*A, computed anew in the factors' dtype.
  Tensor Norm() const { return Norm(a_.value.dtype()); }

 private:
  struct Scale {
    Tensor norm;     // n, 1 where it is zero
    Tensor gain;     // g = m / n, 1 where n is zero
    Tensor nonzero;  // g, 2^-60 where it is zero
    Tensor divisor;  // that * n
  };
  // `compute` is the dtype in which the base is used.
  Scale CurrentScale(DType compute) const;
  Scale ScaleOf(const Tensor& norm) const;
  Tensor Norm(DType compute) const;
  Tensor FactorThroughBase(DType compute) const;  // (W*A^T)^T, [r, out]
  Variable ApplyWithDropout(const Variable& x, const Mask& mask);
  Tensor Output(const Tensor& x, const Tensor& u, const Tensor& b, DType dtype, const Tensor& gain) const;

  Parameter magnitude_;
  Tensor squared_norm_;  // ||W||^2 per row, [out]

  mutable std::mutex mutex_;           // guards what is kept
  mutable Scale kept_;                 // of kept_version_
  mutable uint64_t kept_version_ = 0;  // 0: nothing is kept
  mutable DType kept_compute_ = DType::kF32;
};

}  // namespace lorikeet

#endif  // LORIKEET_PEFT_DORA_MAP_H_
