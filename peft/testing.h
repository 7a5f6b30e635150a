// What the tests of adapters share: a tiny model with the names of a Llama, a map's parameters by name, and a source of
// tensors that are in memory.
#ifndef LORIKEET_PEFT_TESTING_H_
#define LORIKEET_PEFT_TESTING_H_

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "autograd/parameter.h"
#include "nn/dense_map.h"
#include "nn/linear_map.h"
#include "nn/module.h"
#include "tensor/io/tensor_source.h"
#include "tensor/ops/testing.h"
#include "tensor/tensor.h"

namespace lorikeet {

class LeafCollector : public Visitor {
 public:
  std::map<std::string, Parameter*> leaves;

 protected:
  void VisitLeaf(absl::string_view name, Parameter& p) override { leaves[std::string(name)] = &p; }
};

inline std::map<std::string, Parameter*> LeavesOf(LinearMap& map) {
  LeafCollector collect;
  map.Visit(collect);
  return collect.leaves;
}
inline std::map<std::string, Parameter*> LeavesOf(Module& module) {
  LeafCollector collect;
  module.Visit(collect);
  return collect.leaves;
}

inline std::unique_ptr<LinearMap> RandomBase(int64_t in, int64_t out, DType dtype, uint32_t seed) {
  return std::make_unique<DenseMap>(tensor::RandomTensor({out, in}, dtype, seed, -1, 1));
}

// The same bits, whatever the dtype.
inline bool SameBytes(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::memcmp(a.Contiguous().raw(), b.Contiguous().raw(), static_cast<size_t>(a.nbytes())) == 0;
}

// model.embed_tokens, model.layers.{0,1}.{self_attn.{q,v}_proj, mlp.up_proj}, model.norm.weight and, unless tied,
// lm_head; hidden size 6.
class TinyModel : public Module {
 public:
  explicit TinyModel(bool tied = false, DType dtype = DType::kF32, bool trainable = false) : tied_(tied) {
    uint32_t seed = 1;
    const auto fill = [&](MapSlot& s) {
      const Tensor w = tensor::RandomTensor({s.out_features, s.in_features}, dtype, seed++, -1, 1);
      s.map = std::make_unique<DenseMap>(Parameter{.name = "", .value = w, .trainable = trainable});
    };
    fill(embed_);
    for (MapSlot& s : linear_) fill(s);
    fill(head_);
    norm_ = {.name = "", .value = Tensor::Full({6}, 1, DType::kF32), .trainable = true};
  }
  void Visit(Visitor& v) override {
    v.Slot("model.embed_tokens", embed_);
    for (int layer = 0; layer < 2; ++layer) {
      v.Scope(absl::StrCat("model.layers.", layer), [&] {
        v.Slot("self_attn.q_proj", linear_[3 * layer]);
        v.Slot("self_attn.v_proj", linear_[3 * layer + 1]);
        v.Slot("mlp.up_proj", linear_[3 * layer + 2]);
      });
    }
    v.Leaf("model.norm.weight", norm_);
    if (!tied_) v.Slot("lm_head", head_);
  }
  // q, v, up of layer 0, then of layer 1.
  LinearMap& linear(int i) { return *linear_[i].map; }
  LinearMap& head() { return *head_.map; }

 private:
  bool tied_;
  MapSlot embed_{6, 11, nullptr, /*embedding=*/true};
  MapSlot linear_[6] = {{6, 6}, {6, 4}, {6, 9}, {6, 6}, {6, 4}, {6, 9}};
  MapSlot head_{6, 11};
  Parameter norm_;
};

class MemorySource : public TensorSource {
 public:
  void Add(const std::string& name, const Tensor& t) {
    infos_.push_back({name, absl::AsciiStrToUpper(Name(t.dtype())), t.shape(), t.nbytes()});
    values_.push_back(t);
  }
  const std::vector<TensorInfo>& tensors() const override { return infos_; }
  const TensorInfo* Find(absl::string_view name) const override {
    for (const TensorInfo& i : infos_) {
      if (i.name == name) return &i;
    }
    return nullptr;
  }
  absl::StatusOr<Tensor> Read(absl::string_view name) const override {
    const TensorInfo* info = Find(name);
    if (info == nullptr) return absl::NotFoundError(absl::StrCat("memory: no tensor ", name));
    return values_[static_cast<size_t>(info - infos_.data())];
  }
  const std::string& where() const override { return where_; }

 private:
  std::vector<TensorInfo> infos_;
  std::vector<Tensor> values_;
  std::string where_ = "memory";
};

}  // namespace lorikeet

#endif  // LORIKEET_PEFT_TESTING_H_
