#include "nn/linear_cross_entropy.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "autograd/parameter.h"
#include "autograd/tape.h"
#include "nn/module.h"
#include "tensor/check.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/cross_entropy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/gather.h"

namespace lorikeet {
namespace {

// The rows that have a target, and their targets.
struct Answers {
  Tensor rows;     // i32 [n]
  Tensor targets;  // i32 [n]
};

Answers FindAnswers(const Tensor& targets) {
  std::vector<int32_t> rows, kept;
  const absl::Span<const int32_t> all = targets.data<int32_t>();
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i] < 0) continue;
    rows.push_back(static_cast<int32_t>(i));
    kept.push_back(all[i]);
  }
  const int64_t n = static_cast<int64_t>(rows.size());
  return {Tensor::From<int32_t>(rows, {n}), Tensor::From<int32_t>(kept, {n})};
}

// Parameters of the head, collected so that their gradients can be kept apart until Backward.
class CollectTrainable : public Visitor {
 public:
  std::vector<Parameter*> parameters;

 protected:
  void VisitLeaf(absl::string_view, Parameter& p) override {
    if (p.trainable) parameters.push_back(&p);
  }
};

void Count(const tensor::CrossEntropyResult& r, LossCounts* counts) {
  const Tensor losses = r.losses.Cast(DType::kF64);
  for (double loss : losses.data<double>()) counts->loss_sum += loss;
  for (int32_t hit : r.correct.data<int32_t>()) counts->correct += hit;
  counts->tokens += losses.size();
}

// scale*(softmax - onehot) of one chunk, in the compute dtype; in place of the logits where that is theirs.
Tensor LogitsGrad(const Tensor& logits, const Tensor& targets, DType dtype, const LinearCrossEntropyOptions& o,
                  LossCounts* counts) {
  Tensor dlogits = dtype == logits.dtype() ? logits : Tensor::Empty(logits.shape(), dtype, logits.device());
  Count(tensor::CrossEntropyInto(logits, targets, o.scale, o.softcap, dlogits), counts);
  return dlogits;
}

// The wide dtype that logits and the loss are kept in.
DType LossDType(DType compute) { return compute == DType::kF64 ? DType::kF64 : DType::kF32; }

// Loss of every chunk; with `dh` also the gradient of the rows, [n, hidden], through a frozen head.
void FrozenHead(const Tensor& h, LinearMap& head, const Answers& answers, const LinearCrossEntropyOptions& o,
                Tensor* dh, LossCounts* counts) {
  for (int64_t begin = 0; begin < h.dim(0); begin += o.chunk) {
    const int64_t end = std::min(begin + o.chunk, h.dim(0));
    Tensor logits = Tensor::Empty({end - begin, head.out_features()}, LossDType(h.dtype()), h.device());
    head.Forward(h.Slice(0, begin, end), logits, {});
    const Tensor targets = answers.targets.Slice(0, begin, end);
    if (dh == nullptr) {
      Count(tensor::CrossEntropy(logits, targets, o.softcap), counts);
      continue;
    }
    Tensor part = dh->Slice(0, begin, end);
    head.InputGrad(LogitsGrad(logits, targets, h.dtype(), o, counts), part, {});
  }
}

// The same through a head that trains: its parameters' gradients are left in them.
void TrainableHead(const Tensor& h, LinearMap& head, const Answers& answers, const LinearCrossEntropyOptions& o,
                   Tensor* dh, LossCounts* counts) {
  for (int64_t begin = 0; begin < h.dim(0); begin += o.chunk) {
    const int64_t end = std::min(begin + o.chunk, h.dim(0));
    Tensor part = dh->Slice(0, begin, end);
    Tape tape;
    const Variable x = tape.Leaf(h.Slice(0, begin, end), [&](Tensor g) { tensor::CopyInto(g, part); });
    const Variable y = head.Apply(x);
    const Tensor logits = y.value().Cast(LossDType(h.dtype()));
    tape.Backward(y, LogitsGrad(logits, answers.targets.Slice(0, begin, end), h.dtype(), o, counts));
  }
}

}  // namespace

Variable LinearCrossEntropy(const Variable& h, LinearMap& head, const Tensor& targets,
                            const LinearCrossEntropyOptions& o, LossCounts* counts) {
  LORIKEET_CHECK(h.value().rank() == 2 && targets.shape() == (Shape{h.value().dim(0)}) &&
                 targets.dtype() == DType::kI32)
      << "LinearCrossEntropy: h is " << Describe(h.value()) << ", targets " << Describe(targets)
      << ", expected [tokens,hidden] and i32[tokens]";
  const Answers answers = FindAnswers(targets);
  const Tensor rows = tensor::GatherRows(h.value(), answers.rows);
  LossCounts own;
  std::vector<Parameter*> parameters;
  std::vector<Tensor> held;
  Tensor dh;
  const bool recording = Tape::Current() != nullptr && (h.needs_grad() || !head.frozen());
  if (recording) dh = Tensor::Empty(rows.shape(), rows.dtype(), rows.device());
  if (recording && !head.frozen()) {
    CollectTrainable collect;
    head.Visit(collect);
    parameters = collect.parameters;
    for (Parameter* p : parameters) held.push_back(std::exchange(p->grad, Tensor()));
    TrainableHead(rows, head, answers, o, &dh, &own);
    for (size_t i = 0; i < parameters.size(); ++i) std::swap(parameters[i]->grad, held[i]);
  } else {
    FrozenHead(rows, head, answers, o, recording ? &dh : nullptr, &own);
  }
  if (counts != nullptr) *counts = own;
  const Tensor loss = Tensor::Scalar(own.loss_sum * o.scale, LossDType(h.dtype()));
  if (!recording) return Variable(loss);
  std::vector<SavedValue> saved = {dh, answers.rows};
  saved.insert(saved.end(), held.begin(), held.end());
  BackwardManyFn rule = [parameters, shape = h.shape()](absl::Span<Tensor> saved, absl::Span<const Tensor> dys,
                                                        GradSink& grad) {
    const double dy = dys[0].item();
    if (grad.wants(0)) {
      Tensor dx = Tensor::Zeros(shape, saved[0].dtype(), saved[0].device());
      const absl::Span<const int32_t> rows = saved[1].data<int32_t>();
      for (size_t i = 0; i < rows.size(); ++i) {
        Tensor row = dx.Slice(0, rows[i], rows[i] + 1);
        tensor::CopyInto(saved[0].Slice(0, static_cast<int64_t>(i), static_cast<int64_t>(i) + 1), row);
      }
      if (dy != 1) tensor::ScaleInPlace(dx, dy);
      grad.Add(0, dx);
    }
    for (size_t i = 0; i < parameters.size(); ++i) {
      Tensor& g = saved[i + 2];
      if (!g.defined()) continue;
      if (parameters[i]->grad.defined()) {
        tensor::AddInPlace(parameters[i]->grad, g, dy);
      } else {
        if (dy != 1) tensor::ScaleInPlace(g, dy);
        parameters[i]->grad = g;
      }
    }
  };
  return Tape::Current()->Append("LinearCrossEntropy", {h}, {loss}, std::move(saved), std::move(rule))[0];
}

}  // namespace lorikeet
