#include "apps/model/random_weights.h"

#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "autograd/parameter.h"
#include "nn/linear_map.h"
#include "nn/module.h"
#include "tensor/dtype.h"
#include "tensor/ops/random.h"
#include "tensor/shape.h"

namespace lorikeet {
namespace {

// Every parameter of a model, those of its empty slots too.
class ListWeights : public Visitor {
 public:
  explicit ListWeights(TensorIndex* index) : index_(index) {}

 protected:
  void VisitLeaf(absl::string_view name, Parameter& p) override { Add(std::string(name), p.value.shape()); }
  void VisitSlot(absl::string_view name, MapSlot& slot) override {
    Add(absl::StrCat(name, ".weight"), slot.stored_shape());
  }

 private:
  void Add(std::string name, const Shape& shape) {
    index_->Add({std::move(name), "F32", shape, shape.size() * static_cast<int64_t>(sizeof(float))});
  }
  TensorIndex* index_;
};

}  // namespace

RandomWeights::RandomWeights(CausalLm& model, RngKey key) : key_(key), num_layers_(model.config().num_layers) {
  ListWeights list(&index_);
  model.Visit(list);
}

absl::StatusOr<Tensor> RandomWeights::Read(absl::string_view name) const {
  const TensorInfo* info = Find(name);
  if (info == nullptr) return index_.NoSuchTensor(name, where_);
  if (info->shape.rank() == 1) return Tensor::Full(info->shape, absl::EndsWith(name, ".bias") ? 0 : 1, DType::kF32);
  const bool residual = absl::EndsWith(name, "o_proj.weight") || absl::EndsWith(name, "down_proj.weight") ||
                        absl::EndsWith(name, "c_proj.weight");
  const double std = residual ? 0.02 / std::sqrt(2.0 * static_cast<double>(num_layers_)) : 0.02;
  return tensor::Normal(info->shape, 0, std, key_.Fold(index_.PositionOf(info)), DType::kF32);
}

}  // namespace lorikeet
