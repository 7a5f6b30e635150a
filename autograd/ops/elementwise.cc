#include "autograd/ops/elementwise.h"

#include <utility>

#include "autograd/tape.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/reduce.h"

namespace lorikeet {
namespace {

using Saved = absl::Span<Tensor>;

// For rules: a gradient of the broadcast shape, summed back to the operand's.
void AddReduced(GradSink& grad, int input, const Tensor& g, const Shape& shape) {
  grad.Add(input, g.shape() == shape ? g : tensor::SumTo(g, shape));
}

}  // namespace

// y = a + b.   da = dy, db = dy.   Saves nothing.
Variable Add(const Variable& a, const Variable& b) {
  Deferred sum(tensor::BroadcastShape("Add", a.shape(), b.shape()), a.dtype(), a.device(),
               [a, b] { return tensor::Add(a.value(), b.value()); });
  return Record("Add", {a, b}, std::move(sum), {},
                [sa = a.shape(), sb = b.shape()](Saved, const Tensor& dy, GradSink& grad) {
                  if (grad.wants(0)) AddReduced(grad, 0, dy, sa);
                  if (grad.wants(1)) AddReduced(grad, 1, dy, sb);
                });
}

// y = a - b.   da = dy, db = -dy.   Saves nothing.
Variable Sub(const Variable& a, const Variable& b) {
  return Record("Sub", {a, b}, tensor::Sub(a.value(), b.value()), {},
                [sa = a.shape(), sb = b.shape()](Saved, const Tensor& dy, GradSink& grad) {
                  if (grad.wants(0)) AddReduced(grad, 0, dy, sa);
                  if (grad.wants(1)) AddReduced(grad, 1, tensor::Neg(dy), sb);
                });
}

// y = a * b.   da = dy*b, db = dy*a.   Saves a, b.
Variable Mul(const Variable& a, const Variable& b) {
  return Record("Mul", {a, b}, tensor::Mul(a.value(), b.value()), {a.value(), b.value()},
                [](Saved saved, const Tensor& dy, GradSink& grad) {
                  if (grad.wants(0)) AddReduced(grad, 0, tensor::Mul(dy, saved[1]), saved[0].shape());
                  if (grad.wants(1)) AddReduced(grad, 1, tensor::Mul(dy, saved[0]), saved[1].shape());
                });
}

// y = a / b.   da = dy/b, db = -dy*a/b^2.   Saves a, b.
Variable Div(const Variable& a, const Variable& b) {
  return Record("Div", {a, b}, tensor::Div(a.value(), b.value()), {a.value(), b.value()},
                [](Saved saved, const Tensor& dy, GradSink& grad) {
                  const Tensor g = tensor::Div(dy, saved[1]);
                  if (grad.wants(0)) AddReduced(grad, 0, g, saved[0].shape());
                  if (grad.wants(1)) {
                    const Tensor db = tensor::Neg(tensor::Div(tensor::Mul(g, saved[0]), saved[1]));
                    AddReduced(grad, 1, db, saved[1].shape());
                  }
                });
}

// y = -x.   dx = -dy.   Saves nothing.
Variable Neg(const Variable& x) {
  return Record("Neg", {x}, tensor::Neg(x.value()), {},
                [](Saved, const Tensor& dy, GradSink& grad) { grad.Add(0, tensor::Neg(dy)); });
}

// y = s*x.   dx = s*dy.   Saves nothing.
Variable Scale(const Variable& x, double s) {
  return Record("Scale", {x}, tensor::Scale(x.value(), s), {},
                [s](Saved, const Tensor& dy, GradSink& grad) { grad.Add(0, tensor::Scale(dy, s)); });
}

// y = x + s.   dx = dy.   Saves nothing.
Variable AddScalar(const Variable& x, double s) {
  return Record("AddScalar", {x}, tensor::AddScalar(x.value(), s), {},
                [](Saved, const Tensor& dy, GradSink& grad) { grad.Add(0, dy); });
}

// y = x^2.   dx = 2*x*dy.   Saves x.
Variable Square(const Variable& x) {
  return Record(
      "Square", {x}, tensor::Square(x.value()), {x.value()},
      [](Saved saved, const Tensor& dy, GradSink& grad) { grad.Add(0, tensor::Scale(tensor::Mul(dy, saved[0]), 2)); });
}

// y = exp(x).   dx = dy*y.   Saves y.
Variable Exp(const Variable& x) {
  Tensor y = tensor::Exp(x.value());
  return Record("Exp", {x}, y, {y},
                [](Saved saved, const Tensor& dy, GradSink& grad) { grad.Add(0, tensor::Mul(dy, saved[0])); });
}

// y = ln(x).   dx = dy/x.   Saves x.
Variable Log(const Variable& x) {
  return Record("Log", {x}, tensor::Log(x.value()), {x.value()},
                [](Saved saved, const Tensor& dy, GradSink& grad) { grad.Add(0, tensor::Div(dy, saved[0])); });
}

// y = sqrt(x).   dx = dy/(2y); infinite at 0, as the derivative is.   Saves y.
Variable Sqrt(const Variable& x) {
  Tensor y = tensor::Sqrt(x.value());
  return Record("Sqrt", {x}, y, {y}, [](Saved saved, const Tensor& dy, GradSink& grad) {
    grad.Add(0, tensor::Scale(tensor::Div(dy, saved[0]), 0.5));
  });
}

// y = 1/sqrt(x).   dx = -dy*y^3/2.   Saves y.
Variable Rsqrt(const Variable& x) {
  Tensor y = tensor::Rsqrt(x.value());
  return Record("Rsqrt", {x}, y, {y}, [](Saved saved, const Tensor& dy, GradSink& grad) {
    const Tensor cube = tensor::Mul(saved[0], tensor::Square(saved[0]));
    grad.Add(0, tensor::Scale(tensor::Mul(dy, cube), -0.5));
  });
}

// y = tanh(x).   dx = dy*(1 - y^2).   Saves y.
Variable Tanh(const Variable& x) {
  Tensor y = tensor::Tanh(x.value());
  return Record("Tanh", {x}, y, {y}, [](Saved saved, const Tensor& dy, GradSink& grad) {
    grad.Add(0, tensor::Sub(dy, tensor::Mul(dy, tensor::Square(saved[0]))));
  });
}

// y = 1/(1+exp(-x)).   dx = dy*y*(1-y).   Saves y.
Variable Sigmoid(const Variable& x) {
  Tensor y = tensor::Sigmoid(x.value());
  return Record("Sigmoid", {x}, y, {y}, [](Saved saved, const Tensor& dy, GradSink& grad) {
    const Tensor g = tensor::Mul(dy, saved[0]);
    grad.Add(0, tensor::Sub(g, tensor::Mul(g, saved[0])));
  });
}

// y = x*sigmoid(x).   dx = dy*(s + x*s*(1-s)), s = sigmoid(x) computed anew.   Saves x.
Variable Silu(const Variable& x) {
  return Record("Silu", {x}, tensor::Silu(x.value()), {x.value()}, [](Saved saved, const Tensor& dy, GradSink& grad) {
    const Tensor s = tensor::Sigmoid(saved[0]);
    const Tensor slope = tensor::Add(s, tensor::Mul(tensor::Mul(saved[0], s), tensor::AddScalar(tensor::Neg(s), 1)));
    grad.Add(0, tensor::Mul(dy, slope));
  });
}

}  // namespace lorikeet
