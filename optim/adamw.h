// AdamW over a paged state (Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019), with
// torch.optim.AdamW's arithmetic: tensor/kernels/adamw.h has the formulas.
//
//   std::vector<Parameter*> parameters = ...;                                  // the trainable ones
//   auto store = std::make_unique<ResidentStore>(StateElements(parameters));   // or a PagedStore; f32 or u8
//   AdamW optimizer(parameters, {.weight_decay = 0.01}, std::move(store));
//   ... backward ...
//   absl::Status done = optimizer.Step(schedule.Rate(optimizer.steps()));
//
// The flat space of the state: parameter after parameter in the order given, each beginning with a block of its own; so
// the order is part of the state's meaning, and saved state goes by name instead. A step walks the pages forwards if it
// is odd, backwards if it is even: what the last step left in memory comes first. Two stores of one dtype give the same
// bits.
// A store of u8 makes it 8-bit AdamW (Dettmers et al., 2022): moments are kept in blocks of 256 codes and a scale
// (optim/adamw8.h), 2.03 bytes an element in place of 8. As in bitsandbytes, parameters of fewer than kMin8BitSize
// elements keep float32 moments, in the same store, 65 to a block.
// A step is done as a whole or not at all: an error from Step means that neither parameters, moments nor steps() have
// changed. One exception, which no check beforehand can rule out: a page that was whole when the step began and is lost
// before the walk gets to it. That error says so, and every later call on the optimizer returns it, so that half a step
// is never saved; go back to the last checkpoint.
// Parameters without a gradient are left alone, moments too, as torch leaves those whose grad is None; there is one
// step count for all, though. Ownership: parameters and their gradients are the caller's and outlive the optimizer.
// Values and gradients are f32, or on the CPU all f64, contiguous values on the store's device (8-bit moments: f32).
// Threads: one caller at a time.
#ifndef LORIKEET_OPTIM_ADAMW_H_
#define LORIKEET_OPTIM_ADAMW_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "autograd/parameter.h"
#include "optim/state_store.h"
#include "tensor/dtype.h"
#include "tensor/kernels/adamw.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {

// What may differ from parameter to parameter.
struct AdamWGroup {
  double lr_scale = 1;  // on the rate given to Step: LoRA+ gives B a larger one
  double weight_decay = 0;
};

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  // Asked once for each parameter. Empty: {1, weight_decay} for all.
  std::function<AdamWGroup(const Parameter&)> group = nullptr;
};

inline constexpr int64_t kMin8BitSize = 4096;

// Elements of a store of this dtype that these parameters need.
int64_t StateElements(absl::Span<Parameter* const> parameters, DType store = DType::kF32);

// One saved tensor of the state: "exp_avg.NAME" or "exp_avg_sq.NAME", of the parameter's shape, in the store's dtype.
// In 8 bits it is u8 [blocks, 260], or f32 of the parameter's shape for a small parameter.
struct StateTensor {
  std::string name;
  Shape shape;
  DType dtype = DType::kF32;
};

class AdamW {
 public:
  // store->elements() == StateElements(parameters, store->dtype()), zeros.
  AdamW(std::vector<Parameter*> parameters, AdamWOptions options, std::unique_ptr<StateStore> store);

  // The gradients are taken times `grad_scale`, ClipFactor's (optim/clip.h).
  absl::Status Step(double lr, double grad_scale = 1);
  // The same with the first number of `gate`, f64 on the store's device, which the device reads (optim/update_gate.h):
  // NaN leaves everything as it is. Such steps count until UndoStepCount says how many of the last ones there were.
  absl::Status Step(double lr, const Tensor& gate);
  void UndoStepCount(int64_t steps);
  int64_t steps() const { return steps_; }  // taken so far
  const StateStore& store() const { return *store_; }

  // The state by name, in pieces of at most a page: no tensor of it is ever whole in memory. Saving visits the tensors
  // in StateTensors()' order and the elements of each in ascending order; `values` [n] on the CPU are the elements
  // [begin, begin + n) of the tensor in row-major order. An error of `write` ends the visit and is returned.
  std::vector<StateTensor> StateTensors() const;
  using WriteState = absl::FunctionRef<absl::Status(const StateTensor&, int64_t begin, const Tensor& values)>;
  absl::Status SaveState(WriteState write);

  // The reverse, in the same order: `read` returns elements [begin, end), of any float dtype, or u8 for u8. If it
  // fails, the state is unusable until a LoadState succeeds.
  using ReadState = absl::FunctionRef<absl::StatusOr<Tensor>(const StateTensor&, int64_t begin, int64_t end)>;
  absl::Status LoadState(int64_t steps, ReadState read);

 private:
  struct Slice {  // of one parameter, in one page
    int parameter;
    int64_t begin, end;  // elements of the parameter
    int64_t offset;      // of `begin` in the page, in the store's elements
  };
  struct Segments {
    std::vector<AdamWSegment> full, in_8_bits;  // each kind has its kernel
  };
  std::vector<Slice> SlicesOf(int page) const;
  std::vector<int> Walk() const;
  absl::Status Update(double lr, double grad_scale, const double* gate);
  Segments SegmentsOf(const StatePage& state, int page, double lr) const;
  void UpdatePage(const StatePage& state, int page, double lr, const AdamWStep& step) const;
  // Calls f(piece, its first element) for all of StateTensors()[tensor], in pieces that lie in one page each.
  absl::Status VisitMoment(int tensor, bool modify, absl::FunctionRef<absl::Status(View, int64_t begin)> f);

  std::vector<Parameter*> parameters_;
  AdamWOptions options_;
  std::vector<AdamWGroup> groups_;
  std::vector<int64_t> begins_;  // of each parameter in the store's elements, and the end
  std::unique_ptr<StateStore> store_;
  int64_t steps_ = 0;
  absl::Status damage_;
};

}  // namespace lorikeet

#endif  // LORIKEET_OPTIM_ADAMW_H_
