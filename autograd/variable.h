// Variable: a value in a computation, and where its gradient goes.
//
//   Variable c(tensor);                  // a constant: no gradient
//   Variable y = RmsNorm(x, w, 1e-6f);   // every op takes and returns Variables; y.value() is there at once (eager)
//
// A cheap handle. A Variable that needs a gradient belongs to the tape that was recording when it was made and must
// not be used after that tape's Backward. Where Checkpoint (autograd/checkpoint.h) runs its function again, ops whose
// results no record may want leave them Deferred: value() makes one the first time that somebody asks.
#ifndef LORIKEET_AUTOGRAD_VARIABLE_H_
#define LORIKEET_AUTOGRAD_VARIABLE_H_

#include <memory>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {

class Recipe;
class Tape;

// A value that is yet to be made, and what is known of it before.
class Deferred {
 public:
  Deferred(Shape shape, DType dtype, Device device, absl::AnyInvocable<Tensor()> make)
      : shape_(shape), dtype_(dtype), device_(device), make_(std::move(make)) {}

  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  const Tensor& value() {
    if (make_) value_ = std::exchange(make_, nullptr)();
    return value_;
  }

 private:
  Shape shape_;
  DType dtype_;
  Device device_;
  absl::AnyInvocable<Tensor()> make_;  // null when it has run
  Tensor value_;
};

class Variable {
 public:
  Variable() = default;
  Variable(Tensor constant) : value_(std::move(constant)) {}  // NOLINT: a tensor is a constant variable
  explicit Variable(Deferred constant) : deferred_(std::make_shared<Deferred>(std::move(constant))) {}

  const Tensor& value() const { return deferred_ == nullptr ? value_ : deferred_->value(); }
  bool needs_grad() const { return slot_ >= 0; }
  const Shape& shape() const { return deferred_ == nullptr ? value_.shape() : deferred_->shape(); }
  DType dtype() const { return deferred_ == nullptr ? value_.dtype() : deferred_->dtype(); }
  Device device() const { return deferred_ == nullptr ? value_.device() : deferred_->device(); }

  // Position of the gradient on its tape; -1 for a constant. For ops' implementation.
  int slot() const { return slot_; }
  const Tape* tape() const { return tape_; }
  // How to compute the value again, if that is cheaper than keeping it (autograd/saved_value.h). For ops'
  // implementation.
  const std::shared_ptr<Recipe>& recipe() const { return recipe_; }
  void set_recipe(std::shared_ptr<Recipe> recipe) { recipe_ = std::move(recipe); }

 private:
  friend class Tape;
  Variable(Variable value, const Tape* tape, int slot) : Variable(std::move(value)) {
    tape_ = tape;
    slot_ = slot;
    recipe_ = nullptr;
  }

  Tensor value_;
  std::shared_ptr<Deferred> deferred_;  // instead of value_
  const Tape* tape_ = nullptr;
  int slot_ = -1;
  std::shared_ptr<Recipe> recipe_;
};

}  // namespace lorikeet

#endif  // LORIKEET_AUTOGRAD_VARIABLE_H_
