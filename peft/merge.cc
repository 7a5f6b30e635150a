#include "peft/merge.h"

#include <memory>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "nn/dense_map.h"
#include "peft/adapter_map.h"
#include "peft/trainable_tokens_map.h"

namespace lorikeet {
namespace {

class Merger : public Visitor {
 public:
  int count = 0;

 protected:
  void VisitSlot(absl::string_view name, MapSlot& slot) override {
    if (!IsAdapted(*slot.map)) return;
    count += dynamic_cast<const AdapterMap*>(slot.map.get()) != nullptr ? 1 : 0;
    slot.map = std::make_unique<DenseMap>(
        Parameter{.name = absl::StrCat(name, ".weight"), .value = slot.map->Dense(), .trainable = false});
  }
};

}  // namespace

int Merge(Module& model) {
  Merger merger;
  model.Visit(merger);
  return merger.count;
}

bool IsAdapted(const LinearMap& map) {
  return dynamic_cast<const AdapterMap*>(&map) != nullptr || dynamic_cast<const TrainableTokensMap*>(&map) != nullptr;
}

Tensor MergedWeight(const LinearMap& map, DType dtype) {
  if (const auto* adapter = dynamic_cast<const AdapterMap*>(&map)) return adapter->Merged().Cast(dtype);
  if (const auto* tokens = dynamic_cast<const TrainableTokensMap*>(&map)) return tokens->Merged().Cast(dtype);
  return map.Dense().Cast(dtype);
}

class MergedSource::Collect : public Visitor {
 public:
  explicit Collect(MergedSource& to) : to_(to) {}

 protected:
  void VisitLeaf(absl::string_view name, Parameter& p) override {
    Add(std::string(name), p.value.shape(), {.parameter = &p});
  }
  // Does not descend: what the map is made of is not part of the merged model.
  void VisitSlot(absl::string_view name, MapSlot& slot) override {
    Add(absl::StrCat(name, ".weight"), slot.stored_shape(), {.slot = &slot});
  }

 private:
  void Add(std::string name, const Shape& shape, Origin origin) {
    const int64_t bytes = shape.size() * static_cast<int64_t>(SizeOf(to_.dtype_));
    to_.infos_.push_back({std::move(name), absl::AsciiStrToUpper(Name(to_.dtype_)), shape, bytes});
    to_.origins_.push_back(origin);
  }
  MergedSource& to_;
};

MergedSource::MergedSource(Module& model, DType dtype) : dtype_(dtype) {
  Collect collect(*this);
  model.Visit(collect);
}

const TensorInfo* MergedSource::Find(absl::string_view name) const {
  for (const TensorInfo& info : infos_) {
    if (info.name == name) return &info;
  }
  return nullptr;
}

absl::StatusOr<Tensor> MergedSource::Read(absl::string_view name) const {
  const TensorInfo* info = Find(name);
  if (info == nullptr) return absl::NotFoundError(absl::StrCat(where_, " has no tensor ", name));
  const Origin& origin = origins_[static_cast<size_t>(info - infos_.data())];
  if (origin.slot == nullptr) return origin.parameter->value.Cast(dtype_);
  return origin.slot->Turned(MergedWeight(*origin.slot->map, dtype_));
}

}  // namespace lorikeet
