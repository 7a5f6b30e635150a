#include "peft/adapter_tensors.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "nn/linear_map.h"
#include "nn/nearest_names.h"
#include "peft/adapter_map.h"
#include "peft/dora_map.h"
#include "peft/inject.h"
#include "tensor/ops/reduce.h"

namespace lorikeet {
namespace {

constexpr size_t kMostNames = 5;  // in one message

class CollectTensors : public Visitor {
 public:
  std::vector<NamedTensor> tensors;
  bool all_b_zero = true;

 protected:
  void VisitSlot(absl::string_view path, MapSlot& slot) override {
    const AdapterMap* adapter = dynamic_cast<const AdapterMap*>(slot.map.get());
    if (adapter == nullptr) return;
    const std::string prefix = absl::StrCat(kDiskPrefix, path);
    tensors.push_back({absl::StrCat(prefix, ".lora_A.weight"), adapter->a()});
    tensors.push_back({absl::StrCat(prefix, ".lora_B.weight"), adapter->b()});
    if (tensor::SumSquares(adapter->b()) != 0) all_b_zero = false;
    const DoraMap* dora = dynamic_cast<const DoraMap*>(adapter);
    if (dora != nullptr) tensors.push_back({absl::StrCat(prefix, ".lora_magnitude_vector"), dora->magnitude()});
  }
};

// A tensor that the file should hold.
struct Wanted {
  std::string name;
  Shape shape;
  std::string found;  // its name in the file; empty if it is not there
};

std::vector<Wanted> WantedTensors(const std::vector<AdapterSite>& sites, bool dora, const TensorSource& source) {
  std::vector<Wanted> wanted;
  const auto want = [&](const std::string& name, const Shape& shape, const std::string& other_name) {
    std::string found = source.Find(name) != nullptr ? name : source.Find(other_name) != nullptr ? other_name : "";
    wanted.push_back({name, shape, std::move(found)});
  };
  for (const AdapterSite& site : sites) {
    const std::string prefix = absl::StrCat(kDiskPrefix, site.path);
    const std::string a = absl::StrCat(prefix, ".lora_A.weight"), b = absl::StrCat(prefix, ".lora_B.weight");
    want(a, {site.rank, site.slot->in_features}, a);
    want(b, {site.slot->out_features, site.rank}, b);
    const std::string m = absl::StrCat(prefix, ".lora_magnitude_vector");
    if (dora) want(m, {site.slot->out_features}, absl::StrCat(m, ".weight"));
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
    if (w.found.empty()) missing.push_back(w.name);
    used.insert(w.found);
  }
  for (const TensorInfo& t : source.tensors()) {
    if (used.count(t.name) == 0) unexpected.push_back(t.name);
  }
  if (missing.empty() && unexpected.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(source.where(), " does not fit this model under its adapter_config.json",
                   Listing("missing", missing, unexpected), Listing("unexpected", unexpected, {})));
}

absl::StatusOr<Tensor> ReadWanted(const Wanted& w, DType dtype, const TensorSource& source) {
  const TensorInfo& info = *source.Find(w.found);
  if (info.stored_type != "F32" && info.stored_type != "F16" && info.stored_type != "BF16") {
    return absl::InvalidArgumentError(
        absl::StrCat(source.where(), ": ", w.found, " is ", info.stored_type, ", expected F32, F16 or BF16"));
  }
  if (!(info.shape == w.shape)) {
    return absl::InvalidArgumentError(absl::StrCat(source.where(), ": ", w.found, " has shape ", ToString(info.shape),
                                                   ", expected ", ToString(w.shape),
                                                   " by the model and by r and rank_pattern of adapter_config.json"));
  }
  absl::StatusOr<Tensor> t = source.Read(w.found);
  if (!t.ok()) return t;
  if (!tensor::AllFinite(*t)) {
    return absl::InvalidArgumentError(absl::StrCat(source.where(), ": ", w.found, " holds NaN or infinity"));
  }
  return t->Cast(dtype);
}

}  // namespace

absl::StatusOr<std::vector<NamedTensor>> AdapterTensors(Module& model) {
  CollectTensors collect;
  model.Visit(collect);
  if (collect.tensors.empty())
    return absl::FailedPreconditionError("the model carries no adapter, there is nothing to save");
  for (const NamedTensor& t : collect.tensors) {
    if (!tensor::AllFinite(t.second)) {
      return absl::FailedPreconditionError(
          absl::StrCat(t.first, " holds NaN or infinity; the adapter is damaged and was not saved"));
    }
  }
  if (collect.all_b_zero) {
    return absl::FailedPreconditionError(
        "every lora_B is zero: the adapter changes nothing, and was not saved. No training step has reached it");
  }
  return std::move(collect.tensors);
}

absl::StatusOr<AttachedAdapter> AttachAdapter(Module& model, const AdapterConfig& config, const TensorSource& source,
                                              const AdapterRun* run) {
  std::vector<std::string> unmatched;
  const absl::StatusOr<std::vector<AdapterSite>> sites = FindSites(model, config, &unmatched);
  if (!sites.ok()) return sites.status();
  const std::vector<Wanted> wanted = WantedTensors(*sites, config.use_dora, source);
  if (absl::Status s = CheckNames(wanted, source); !s.ok()) return s;
  const size_t per_site = config.use_dora ? 3 : 2;
  std::vector<Tensor> values;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const DType base = (*sites)[i / per_site].slot->map->dtype();
    absl::StatusOr<Tensor> t = ReadWanted(wanted[i], base == DType::kF64 ? DType::kF64 : DType::kF32, source);
    if (!t.ok()) return t.status();
    values.push_back(*std::move(t));
  }
  AttachedAdapter attached;
  Freeze(model);
  for (size_t i = 0; i < sites->size(); ++i) {
    const Tensor* v = &values[i * per_site];
    Attach((*sites)[i], config, v[0], v[1], config.use_dora ? absl::optional<Tensor>(v[2]) : absl::nullopt, run);
    attached.modules.push_back((*sites)[i].path);
  }
  for (const std::string& entry : unmatched) {
    attached.warnings.push_back(absl::StrCat("target_modules names \"", entry, "\", which this model does not have"));
  }
  return attached;
}

}  // namespace lorikeet
