#include "autograd/tape.h"

#include <algorithm>
#include <unordered_set>

#include "absl/strings/str_cat.h"
#include "tensor/check.h"
#include "tensor/ops/elementwise.h"

namespace lorikeet {
namespace {

thread_local Tape* current_tape = nullptr;
thread_local int64_t unrecorded_reads = 0;

bool AnyNeedsGrad(absl::Span<const Variable> inputs) {
  return std::any_of(inputs.begin(), inputs.end(), [](const Variable& v) { return v.needs_grad(); });
}

}  // namespace

Tape::Tape(Values values) : values_(values), outer_(current_tape) { current_tape = this; }

Tape::~Tape() {
  LORIKEET_CHECK(current_tape == this) << "Tape: destroyed while an inner tape or a Pause is alive";
  current_tape = outer_;
  while (!entries_.empty()) entries_.pop_back();  // newest first, as Backward would
}

Tape* Tape::Current() { return current_tape; }

Tape::Pause::Pause() : resumed_(current_tape) { current_tape = nullptr; }
Tape::Pause::~Pause() { current_tape = resumed_; }

Variable Tape::Push(Entry entry, Variable value) {
  entry.shape = value.shape();
  entry.dtype = value.dtype();
  entry.device = value.device();
  entries_.push_back(std::move(entry));
  return Variable(std::move(value), this, static_cast<int>(entries_.size()) - 1);
}

Variable Tape::Leaf(Tensor value, absl::AnyInvocable<void(Tensor grad)> on_grad) {
  Entry e{};
  e.op = "Leaf";
  e.values = 1;
  e.rule = [on_grad = std::move(on_grad)](absl::Span<Tensor>, absl::Span<const Tensor> dys, GradSink&) mutable {
    on_grad(dys[0]);
  };
  return Push(std::move(e), std::move(value));
}

Variable Tape::UseParameter(Parameter& p, DType dtype) {
  const auto key = std::make_pair(static_cast<const Parameter*>(&p), dtype);
  const auto found = parameters_.find(key);
  if (found != parameters_.end()) return found->second;
  Entry e{};
  e.op = "Parameter";
  e.values = 1;
  e.parameter = &p;
  const Variable v = Push(std::move(e), p.As(dtype));
  parameters_.emplace(key, v);
  return v;
}

std::vector<Variable> Tape::Append(const char* op, absl::Span<const Variable> inputs, absl::Span<const Variable> values,
                                   std::vector<SavedValue> saved, BackwardManyFn rule) {
  std::vector<int> slots;
  slots.reserve(inputs.size());
  for (const Variable& v : inputs) {
    LORIKEET_CHECK(!v.needs_grad() || v.tape() == this)
        << op
        << ": an input belongs to another tape; inside Checkpoint use the function's arguments, not captured variables";
    slots.push_back(v.slot());
  }
  std::vector<Variable> out;
  out.reserve(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    Entry e{};
    e.op = op;
    if (i == 0) {
      e.inputs = std::move(slots);
      e.saved = std::move(saved);
      e.rule = std::move(rule);
      e.values = static_cast<int>(values.size());
    }
    out.push_back(Push(std::move(e), values[i]));
  }
  return out;
}

std::vector<Tensor> Tape::TakeGrads(std::vector<Tensor>& grads, size_t slot, int values) {
  std::vector<Tensor> dys;
  for (int i = 0; i < values; ++i) dys.push_back(std::move(grads[slot + static_cast<size_t>(i)]));
  return dys;
}

void Tape::Backward(Variable y, Tensor dy) {
  LORIKEET_CHECK(y.needs_grad() && y.tape() == this)
      << "Backward: y depends on nothing that needs a gradient on this tape";
  LORIKEET_CHECK(dy.shape() == y.shape())
      << "Backward: dy is " << Describe(dy) << ", expected the shape of y, " << y.shape();
  std::vector<Tensor> grads(entries_.size());
  grads[static_cast<size_t>(y.slot())] = std::move(dy);
  y = Variable();
  parameters_.clear();
  Pause pause;  // a rule's own ops are not recorded
  while (!entries_.empty()) {
    Entry e = std::move(entries_.back());
    entries_.pop_back();
    if (!e.rule) continue;  // a parameter, or a later value of a record that is still to come
    const std::vector<Tensor> dys = TakeGrads(grads, entries_.size(), e.values);
    if (std::none_of(dys.begin(), dys.end(), [](const Tensor& g) { return g.defined(); }))
      continue;  // not on the path to y
    GradSink sink(*this, e.inputs, grads);
    std::vector<Tensor> saved;
    for (SavedValue& s : e.saved) saved.push_back(s.Take());
    e.rule(absl::MakeSpan(saved), dys, sink);
  }  // saved tensors die here, newest first
}

int64_t Tape::saved_bytes() const {
  std::unordered_set<const void*> seen;
  int64_t bytes = 0;
  for (const Entry& e : entries_) {
    for (const SavedValue& s : e.saved) {
      const Tensor& t = s.kept();
      if (t.defined() && seen.insert(t.raw()).second) bytes += t.nbytes();
    }
  }
  return bytes;
}

std::string Tape::HolderReport() const {
  return entries_.empty() ? "" : absl::StrCat("saved for Backward, by op:\n", Report());
}

std::string Tape::Report() const {
  struct Line {
    int64_t count = 0, bytes = 0;
  };
  std::map<std::string, Line> ops;
  std::unordered_set<const void*> seen;
  for (const Entry& e : entries_) {
    if (!e.rule) continue;
    Line& line = ops[e.op];
    ++line.count;
    for (const SavedValue& s : e.saved) {
      const Tensor& t = s.kept();
      if (t.defined() && seen.insert(t.raw()).second) line.bytes += t.nbytes();
    }
  }
  std::vector<std::pair<std::string, Line>> sorted(ops.begin(), ops.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second.bytes > b.second.bytes; });
  std::string out;
  for (const auto& [op, line] : sorted)
    absl::StrAppend(&out, op, ": ", line.count, " records, ", line.bytes, " bytes saved\n");
  return out;
}

void GradSink::Add(int input, Tensor g) {
  if (!wants(input)) return;
  const int slot = inputs_[static_cast<size_t>(input)];
  const Tape::Entry& e = tape_.entries_[static_cast<size_t>(slot)];
  LORIKEET_CHECK(g.shape() == e.shape) << "gradient of input " << input << " is " << Describe(g) << ", expected shape "
                                       << e.shape;
  if (e.parameter != nullptr) {
    Tensor& grad = e.parameter->grad;
    if (grad.defined()) {
      tensor::AddInPlace(grad, g);
    } else {
      // A gradient that the rule still shares with someone must not be written to by the next micro-batch.
      grad = g.Cast(e.parameter->value.dtype());
      if (grad.shares_memory_with(g)) grad = g.use_count() > 2 || !g.contiguous() ? g.Clone() : g;
    }
    return;
  }
  Tensor& have = grads_[static_cast<size_t>(slot)];
  if (g.dtype() != e.dtype) g = g.Cast(e.dtype);
  if (!have.defined()) {
    have = std::move(g);
  } else if (have.use_count() == 1 && have.contiguous()) {
    tensor::AddInPlace(have, g);
  } else {
    have = tensor::Add(have, g);
  }
}

Accumulator GradSink::Accumulate(int input) {
  LORIKEET_CHECK(wants(input)) << "Accumulate: input " << input << " needs no gradient";
  const int slot = inputs_[static_cast<size_t>(input)];
  const Tape::Entry& e = tape_.entries_[static_cast<size_t>(slot)];
  Tensor& have = e.parameter != nullptr ? e.parameter->grad : grads_[static_cast<size_t>(slot)];
  if (!have.defined()) {
    have = Tensor::Empty(e.shape, e.parameter != nullptr ? e.parameter->value.dtype() : e.dtype, e.device);
    return {have, 0.0f};
  }
  if (have.use_count() > 1 || !have.contiguous()) have = have.Clone();  // someone else reads it
  return {have, 1.0f};
}

Variable Use(Parameter& p) { return Use(p, p.value.dtype()); }

Variable Use(Parameter& p, DType dtype) {
  if (p.trainable && current_tape != nullptr) return current_tape->UseParameter(p, dtype);
  if (p.trainable) ++unrecorded_reads;
  return Variable(p.As(dtype));
}

int64_t UnrecordedParameterReads() { return unrecorded_reads; }

namespace {

Variable RecordOne(const char* op, absl::Span<const Variable> inputs, Variable value,
                   std::initializer_list<SavedValue> saved, BackwardFn rule) {
  if (current_tape == nullptr || !AnyNeedsGrad(inputs)) return value;
  return current_tape->Append(op, inputs, {value}, saved,
                              [rule = std::move(rule)](absl::Span<Tensor> s, absl::Span<const Tensor> dys,
                                                       GradSink& grad) mutable { rule(s, dys[0], grad); })[0];
}

}  // namespace

Variable Record(const char* op, absl::Span<const Variable> inputs, Tensor value,
                std::initializer_list<SavedValue> saved, BackwardFn rule) {
  return RecordOne(op, inputs, Variable(std::move(value)), saved, std::move(rule));
}

Variable Record(const char* op, absl::Span<const Variable> inputs, Deferred value,
                std::initializer_list<SavedValue> saved, BackwardFn rule) {
  const bool at_once = current_tape == nullptr || current_tape->values() == Tape::Values::kAtOnce;
  return RecordOne(op, inputs, at_once ? Variable(value.value()) : Variable(std::move(value)), saved, std::move(rule));
}

std::vector<Variable> RecordMany(const char* op, absl::Span<const Variable> inputs, absl::Span<const Tensor> values,
                                 std::initializer_list<SavedValue> saved, BackwardManyFn rule) {
  if (current_tape == nullptr || !AnyNeedsGrad(inputs)) return {values.begin(), values.end()};
  return current_tape->Append(op, inputs, std::vector<Variable>(values.begin(), values.end()), saved, std::move(rule));
}

}  // namespace lorikeet
