#include "autograd/checkpoint.h"

#include <cstddef>
#include <utility>

#include "autograd/tape.h"
#include "tensor/check.h"

namespace lorikeet {
namespace {

// What Kept does in this thread while one of these lives. Each Checkpoint has its own, within another too.
class Keeping {
 public:
  // Not at all, or adding to the values.
  explicit Keeping(bool keep) : keep_(keep), outer_(std::exchange(current_, this)) {}
  // The second run: taking what the first one added, if anything.
  Keeping(std::vector<Tensor> values, std::vector<size_t> counts) : Keeping(!counts.empty()) {
    again_ = true;
    values_ = std::move(values);
    counts_ = std::move(counts);
  }
  ~Keeping() { current_ = outer_; }
  Keeping(const Keeping&) = delete;
  Keeping& operator=(const Keeping&) = delete;
  static Keeping* Current() { return current_; }

  std::vector<Tensor> Take(absl::FunctionRef<std::vector<Tensor>()> make) {
    if (!keep_) return make();
    if (!again_) {
      std::vector<Tensor> made = make();
      values_.insert(values_.end(), made.begin(), made.end());
      counts_.push_back(made.size());
      return made;
    }
    LORIKEET_CHECK(calls_ < counts_.size()) << "Checkpoint: the second run calls Kept more often than the first";
    std::vector<Tensor> kept;
    for (size_t i = 0; i < counts_[calls_]; ++i) kept.push_back(std::move(values_[taken_++]));
    ++calls_;
    return kept;
  }
  const std::vector<Tensor>& values() const { return values_; }
  const std::vector<size_t>& counts() const { return counts_; }

 private:
  const bool keep_;
  bool again_ = false;
  std::vector<Tensor> values_;  // of all calls, one after another
  std::vector<size_t> counts_;  // of each call's
  size_t calls_ = 0, taken_ = 0;
  Keeping* const outer_;
  static inline thread_local Keeping* current_ = nullptr;
};

using Function = absl::AnyInvocable<Variable(absl::Span<const Variable>)>;

// The second run and its gradients; xs are the inputs, then what was kept.
void RunAgain(Function& f, absl::Span<Tensor> xs, size_t inputs, const std::vector<size_t>& counts, const Tensor& dy,
              GradSink& grad) {
  Tape inner(Tape::Values::kWhenAsked);
  std::vector<Variable> again;
  for (size_t i = 0; i < inputs; ++i) {
    const int input = static_cast<int>(i);
    if (grad.wants(input)) {
      again.push_back(inner.Leaf(xs[i], [&grad, input](Tensor g) { grad.Add(input, std::move(g)); }));
    } else {
      again.push_back(Variable(xs[i]));
    }
  }
  std::vector<Tensor> kept;
  for (Tensor& x : xs.subspan(inputs)) kept.push_back(std::move(x));
  const auto run = [&] {
    const Keeping keeping(std::move(kept), counts);
    return f(again);
  };
  inner.Backward(run(), dy);
}

}  // namespace

std::vector<Tensor> Kept(absl::FunctionRef<std::vector<Tensor>()> make) {
  return Keeping::Current() == nullptr ? make() : Keeping::Current()->Take(make);
}

Variable Checkpoint(Function f, std::vector<Variable> inputs, bool keep) {
  Tape* const tape = Tape::Current();
  Keeping keeping(keep && tape != nullptr);
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
  saved.insert(saved.end(), keeping.values().begin(), keeping.values().end());
  BackwardManyFn rule = [f = std::move(f), n = inputs.size(), counts = keeping.counts()](
                            absl::Span<Tensor> xs, absl::Span<const Tensor> dys, GradSink& grad) mutable {
    RunAgain(f, xs, n, counts, dys[0], grad);
  };
  return tape->Append("Checkpoint", inputs, {Variable(y)}, std::move(saved), std::move(rule))[0];
}

}  // namespace lorikeet
