#include "autograd/checkpoint.h"

#include <utility>

#include "autograd/tape.h"

namespace lorikeet {

Variable Checkpoint(absl::AnyInvocable<Variable(absl::Span<const Variable>)> f, std::vector<Variable> inputs) {
  Tape* const tape = Tape::Current();
  if (tape == nullptr) return f(inputs);
  std::vector<SavedValue> saved;
  std::vector<Variable> constants;
  bool needed = false;
  for (const Variable& v : inputs) {
    saved.push_back(v);
    constants.push_back(Variable(v.value()));
    needed |= v.needs_grad();
  }
  Tensor y;
  {
    Tape::Pause pause;
    const int64_t before = UnrecordedParameterReads();
    y = f(constants).value();
    needed |= UnrecordedParameterReads() != before;
  }
  if (!needed) return Variable(y);
  BackwardManyFn rule = [f = std::move(f)](absl::Span<Tensor> xs, absl::Span<const Tensor> dys,
                                           GradSink& grad) mutable {
    Tape inner(Tape::Values::kWhenAsked);
    std::vector<Variable> again;
    for (size_t i = 0; i < xs.size(); ++i) {
      const int input = static_cast<int>(i);
      if (grad.wants(input)) {
        again.push_back(inner.Leaf(xs[i], [&grad, input](Tensor g) { grad.Add(input, std::move(g)); }));
      } else {
        again.push_back(Variable(xs[i]));
      }
    }
    inner.Backward(f(again), dys[0]);
  };
  return tape->Append("Checkpoint", inputs, {Variable(y)}, std::move(saved), std::move(rule))[0];
}

}  // namespace lorikeet
