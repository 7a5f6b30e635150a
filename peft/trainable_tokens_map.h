// TrainableTokensMap: a map of which some rows train, and the others do not: new tokens in an embedding, and in the
// head where that is tied to it.
//
//   TrainableTokensMap map(std::move(base), {49152, 49153}, name);       // the rows start as the base has them
//   Variable h = map.Lookup(tokens, DType::kBF16);                      // row 49152 of W is map.rows()'s first
//
// W' = W, but for the rows of `tokens`, which are R [n, in]. With D = R - W[tokens] and the one-hot matrix S [out, n]
// that says where they lie, W' = W + S*D: LoRA whose B is known. So a product with W', whatever W is stored as, is the
// base's with n terms more:
//   y = x*W^T + (x*D^T)*S^T,   dx = dy*W + (dy*S)*D,   dR = (dy*S)^T*x;     of a lookup dR = S[ids]^T*dy.
// R is f32 (f64 in gradient checks). A logit of such a token is a sum with x*W[token] in it, so in 16 bits its error is
// of the larger one's size, where the base's row is large beside R. Memory: S, n numbers for each row of W: meant for
// tens of tokens.
// Ownership: the map owns its base. Errors: misuse aborts; rows of the base that are not finite (0 times them is NaN,
// for every token) are the caller's to refuse.
// Source: PEFT's TrainableTokensLayer, whose parameter is called trainable_tokens_delta but holds R.
#ifndef LORIKEET_PEFT_TRAINABLE_TOKENS_MAP_H_
#define LORIKEET_PEFT_TRAINABLE_TOKENS_MAP_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "autograd/parameter.h"
#include "autograd/variable.h"
#include "nn/linear_map.h"
#include "nn/module.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace lorikeet {

class TrainableTokensMap : public LinearMap {
 public:
  // tokens: rows of the base, each once. `rows` [n, in] is what they are to be; undefined: what the base has. `name` is
  // the parameter's. The base must be frozen.
  TrainableTokensMap(std::unique_ptr<LinearMap> base, const std::vector<int64_t>& tokens, std::string name,
                     Tensor rows = {});

  int64_t in_features() const override { return base_->in_features(); }
  int64_t out_features() const override { return base_->out_features(); }
  bool frozen() const override { return !rows_.trainable; }
  DType dtype() const override { return base_->dtype(); }
  Device device() const override { return base_->device(); }
  void Forward(const Tensor& x, Tensor& y, const Epilogue& e) const override;
  void InputGrad(const Tensor& dy, Tensor& dx, const Epilogue& e) const override;
  Variable Apply(const Variable& x) override;
  Variable Lookup(const Tensor& ids, DType dtype) override;
  Tensor Rows(const Tensor& ids, DType dtype) const override;
  Tensor Dense() const override;
  void Visit(Visitor& v) override;

  const Tensor& rows() const { return rows_.value; }
  // W' in R's dtype, which Dense rounds to the base's.
  Tensor Merged() const;

 private:
  // D in `dtype`.
  Tensor Difference(DType dtype) const;
  // S in `dtype`.
  Tensor Places(DType dtype) const { return places_.Cast(dtype); }

  std::unique_ptr<LinearMap> base_;
  Tensor tokens_;    // i32 [n]
  Tensor original_;  // W[tokens], [n, in] in rows_' dtype
  Tensor places_;    // S, [out, n], in the base's dtype: zeros and ones are exact in any
  Parameter rows_;   // R
};

}  // namespace lorikeet

#endif  // LORIKEET_PEFT_TRAINABLE_TOKENS_MAP_H_
