#include "apps/model/stored_source.h"

#include "absl/strings/str_cat.h"
#include "autograd/parameter.h"
#include "nn/linear_map.h"
#include "tensor/check.h"
#include "tensor/io/safetensors_header.h"

namespace lorikeet {

class StoredSource::Collect : public Visitor {
 public:
  Collect(StoredSource& to, DType dtype) : to_(to), dtype_(dtype) {}

 protected:
  void VisitLeaf(absl::string_view name, Parameter& p) override {
    const bool turned = turned_ == name;
    Add(name, turned ? p.value.Transpose(0, 1) : p.value, dtype_);
  }
  // What is packed is stored as [out, in] in any case.
  void VisitSlot(absl::string_view name, MapSlot& slot) override {
    if (slot.transposed) turned_ = absl::StrCat(name, ".weight");
    Visitor::VisitSlot(name, slot);
    turned_.clear();
  }
  void VisitBuffer(absl::string_view name, Tensor& t, int64_t) override { Add(name, t, t.dtype()); }

 private:
  void Add(absl::string_view name, const Tensor& t, DType dtype) {
    const int64_t bytes = t.size() * static_cast<int64_t>(SizeOf(dtype));
    const bool added = to_.index_.Add({std::string(name), SafetensorsName(dtype), t.shape(), bytes});
    LORIKEET_CHECK(added) << "two tensors are called " << std::string(name);
    to_.values_.push_back({t, dtype});
  }
  StoredSource& to_;
  const DType dtype_;
  std::string turned_;  // the dense weight that a checkpoint holds transposed
};

StoredSource::StoredSource(Module& model, DType dtype) {
  Collect collect(*this, dtype);
  model.Visit(collect);
}

absl::StatusOr<Tensor> StoredSource::Read(absl::string_view name) const {
  const TensorInfo* info = index_.Find(name);
  if (info == nullptr) return index_.NoSuchTensor(name, where_);
  const Value& value = values_[index_.PositionOf(info)];
  return value.tensor.Cast(value.dtype).Contiguous();
}

}  // namespace lorikeet
