// Variable: a value in a computation, and where its gradient goes.
//
//   Variable c(tensor);                  // a constant: no gradient
//   Variable y = RmsNorm(x, w, 1e-6f);   // every op takes and returns Variables; y.value() is there at once (eager)
//
// A cheap handle. A Variable that needs a gradient belongs to the tape that was recording when it was made and must
// not be used after that tape's Backward.
#ifndef LORIKEET_AUTOGRAD_VARIABLE_H_
#define LORIKEET_AUTOGRAD_VARIABLE_H_

#include <memory>
#include <utility>

#include "tensor/tensor.h"

namespace lorikeet {

class Recipe;
class Tape;

class Variable {
 public:
  Variable() = default;
  Variable(Tensor constant) : value_(std::move(constant)) {}  // NOLINT: a tensor is a constant variable

  const Tensor& value() const { return value_; }
  bool needs_grad() const { return slot_ >= 0; }
  const Shape& shape() const { return value_.shape(); }
  DType dtype() const { return value_.dtype(); }

  // Position of the gradient on its tape; -1 for a constant. For ops' implementation.
  int slot() const { return slot_; }
  const Tape* tape() const { return tape_; }
  // How to compute the value again, if that is cheaper than keeping it (autograd/saved_value.h). For ops'
  // implementation.
  const std::shared_ptr<Recipe>& recipe() const { return recipe_; }
  void set_recipe(std::shared_ptr<Recipe> recipe) { recipe_ = std::move(recipe); }

 private:
  friend class Tape;
  Variable(Tensor value, const Tape* tape, int slot) : value_(std::move(value)), tape_(tape), slot_(slot) {}

  Tensor value_;
  const Tape* tape_ = nullptr;
  int slot_ = -1;
  std::shared_ptr<Recipe> recipe_;
};

}  // namespace lorikeet

#endif  // LORIKEET_AUTOGRAD_VARIABLE_H_
