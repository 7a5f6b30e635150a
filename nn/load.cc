#include "nn/load.h"

#include <functional>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nn/dense_map.h"
#include "nn/models/gemma.h"
#include "nn/models/gpt2.h"
#include "nn/models/llama.h"
#include "nn/models/phi3.h"
#include "nn/module.h"
#include "nn/nearest_names.h"
#include "tensor/check.h"

namespace lorikeet {
namespace {

template <typename Model>
std::unique_ptr<CausalLm> Make(const ModelConfig& config, DType dtype) {
  return std::make_unique<Model>(config, dtype);
}

struct Architecture {
  const char* model_type;
  std::unique_ptr<CausalLm> (*make)(const ModelConfig&, DType);
  const char* body = "model.";  // what all names but the head's begin with
};

constexpr Architecture kArchitectures[] = {
    {"gemma2", Make<Gemma>}, {"gemma3_text", Make<Gemma>}, {"gpt2", Make<Gpt2>, "transformer."},
    {"llama", Make<Llama>},  {"mistral", Make<Llama>},     {"phi3", Make<Phi3>},
    {"qwen2", Make<Llama>},  {"qwen3", Make<Llama>},
};

const Architecture& ArchitectureOf(const ModelConfig& config) {
  for (const Architecture& a : kArchitectures) {
    if (config.model_type == a.model_type) return a;
  }
  LORIKEET_CHECK(false) << "model_type " << config.model_type << " passed validation but has no row";
  return kArchitectures[0];
}

constexpr absl::string_view kHead = "lm_head.";

// A checkpoint of a body under the names of the whole model.
class BodySource : public TensorSource {
 public:
  BodySource(std::unique_ptr<TensorSource> body, absl::string_view prefix) : body_(std::move(body)) {
    for (const TensorInfo& t : body_->tensors()) {
      names_[absl::StrCat(prefix, t.name)] = tensors_.size();
      tensors_.push_back(t);
      tensors_.back().name = absl::StrCat(prefix, t.name);
    }
  }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const TensorInfo* Find(absl::string_view name) const override {
    const auto it = names_.find(name);
    return it == names_.end() ? nullptr : &tensors_[it->second];
  }
  absl::StatusOr<Tensor> Read(absl::string_view name) const override {
    const auto it = names_.find(name);
    return body_->Read(it == names_.end() ? std::string(name) : body_->tensors()[it->second].name);
  }
  const std::string& where() const override { return body_->where(); }

 private:
  std::unique_ptr<TensorSource> body_;
  std::vector<TensorInfo> tensors_;                   // under their new names, in the body's order
  std::map<std::string, size_t, std::less<>> names_;  // -> position
};

// The names that a source offers, passing on reads and remembering what was asked for.
class Remembering : public TensorSource {
 public:
  explicit Remembering(const TensorSource& source) : source_(source) {}
  const std::vector<TensorInfo>& tensors() const override { return source_.tensors(); }
  const TensorInfo* Find(absl::string_view name) const override {
    asked_.insert(std::string(name));
    return source_.Find(name);
  }
  absl::StatusOr<Tensor> Read(absl::string_view name) const override {
    asked_.insert(std::string(name));
    return source_.Read(name);
  }
  const std::string& where() const override { return source_.where(); }
  bool asked(const std::string& name) const { return asked_.count(name) > 0; }

 private:
  const TensorSource& source_;
  mutable std::set<std::string> asked_;
};

class Loader : public Visitor {
 public:
  Loader(const TensorSource& source, const MapFactory& factory, bool trainable)
      : source_(source), factory_(factory), trainable_(trainable) {}
  const absl::Status& status() const { return status_; }

 protected:
  void VisitLeaf(absl::string_view name, Parameter& p) override {
    if (!status_.ok()) return;
    absl::StatusOr<Tensor> t = ReadChecked(source_, name, p.value.shape());
    if (!t.ok()) {
      status_ = t.status();
      return;
    }
    p.name = std::string(name);
    p.value = t->Cast(p.value.dtype());
    p.trainable = trainable_;
  }
  void VisitSlot(absl::string_view name, MapSlot& slot) override {
    if (!status_.ok()) return;
    absl::StatusOr<std::unique_ptr<LinearMap>> map = factory_(name, slot, source_);
    if (!map.ok()) {
      status_ = map.status();
      return;
    }
    slot.map = *std::move(map);
    LORIKEET_CHECK(slot.map->in_features() == slot.in_features && slot.map->out_features() == slot.out_features)
        << "the map made for " << std::string(name) << " has the wrong size";
  }

 private:
  const TensorSource& source_;
  const MapFactory& factory_;
  bool trainable_;
  absl::Status status_;
};

}  // namespace

std::unique_ptr<CausalLm> BuildModel(const ModelConfig& config, DType compute_dtype) {
  return ArchitectureOf(config).make(config, compute_dtype);
}

std::unique_ptr<TensorSource> UnderModelNames(std::unique_ptr<TensorSource> source, const ModelConfig& config) {
  const absl::string_view prefix = ArchitectureOf(config).body;
  for (const TensorInfo& t : source->tensors()) {
    if (absl::StartsWith(t.name, prefix) || absl::StartsWith(t.name, kHead)) return source;
  }
  return std::make_unique<BodySource>(std::move(source), prefix);
}

absl::StatusOr<Tensor> ReadChecked(const TensorSource& source, absl::string_view name, const Shape& expected) {
  const TensorInfo* info = source.Find(name);
  if (info == nullptr) {
    std::vector<std::string> names;
    for (const TensorInfo& t : source.tensors()) names.push_back(t.name);
    return absl::InvalidArgumentError(
        absl::StrCat(source.where(), ": tensor ", name, " is missing", DidYouMean(name, names)));
  }
  if (!(info->shape == expected)) {
    return absl::InvalidArgumentError(absl::StrCat(source.where(), ": tensor ", name, " has shape ",
                                                   ToString(info->shape), ", but the configuration asks for ",
                                                   ToString(expected)));
  }
  return source.Read(name);
}

absl::StatusOr<Tensor> ReadWeight(const TensorSource& source, absl::string_view name, const MapSlot& slot) {
  absl::StatusOr<Tensor> w = ReadChecked(source, absl::StrCat(name, ".weight"), slot.stored_shape());
  return w.ok() ? slot.Turned(*w) : w;
}

MapFactory DenseFactory(DType dtype, bool trainable) {
  return [dtype, trainable](absl::string_view name, const MapSlot& slot,
                            const TensorSource& source) -> absl::StatusOr<std::unique_ptr<LinearMap>> {
    const std::string full = absl::StrCat(name, ".weight");
    absl::StatusOr<Tensor> w = ReadWeight(source, name, slot);
    if (!w.ok()) return w.status();
    const bool widened = !trainable && dtype == DType::kF32 && w->dtype() == DType::kBF16;
    const DType kept = widened ? DType::kBF16 : trainable ? DType::kF32 : dtype;
    return std::make_unique<DenseMap>(Parameter{.name = full, .value = w->Cast(kept), .trainable = trainable});
  };
}

absl::Status LoadWeights(CausalLm& model, const TensorSource& source, const MapFactory& factory, bool trainable,
                         LoadReport* report) {
  const Remembering remembering(source);
  Loader loader(remembering, factory, trainable);
  model.Visit(loader);
  if (!loader.status().ok() || report == nullptr) return loader.status();
  for (const TensorInfo& t : source.tensors()) {
    const bool harmless = absl::EndsWith(t.name, ".rotary_emb.inv_freq") || absl::EndsWith(t.name, ".attn.bias") ||
                          absl::EndsWith(t.name, ".attn.masked_bias") ||
                          (t.name == "lm_head.weight" && model.tied_head());
    if (!harmless && !remembering.asked(t.name)) report->unexpected.push_back(t.name);
  }
  return absl::OkStatus();
}

}  // namespace lorikeet
