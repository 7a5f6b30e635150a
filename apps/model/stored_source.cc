#include "apps/model/stored_source.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "autograd/parameter.h"
#include "nn/linear_map.h"
#include "tensor/check.h"
#include "tensor/io/safetensors_header.h"

namespace lorikeet {

class StoredSource::Collect : public Visitor {
 public:
  // `original` may be null: then every parameter gets `dtype`.
  Collect(StoredSource& to, DType dtype, const TensorSource* original) : to_(to), dtype_(dtype), original_(original) {}

 protected:
  void VisitLeaf(absl::string_view name, Parameter& p) override {
    DType dtype = dtype_;
    if (original_ != nullptr) {
      LORIKEET_CHECK(SafetensorsDType(Original(name).stored_type, &dtype)) << std::string(name);
    }
    Add(name, turned_ == name ? p.value.Transpose(0, 1) : p.value, dtype);
  }
  // What is packed is stored as [out, in] in any case.
  void VisitSlot(absl::string_view name, MapSlot& slot) override {
    if (slot.transposed) turned_ = absl::StrCat(name, ".weight");
    Visitor::VisitSlot(name, slot);
    turned_.clear();
  }
  void VisitBuffer(absl::string_view name, Tensor& t, int64_t) override { Add(name, t, t.dtype()); }

 private:
  const TensorInfo& Original(absl::string_view name) const {
    const TensorInfo* info = original_->Find(name);
    LORIKEET_CHECK(info != nullptr) << original_->where() << " has no " << std::string(name);
    return *info;
  }
  void Add(absl::string_view name, const Tensor& t, DType dtype) {
    TensorInfo info{std::string(name), SafetensorsName(dtype), t.shape(),
                    t.size() * static_cast<int64_t>(SizeOf(dtype))};
    if (original_ != nullptr) info.shard = Original(name).shard;
    const bool added = to_.index_.Add(std::move(info));
    LORIKEET_CHECK(added) << "two tensors are called " << std::string(name);
    to_.values_.push_back({t, dtype});
  }
  StoredSource& to_;
  const DType dtype_;
  const TensorSource* const original_;
  std::string turned_;  // the dense weight that a checkpoint holds transposed
};

StoredSource::StoredSource(Module& model, DType dtype) {
  Collect collect(*this, dtype, nullptr);
  model.Visit(collect);
}

StoredSource::StoredSource(Module& model, const TensorSource& original) {
  Collect collect(*this, DType::kF32, &original);
  model.Visit(collect);
}

absl::StatusOr<Tensor> StoredSource::Read(absl::string_view name) const {
  const TensorInfo* info = index_.Find(name);
  if (info == nullptr) return index_.NoSuchTensor(name, where_);
  const Value& value = values_[index_.PositionOf(info)];
  return value.tensor.Cast(value.dtype).Contiguous();
}

}  // namespace lorikeet
