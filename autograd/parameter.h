// Parameter: a named tensor that training may change, and its gradient.
//
//   Parameter p{.name = "model.norm.weight", .value = w};
//   Variable w = Use(p);                 // autograd/tape.h: on the current tape, or a constant when frozen
//   p.grad                               // undefined until a Backward reaches it; Backward adds to what is there
//
// Trainable parameters, their gradients and the optimizer's state are f32 (f64 in gradient checks); frozen values are
// in whatever dtype they were loaded in. Ownership: the module holds the Parameter; it must not move while a tape that
// used it is alive.
#ifndef LORIKEET_AUTOGRAD_PARAMETER_H_
#define LORIKEET_AUTOGRAD_PARAMETER_H_

#include <string>

#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace lorikeet {

struct Parameter {
  std::string name;
  Tensor value;
  Tensor grad = {};
  bool trainable = true;
  Tensor cast = {};  // value in another dtype, while a ParameterCasts (autograd/parameter_casts.h) holds it there

  // The value in `dtype`: a new cast only where none is at hand.
  Tensor As(DType dtype) const { return cast.defined() && cast.dtype() == dtype ? cast : value.Cast(dtype); }
  void ZeroGrad() { grad = Tensor(); }
};

}  // namespace lorikeet

#endif  // LORIKEET_AUTOGRAD_PARAMETER_H_
