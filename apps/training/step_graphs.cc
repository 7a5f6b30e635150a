#include "apps/training/step_graphs.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "tensor/ops/copy.h"

namespace lorikeet {
namespace {

int64_t RoundUp(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

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

StepGraphs::StepGraphs(std::vector<Parameter*> parameters, Pass pass, size_t max_graphs)
    : parameters_(std::move(parameters)), pass_(std::move(pass)), max_graphs_(max_graphs) {}

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
    if (!zero_->Capture(zero)) return zero();
  }
  zero_->Launch();
}

int64_t StepGraphs::Tokens(int64_t tokens) {
  const int64_t below = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(std::max<int64_t>(tokens, 1))));
  return RoundUp(tokens, std::max<int64_t>(64, below / 8));
}
int64_t StepGraphs::Sequences(int64_t sequences) {
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(sequences, 16))));
}
int64_t StepGraphs::AnswerUnit(int64_t tokens) { return std::max<int64_t>(64, RoundUp(tokens / 4, 64)); }

bool StepGraphs::Capturable(const MicroBatch& batch) const {
  return batch.answers.rows.size() > 0 &&
         std::all_of(parameters_.begin(), parameters_.end(), [](Parameter* p) { return p->grad.defined(); });
}

std::vector<const void*> StepGraphs::Addresses() const {
  std::vector<const void*> out;
  for (const Parameter* p : parameters_) {
    out.push_back(p->value.raw());
    out.push_back(p->grad.raw());
  }
  return out;
}

// With the last graph goes its memory.
void StepGraphs::DropGraphs() {
  shapes_.clear();
  zero_.reset();
  most_tokens_ = 0;
}

StepGraphs::Shape& StepGraphs::ShapeFor(const Key& key) {
  const auto found = shapes_.find(key);
  if (found != shapes_.end()) return found->second;
  // A larger shape's tensors would not fit where smaller ones lie, and lie beside them.
  if (std::get<0>(key) > most_tokens_) DropGraphs();
  most_tokens_ = std::max(most_tokens_, std::get<0>(key));
  if (shapes_.size() >= max_graphs_) {
    shapes_.erase(std::min_element(shapes_.begin(), shapes_.end(),
                                   [](const auto& a, const auto& b) { return a.second.used < b.second.used; }));
  }
  return shapes_[key];
}

bool StepGraphs::Capture(const MicroBatch& batch, Shape* shape) {
  if (shape->graph == nullptr) shape->batch = Clone(batch);
  shape->losses = {};
  shape->graph = std::make_unique<CudaGraph>();
  return shape->graph->Capture([&] { shape->losses = pass_(shape->batch); });
}

RowLosses StepGraphs::Run(const MicroBatch& batch) {
  const Key key(batch.inputs.tokens.size(), batch.inputs.cu_seqlens.size(), batch.answers.rows.size());
  const bool first = seen_.insert(key).second;
  if (first || !Capturable(batch)) return pass_(batch);
  if (std::vector<const void*> now = Addresses(); now != addresses_) {
    DropGraphs();
    addresses_ = std::move(now);
  }
  Shape& shape = ShapeFor(key);
  const bool ready = shape.graph != nullptr && shape.graph->valid();
  if (!ready && !Capture(batch, &shape)) return pass_(batch);
  CopyInto(batch, &shape.batch);
  shape.graph->Launch();
  shape.used = ++launches_;
  return {shape.losses.losses.Clone(), shape.losses.correct.Clone()};  // the next launch overwrites them
}

}  // namespace lorikeet
