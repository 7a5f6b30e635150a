#include "apps/training/step_graphs.h"

#include <algorithm>
#include <utility>

#include "tensor/ops/copy.h"

namespace lorikeet {
namespace {

MicroBatch Clone(const MicroBatch& b) {
  return {{b.inputs.tokens.Clone(), b.inputs.positions.Clone(), b.inputs.cu_seqlens.Clone()},
          {b.answers.rows.Clone(), b.answers.targets.Clone(), b.answers.place.Clone(), b.answers.scale.Clone()},
          b.key.defined() ? b.key.Clone() : Tensor()};
}

void CopyInto(const MicroBatch& from, MicroBatch* to) {
  tensor::CopyInto(from.inputs.tokens, to->inputs.tokens);
  tensor::CopyInto(from.inputs.positions, to->inputs.positions);
  tensor::CopyInto(from.inputs.cu_seqlens, to->inputs.cu_seqlens);
  tensor::CopyInto(from.answers.rows, to->answers.rows);
  tensor::CopyInto(from.answers.targets, to->answers.targets);
  tensor::CopyInto(from.answers.place, to->answers.place);
  tensor::CopyInto(from.answers.scale, to->answers.scale);
  if (from.key.defined()) tensor::CopyInto(from.key, to->key);
}

}  // namespace

StepGraphs::StepGraphs(std::vector<Parameter*> parameters, Pass pass)
    : parameters_(std::move(parameters)), pass_(std::move(pass)) {}

// The handles go to the parameters and come back: a gradient that somebody else holds would not be added to in place.
void StepGraphs::BeginStep() {
  if (gradients_.empty()) return;  // the first step makes them
  for (size_t i = 0; i < parameters_.size(); ++i) parameters_[i]->grad = std::move(gradients_[i]);
  gradients_.clear();
  ZeroGradients();
}

void StepGraphs::EndStep() {
  for (Parameter* p : parameters_) gradients_.push_back(std::exchange(p->grad, Tensor()));
}

// As many launches as there are parameters: captured too, by the second step that needs them.
void StepGraphs::ZeroGradients() {
  const auto zero = [&] {
    for (Parameter* p : parameters_) {
      if (p->grad.defined()) tensor::FillInPlace(p->grad, 0);
    }
  };
  const bool all = std::all_of(parameters_.begin(), parameters_.end(), [](Parameter* p) { return p->grad.defined(); });
  if (!all) return zero();
  if (zero_ == nullptr || !zero_->valid()) {
    zero_ = std::make_unique<CudaGraph>();
    zero_->Capture(zero);
  }
  zero_->Launch();
}

bool StepGraphs::Capturable(const MicroBatch& batch) const {
  return batch.answers.rows.size() > 0 &&
         std::all_of(parameters_.begin(), parameters_.end(), [](Parameter* p) { return p->grad.defined(); });
}

void StepGraphs::Capture(const MicroBatch& batch, Shape* shape) {
  if (shape->graph == nullptr) shape->batch = Clone(batch);
  shape->graph = std::make_unique<CudaGraph>();
  shape->graph->Capture([&] { shape->losses = pass_(shape->batch); });
}

RowLosses StepGraphs::Run(const MicroBatch& batch) {
  const Key key(batch.inputs.tokens.size(), batch.inputs.cu_seqlens.size(), batch.answers.rows.size());
  const auto found = shapes_.find(key);
  if (found == shapes_.end() && shapes_.size() >= kMaxGraphs) return pass_(batch);
  Shape& shape = found == shapes_.end() ? shapes_[key] : found->second;
  if (!std::exchange(shape.seen, true) || !Capturable(batch)) return pass_(batch);
  if (shape.graph == nullptr || !shape.graph->valid()) Capture(batch, &shape);
  CopyInto(batch, &shape.batch);
  shape.graph->Launch();
  ++launches_;
  return {shape.losses.losses.Clone(), shape.losses.correct.Clone()};  // the next launch overwrites them
}

}  // namespace lorikeet
