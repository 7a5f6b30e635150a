// Tape: reverse-mode differentiation by an eager, linear list of records.
//
//   Tape tape;                                        // recording from here on, in this thread
//   Variable loss = Mean(Square(Sub(MatMul(x, Use(w)), y)));
//   tape.Backward(loss, Tensor::Scalar(1, DType::kF32));
//   w.grad                                            // now holds d loss / d w
//
// Ops run at once; while a tape is alive each op that has an input needing a gradient also appends a record {inputs'
// slots, saved tensors, rule}. A value that is cheap to compute may be saved by its recipe (autograd/saved_value.h).
// Execution order is topological order, so Backward pops records from the end: no graph walk, no recursion, gradients
// are summed in one fixed order, and saved tensors are freed newest first. Tapes nest; the innermost records. No tape
// alive: nothing is recorded, so there is no "no grad" switch. When memory ends, the report says what each op saved.
// Costs, accepted: a dead branch stays until Backward; no second derivatives; one tape at a time per thread. Threads: a
// tape belongs to the thread that made it. Errors: misuse aborts. Source: the tape ("Wengert list") of reverse
// accumulation, Griewank & Walther, "Evaluating Derivatives", 2008.
#ifndef LORIKEET_AUTOGRAD_TAPE_H_
#define LORIKEET_AUTOGRAD_TAPE_H_

#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/types/span.h"
#include "autograd/parameter.h"
#include "autograd/saved_value.h"
#include "autograd/variable.h"
#include "tensor/memory_holder.h"
#include "tensor/tensor.h"

namespace lorikeet {

// Where an op may add its contribution directly: buffer = beta * buffer + contribution.
struct Accumulator {
  Tensor buffer;
  float beta;  // 0 the first time: the buffer is then uninitialised
};

// What a rule writes gradients to. Input numbers are positions in Record's `inputs`.
class GradSink {
 public:
  // False for constants: their gradient need not be computed.
  bool wants(int input) const { return inputs_[static_cast<size_t>(input)] >= 0; }
  // Adds g, of the input's shape, rounded to the input's dtype (a parameter's own, where the input is one). Nothing
  // happens when the input does not want it. The sink may keep the handle.
  void Add(int input, Tensor g);
  // A buffer of the input's shape to add into. Only for inputs that want a gradient.
  Accumulator Accumulate(int input);

 private:
  friend class Tape;
  GradSink(Tape& tape, absl::Span<const int> inputs, std::vector<Tensor>& grads)
      : tape_(tape), inputs_(inputs), grads_(grads) {}
  Tape& tape_;
  absl::Span<const int> inputs_;
  std::vector<Tensor>& grads_;
};

// A rule gets what was saved, the gradient(s) of its value(s) and the sink. It may overwrite a saved tensor that
// nothing else holds (use_count() == 1).
using BackwardFn = absl::AnyInvocable<void(absl::Span<Tensor> saved, const Tensor& dy, GradSink& grad)>;
// For several values; the gradient of a value that nothing used is undefined.
using BackwardManyFn = absl::AnyInvocable<void(absl::Span<Tensor> saved, absl::Span<const Tensor> dys, GradSink& grad)>;

class Tape : private MemoryHolder {
 public:
  // When ops compute: at once or, what they would not save themselves, only when something asks for it. The latter is
  // for a run whose end nobody reads, Checkpoint's second.
  enum class Values : uint8_t { kAtOnce, kWhenAsked };
  explicit Tape(Values values = Values::kAtOnce);
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  // The tape that records in this thread, or nullptr.
  static Tape* Current();

  // A variable that is nobody's result. on_grad is called once, when its gradient is complete; not at all when nothing
  // on the way to Backward's y used it.
  Variable Leaf(Tensor value, absl::AnyInvocable<void(Tensor grad)> on_grad);

  // Propagates dy, of y's shape, to every leaf and parameter that y depends on. Consumes the tape: each record and its
  // saved tensors die as it passes, and y's value at once if nobody else has it. The tape may record anew afterwards.
  void Backward(Variable y, Tensor dy);

  // Bytes of saved tensors that this tape keeps alive; memory that several records share counts once.
  int64_t saved_bytes() const;
  int64_t num_records() const { return static_cast<int64_t>(entries_.size()); }
  // One line per op: how often, how many saved bytes. Sorted by bytes.
  std::string Report() const;

  // Suspends recording in this thread while alive.
  class Pause {
   public:
    Pause();
    ~Pause();
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

   private:
    Tape* resumed_;
  };

  // The ways to put a record on a tape; ops use the free functions below. Append records although no input may need a
  // gradient: Checkpoint asks for that, for the parameters used inside.
  std::vector<Variable> Append(const char* op, absl::Span<const Variable> inputs, absl::Span<const Variable> values,
                               std::vector<SavedValue> saved, BackwardManyFn rule);
  Variable UseParameter(Parameter& p, DType dtype);
  Values values() const { return values_; }

 private:
  friend class GradSink;
  struct Entry {
    const char* op;
    std::vector<int> inputs;
    std::vector<SavedValue> saved;
    BackwardManyFn rule;  // null for the second and later values of a record, and for parameters
    int values;           // slots this record fills, from its own on
    Shape shape;          // of this slot's value, and so of its gradient
    DType dtype;
    Device device;
    Parameter* parameter;  // the gradient goes here directly
  };
  std::string HolderReport() const override;
  Variable Push(Entry entry, Variable value);
  std::vector<Tensor> TakeGrads(std::vector<Tensor>& grads, size_t slot, int values);

  std::vector<Entry> entries_;
  std::map<std::pair<const Parameter*, DType>, Variable> parameters_;
  const Values values_;
  Tape* outer_;
};

// The parameter as a variable in `dtype` (default: its own): on the current tape when it is trainable, else a constant.
// Its gradient is summed into p.grad in p.value's dtype.
Variable Use(Parameter& p);
Variable Use(Parameter& p, DType dtype);

// How many trainable parameters were read by Use in this thread while nothing recorded.
int64_t UnrecordedParameterReads();

// The one way to be differentiable: `value` was computed from `inputs`, `rule` turns its gradient into theirs. Returns
// a constant when nothing records or no input needs a gradient.
Variable Record(const char* op, absl::Span<const Variable> inputs, Tensor value,
                std::initializer_list<SavedValue> saved, BackwardFn rule);
// The same for a value that the rule does not need and that takes a pass or more to make. `make` may hold the inputs.
Variable Record(const char* op, absl::Span<const Variable> inputs, Deferred value,
                std::initializer_list<SavedValue> saved, BackwardFn rule);
// Several values with one rule that gets all their gradients.
std::vector<Variable> RecordMany(const char* op, absl::Span<const Variable> inputs, absl::Span<const Tensor> values,
                                 std::initializer_list<SavedValue> saved, BackwardManyFn rule);

}  // namespace lorikeet

#endif  // LORIKEET_AUTOGRAD_TAPE_H_
