// SavedValue: what a record keeps for its rule: a tensor or, of a value that is cheap, the way to compute it again.
//
//   Variable y = Recomputed(Record("RmsNorm", ...), [x, w, eps] { return tensor::RmsNorm(x, w, eps).y; });
//   Record("Lora", {y, a}, z, {y, a.value()}, rule);     // saves y by its recipe: nothing keeps y's memory
//   Record("Lora", {y, a}, z, {y.value(), a.value()}, rule);   // saves y itself
//
// A recipe runs at most once: what it made serves all records that saved the value and dies with the last of them. It
// gives the bits of the first time, because ops are deterministic, and must hold only tensors that the op's own record
// saves, or it would save nothing. Threads: those of the tape.
#ifndef LORIKEET_AUTOGRAD_SAVED_VALUE_H_
#define LORIKEET_AUTOGRAD_SAVED_VALUE_H_

#include <memory>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "autograd/variable.h"
#include "tensor/tensor.h"

namespace lorikeet {

class Recipe {
 public:
  explicit Recipe(absl::AnyInvocable<Tensor()> make) : make_(std::move(make)) {}
  const Tensor& made() {
    if (!made_.defined()) made_ = make_();
    return made_;
  }

 private:
  absl::AnyInvocable<Tensor()> make_;
  Tensor made_;
};

// y, to be computed by `make` where a rule needs it. A constant stays as it is.
inline Variable Recomputed(Variable y, absl::AnyInvocable<Tensor()> make) {
  if (y.needs_grad()) y.set_recipe(std::make_shared<Recipe>(std::move(make)));
  return y;
}

class SavedValue {
 public:
  SavedValue(Tensor t) : tensor_(std::move(t)) {}        // NOLINT: a tensor is saved as it is
  SavedValue(const Variable& v) : recipe_(v.recipe()) {  // NOLINT: and a variable by its recipe, if it has one
    if (recipe_ == nullptr) tensor_ = v.value();
  }

  // The tensor that is kept; undefined where a recipe stands for it.
  const Tensor& kept() const { return tensor_; }

  // Gives the tensor up. Nothing else may hold it afterwards, so that a rule may overwrite it.
  Tensor Take() {
    if (recipe_ == nullptr) return std::move(tensor_);
    Tensor t = recipe_->made();
    recipe_.reset();
    return t;
  }

 private:
  Tensor tensor_;
  std::shared_ptr<Recipe> recipe_;
};

}  // namespace lorikeet

#endif  // LORIKEET_AUTOGRAD_SAVED_VALUE_H_
