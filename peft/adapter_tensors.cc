#include "peft/adapter_tensors.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "nn/dense_map.h"
#include "nn/linear_map.h"
#include "nn/nearest_names.h"
#include "peft/disk_names.h"
#include "peft/dora_map.h"
#include "peft/inject.h"
#include "peft/lora_init.h"
#include "peft/trainable_tokens_map.h"
#include "peft/whole_modules.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/reduce.h"

namespace lorikeet {
namespace {

constexpr size_t kMostNames = 5;  // in one message

// [a; b]
Tensor Below(const Tensor& a, const Tensor& b) {
  Tensor both = Tensor::Empty({a.dim(0) + b.dim(0), a.dim(1)}, a.dtype(), a.device());
  Tensor top = both.Slice(0, 0, a.dim(0)), bottom = both.Slice(0, a.dim(0), both.dim(0));
  tensor::CopyInto(a, top);
  tensor::CopyInto(b, bottom);
  return both;
}

class CollectTensors : public Visitor {
 public:
  std::vector<NamedTensor> tensors;
  bool moves = false;     // something beside a zero B
  std::string embedding;  // a whole embedding's name on disk
  Tensor embedding_weight;
  bool tied = true;  // no slot is the head's own
  size_t adapters = 0;

 protected:
  void VisitLeaf(absl::string_view, Parameter& p) override { AddWhole(p); }
  void VisitSlot(absl::string_view path, MapSlot& slot) override {
    tied &= !absl::EndsWith(path, kHead);
    if (const AdapterMap* adapter = dynamic_cast<const AdapterMap*>(slot.map.get())) {
      AddAdapter(absl::StrCat(kDiskPrefix, path), *adapter, slot);
      return;
    }
    if (dynamic_cast<const TrainableTokensMap*>(slot.map.get()) != nullptr) {
      Visitor::VisitSlot(path, slot);  // rows lie on disk as they are
    } else if (slot.map != nullptr && !slot.map->frozen()) {
      slot_ = &slot;
      Visitor::VisitSlot(path, slot);
      slot_ = nullptr;
    }
    if (slot.embedding) any_embedding_ = true;
  }

 private:
  void AddWhole(const Parameter& p) {
    if (!p.trainable) return;
    tensors.push_back({p.name, slot_ == nullptr ? p.value : slot_->Turned(p.value)});
    if (slot_ != nullptr && slot_->embedding && !any_embedding_) embedding = p.name, embedding_weight = p.value;
    moves = true;
  }
  void AddAdapter(const std::string& prefix, const AdapterMap& adapter, const MapSlot& slot) {
    ++adapters;
    moves |= tensor::SumSquares(adapter.b()) != 0;
    if (slot.embedding) {
      tensors.push_back({absl::StrCat(prefix, ".lora_embedding_A"), adapter.b().Transpose(0, 1).Contiguous()});
      tensors.push_back({absl::StrCat(prefix, ".lora_embedding_B"), adapter.a().Transpose(0, 1).Contiguous()});
    } else {
      const auto [a, b] = FactorsOnDisk(adapter);
      tensors.push_back({absl::StrCat(prefix, ".lora_A.weight"), a});
      tensors.push_back({absl::StrCat(prefix, ".lora_B.weight"), b});
    }
    if (adapter.saves_base())
      tensors.push_back({absl::StrCat(prefix, ".base_layer.weight"), slot.Turned(adapter.base().Dense())});
    const DoraMap* dora = dynamic_cast<const DoraMap*>(&adapter);
    if (dora != nullptr) tensors.push_back({absl::StrCat(prefix, ".lora_magnitude_vector"), dora->magnitude()});
  }
  const MapSlot* slot_ = nullptr;  // whose map is being visited
  bool any_embedding_ = false;     // the first embedding, which a tied head shares, has been passed
};

// A tensor that the file should hold, or may.
struct Wanted {
  std::string name;
  Shape shape;
  std::string found;  // its name in the file; empty if it is not there
  bool optional = false;
};

// Of each site, in this order; DoRA's magnitude and the base's weight are there or not.
enum SiteTensor : size_t { kA, kB, kMagnitude, kBase, kSiteTensors };

// kSiteTensors for each site, then the whole modules' names.
std::vector<Wanted> WantedTensors(const std::vector<AdapterSite>& sites, const std::vector<WholeModule>& whole,
                                  bool dora, const TensorSource& source) {
  std::vector<Wanted> wanted;
  const auto want = [&](const std::string& name, const Shape& shape, const std::string& other_name, bool optional) {
    std::string found = source.Find(name) != nullptr ? name : source.Find(other_name) != nullptr ? other_name : "";
    wanted.push_back({name, shape, std::move(found), optional});
  };
  for (const AdapterSite& site : sites) {
    const std::string prefix = absl::StrCat(kDiskPrefix, site.path);
    const int64_t in = site.slot->in_features, out = site.slot->out_features;
    const bool embedding = site.slot->embedding;
    const std::string a = absl::StrCat(prefix, embedding ? ".lora_embedding_B" : ".lora_A.weight");
    const std::string b = absl::StrCat(prefix, embedding ? ".lora_embedding_A" : ".lora_B.weight");
    want(a, embedding ? Shape{in, site.rank} : Shape{site.rank, in}, a, false);
    want(b, embedding ? Shape{site.rank, out} : Shape{out, site.rank}, b, false);
    const std::string m = absl::StrCat(prefix, ".lora_magnitude_vector");
    want(m, {out}, absl::StrCat(m, ".weight"), !dora);
    const std::string base = absl::StrCat(prefix, ".base_layer.weight");
    want(base, site.slot->stored_shape(), base, true);
  }
  for (const WholeModule& m : whole) {
    for (const std::string& name : DiskNames(m)) want(name, m.shape, name, false);
  }
  return wanted;
}

// "; 7 tensors are missing: a (did you mean b?), c, ... and 5 more", or nothing.
std::string Listing(const char* what, const std::vector<std::string>& names, const std::vector<std::string>& others) {
  if (names.empty()) return "";
  std::string out = absl::StrCat("\n  ", names.size(), " ", what, ":");
  for (size_t i = 0; i < std::min(names.size(), kMostNames); ++i) {
    absl::StrAppend(&out, "\n    ", names[i]);
    const std::vector<std::string> near = NearestNames(names[i], others, 1);
    if (!near.empty()) absl::StrAppend(&out, " (the file has ", near[0], ")");
  }
  if (names.size() > kMostNames) absl::StrAppend(&out, "\n    and ", names.size() - kMostNames, " more");
  return out;
}

absl::Status CheckNames(const std::vector<Wanted>& wanted, const TensorSource& source) {
  if (source.tensors().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(source.where(), " holds no tensors: the adapter was saved empty, and has to be trained again"));
  }
  std::vector<std::string> missing, unexpected;
  std::set<std::string> used;
  for (const Wanted& w : wanted) {
    if (w.found.empty() && !w.optional) missing.push_back(w.name);
    used.insert(w.found);
  }
  for (const TensorInfo& t : source.tensors()) {
    if (used.count(t.name) == 0) unexpected.push_back(t.name);
  }
  if (missing.empty() && unexpected.empty()) return absl::OkStatus();
  const bool whole_tables = std::any_of(unexpected.begin(), unexpected.end(), [](const std::string& name) {
    return absl::EndsWith(name, "token_adapter.base_layer.weight") || absl::EndsWith(name, "embed_tokens.weight") ||
           absl::EndsWith(name, "lm_head.weight");
  });
  return absl::InvalidArgumentError(absl::StrCat(
      source.where(), " does not fit this model under its adapter_config.json", Listing("missing", missing, unexpected),
      Listing("unexpected", unexpected, {}),
      whole_tables ? "\n  PEFT adds whole embeddings and heads where the vocabulary was enlarged: save the "
                     "enlarged model as the base, and the adapter with save_embedding_layers=False"
                   : ""));
}

absl::StatusOr<Tensor> ReadWanted(const Wanted& w, DType dtype, const TensorSource& source) {
  const TensorInfo& info = *source.Find(w.found);
  if (info.stored_type != "F32" && info.stored_type != "F16" && info.stored_type != "BF16") {
    return absl::InvalidArgumentError(
        absl::StrCat(source.where(), ": ", w.found, " is ", info.stored_type, ", expected F32, F16 or BF16"));
  }
  if (!(info.shape == w.shape)) {
    return absl::InvalidArgumentError(absl::StrCat(
        source.where(), ": ", w.found, " has shape ", ToString(info.shape), ", expected ", ToString(w.shape),
        " by the model and by r, rank_pattern and trainable_token_indices of adapter_config.json"));
  }
  absl::StatusOr<Tensor> t = source.Read(w.found);
  if (!t.ok()) return t;
  if (!tensor::AllFinite(*t)) {
    return absl::InvalidArgumentError(absl::StrCat(source.where(), ": ", w.found, " holds NaN or infinity"));
  }
  return t->Cast(dtype);
}

// The tensors that are there; undefined where an optional one is not.
absl::StatusOr<std::vector<Tensor>> ReadAll(const std::vector<Wanted>& wanted, DType dtype,
                                            const TensorSource& source) {
  std::vector<Tensor> values(wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i].found.empty()) continue;
    absl::StatusOr<Tensor> t = ReadWanted(wanted[i], dtype, source);
    if (!t.ok()) return t.status();
    values[i] = *std::move(t);
  }
  return values;
}

bool SameElements(const Tensor& a, const Tensor& b) {
  return tensor::SumAll(tensor::Equal(a, b)).item() == static_cast<double>(a.size());
}

// A tied weight is in the file twice.
absl::Status CheckTied(const std::vector<WholeModule>& whole, const Tensor* values, const TensorSource& source) {
  for (const WholeModule& m : whole) {
    if (!m.tied_name.empty() && !SameElements(values[0], values[1])) {
      return absl::InvalidArgumentError(absl::StrCat(source.where(), ": ", m.disk_name, " and ", m.tied_name,
                                                     " differ, but are one weight in this model"));
    }
    values += DiskNames(m).size();
  }
  return absl::OkStatus();
}

// What config's init_lora_weights took out of each site's base; empty if nothing.
absl::StatusOr<std::vector<LoraStart>> TakenByInit(const std::vector<AdapterSite>& sites, const AdapterConfig& config) {
  const absl::StatusOr<LoraInit> init = ParseLoraInit(config.init_lora_weights);
  if (!init.ok() || !init->moves_base()) return std::vector<LoraStart>();  // "false" and "eva" change no base
  return StartSites(sites, *init, RngKey{.seed = 0}, nullptr);
}

// The adapter on one site, from the site's tensors.
void AttachLoaded(const AdapterSite& site, const AdapterConfig& config, const LoraStart* taken, const Tensor* values,
                  const AdapterRun* run) {
  const bool embedding = site.slot->embedding;
  LoraFactors factors{.a = embedding ? values[kA].Transpose(0, 1).Contiguous() : values[kA],
                      .b = embedding ? values[kB].Transpose(0, 1).Contiguous() : values[kB]};
  if (values[kBase].defined()) {
    factors.saves_base = true;
    const DType dtype = site.slot->map->dtype();
    site.slot->map = std::make_unique<DenseMap>(site.slot->Turned(values[kBase]).Cast(dtype));
  }
  if (taken != nullptr) TakeOut(site, *taken, &factors);
  Attach(site, config, std::move(factors), config.use_dora ? absl::optional<Tensor>(values[kMagnitude]) : absl::nullopt,
         run);
}

}  // namespace

// What an adapter is on disk: the factors, but over the weight that the base had before anything was taken out of it:
// W - s*B0*A0 + s*B*A = W + s*[B, -B0]*[A; A0].
std::pair<Tensor, Tensor> FactorsOnDisk(const AdapterMap& m) {
  if (!m.taken_a().defined()) return {m.a(), m.b()};
  const Tensor bt = Below(m.b().Transpose(0, 1), tensor::Neg(m.taken_b()).Transpose(0, 1));
  return {Below(m.a(), m.taken_a()), bt.Transpose(0, 1).Contiguous()};
}

absl::StatusOr<std::vector<NamedTensor>> AdapterTensors(Module& model) {
  CollectTensors collect;
  model.Visit(collect);
  if (collect.adapters == 0)
    return absl::InvalidArgumentError("the model carries no adapter, there is nothing to save");
  if (collect.tied && !collect.embedding.empty()) {
    collect.tensors.push_back({absl::StrCat(kDiskPrefix, kHead, ".weight"), collect.embedding_weight});
  }
  for (const NamedTensor& t : collect.tensors) {
    if (!tensor::AllFinite(t.second)) {
      return absl::FailedPreconditionError(
          absl::StrCat(t.first, " holds NaN or infinity; the adapter is damaged and was not saved"));
    }
  }
  if (!collect.moves) {
    return absl::InvalidArgumentError(
        "every lora_B is zero: the adapter changes nothing, and was not saved. No training step has reached it");
  }
  return std::move(collect.tensors);
}

AdapterConfig ConfigOnDisk(const AdapterConfig& config) {
  const absl::StatusOr<LoraInit> init = ParseLoraInit(config.init_lora_weights);
  if (!init.ok() || !init->moves_base()) return config;
  AdapterConfig twice = config;
  twice.init_lora_weights = "true";
  const double alpha = config.use_rslora ? std::sqrt(2.0) : 2;
  twice.r *= 2;
  twice.lora_alpha *= alpha;
  for (auto& [pattern, r] : twice.rank_pattern) r *= 2;
  for (auto& [pattern, a] : twice.alpha_pattern) a *= alpha;
  return twice;
}

absl::StatusOr<AttachedAdapter> AttachAdapter(Module& model, const AdapterConfig& config, const TensorSource& source,
                                              const AdapterRun* run) {
  std::vector<std::string> unmatched;
  const absl::StatusOr<std::vector<AdapterSite>> sites = FindSites(model, config, &unmatched);
  if (!sites.ok()) return sites.status();
  AttachedAdapter attached;
  for (const AdapterSite& site : *sites) attached.modules.push_back(site.path);
  const absl::StatusOr<std::vector<WholeModule>> whole = FindWholeModules(model, config, attached.modules);
  if (!whole.ok()) return whole.status();
  const std::vector<Wanted> wanted = WantedTensors(*sites, *whole, config.use_dora, source);
  if (absl::Status s = CheckNames(wanted, source); !s.ok()) return s;
  const DType base = sites->front().slot->map->dtype();
  const absl::StatusOr<std::vector<Tensor>> values =
      ReadAll(wanted, base == DType::kF64 ? DType::kF64 : DType::kF32, source);
  if (!values.ok()) return values.status();
  const Tensor* whole_values = values->data() + sites->size() * kSiteTensors;
  if (absl::Status s = CheckTied(*whole, whole_values, source); !s.ok()) return s;
  const absl::StatusOr<std::vector<LoraStart>> taken = TakenByInit(*sites, config);
  if (!taken.ok()) return taken.status();
  Freeze(model);
  for (size_t i = 0; i < sites->size(); ++i) {
    AttachLoaded((*sites)[i], config, taken->empty() ? nullptr : &(*taken)[i], &(*values)[i * kSiteTensors], run);
  }
  for (const WholeModule& m : *whole) {
    TrainWhole(m, *whole_values);
    whole_values += DiskNames(m).size();
  }
  for (const std::string& entry : unmatched) {
    attached.warnings.push_back(absl::StrCat("target_modules names \"", entry, "\", which this model does not have"));
  }
  return attached;
}

}  // namespace lorikeet
