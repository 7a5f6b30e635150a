#include "peft/inject.h"

#include <cmath>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "peft/adapter_map.h"
#include "peft/dora_map.h"
#include "peft/lora_map.h"
#include "peft/targets.h"
#include "tensor/check.h"
#include "tensor/ops/random.h"

namespace lorikeet {
namespace {

// FNV-1a: a number for a path that is the same on every machine.
uint64_t HashOf(absl::string_view path) {
  uint64_t h = 0xcbf29ce484222325u;
  for (const char c : path) h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  return h;
}

struct NamedSlot {
  std::string path;
  MapSlot* slot;
};

class CollectSlots : public Visitor {
 public:
  std::vector<NamedSlot> slots;

 protected:
  void VisitSlot(absl::string_view name, MapSlot& slot) override { slots.push_back({std::string(name), &slot}); }
};

std::vector<NamedSlot> SlotsOf(Module& model) {
  CollectSlots collect;
  model.Visit(collect);
  return std::move(collect.slots);
}

class CollectTrainable : public Visitor {
 public:
  std::vector<Parameter*> parameters;

 protected:
  void VisitLeaf(absl::string_view, Parameter& p) override {
    if (p.trainable) parameters.push_back(&p);
  }
};

class FreezeAll : public Visitor {
 protected:
  void VisitLeaf(absl::string_view, Parameter& p) override {
    p.trainable = false;
    p.ZeroGrad();
  }
};

// Gives trainable parameters the names they have on disk.
class NameTrainable : public Visitor {
 protected:
  void VisitLeaf(absl::string_view name, Parameter& p) override {
    if (p.trainable) p.name = absl::StrCat(kDiskPrefix, name);
  }
};

}  // namespace

const absl::string_view kDiskPrefix = "base_model.model.";

absl::StatusOr<std::vector<AdapterSite>> FindSites(Module& model, const AdapterConfig& config,
                                                   std::vector<std::string>* unmatched) {
  const std::vector<NamedSlot> slots = SlotsOf(model);
  std::vector<Place> places;
  for (const NamedSlot& s : slots) {
    LORIKEET_CHECK(s.slot->map != nullptr) << "FindSites: " << s.path << " is an empty slot; load the model first";
    if (dynamic_cast<const AdapterMap*>(s.slot->map.get()) != nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(s.path, " already carries an adapter; merge it or take it away before adding another"));
    }
    places.push_back({s.path, s.slot->embedding});
  }
  const absl::StatusOr<Targets> targets = SelectTargets(places, config);
  if (!targets.ok()) return targets.status();
  if (unmatched != nullptr) {
    *unmatched = targets->unmatched;
  } else if (!targets->unmatched.empty()) {
    return UnmatchedError(targets->unmatched, places);
  }
  std::vector<AdapterSite> sites;
  for (const NamedSlot& s : slots) {
    if (sites.size() == targets->modules.size() || targets->modules[sites.size()] != s.path) continue;
    const absl::StatusOr<int64_t> rank = RankFor(s.path, config);
    if (!rank.ok()) return rank.status();
    const absl::StatusOr<double> alpha = AlphaFor(s.path, config);
    if (!alpha.ok()) return alpha.status();
    sites.push_back({s.path, s.slot, *rank, static_cast<float>(config.Scaling(*rank, *alpha))});
  }
  return sites;
}

void Freeze(Module& model) {
  FreezeAll freeze;
  model.Visit(freeze);
}

void Attach(const AdapterSite& site, const AdapterConfig& config, Tensor a, Tensor b, absl::optional<Tensor> magnitude,
            const AdapterRun* run) {
  std::unique_ptr<LinearMap>& map = site.slot->map;
  LoraFactors factors{.a = std::move(a),
                      .b = std::move(b),
                      .scaling = site.scaling,
                      .dropout = static_cast<float>(config.lora_dropout)};
  const uint64_t index = HashOf(site.path);
  if (config.use_dora) {
    map = std::make_unique<DoraMap>(std::move(map), std::move(factors), std::move(magnitude), run, index);
  } else {
    map = std::make_unique<LoraMap>(std::move(map), std::move(factors), run, index);
  }
  NameTrainable name;
  name.Scope(site.path, [&] { map->Visit(name); });
}

absl::StatusOr<InjectReport> Inject(Module& model, const AdapterConfig& config, RngKey key, const AdapterRun* run) {
  const absl::StatusOr<std::vector<AdapterSite>> sites = FindSites(model, config, nullptr);
  if (!sites.ok()) return sites.status();
  Freeze(model);
  InjectReport report;
  for (const AdapterSite& site : *sites) {
    const MapSlot& slot = *site.slot;
    const DType dtype = slot.map->dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
    const double bound = 1 / std::sqrt(static_cast<double>(slot.in_features));
    const Tensor a = tensor::Uniform({site.rank, slot.in_features}, -bound, bound, key.Fold(HashOf(site.path)), dtype);
    Attach(site, config, a, Tensor::Zeros({slot.out_features, site.rank}, dtype), absl::nullopt, run);
    report.modules.push_back(site.path);
  }
  for (const Parameter* p : TrainableParameters(model)) report.trainable += p->value.size();
  return report;
}

int Eject(Module& model) {
  int count = 0;
  for (const NamedSlot& s : SlotsOf(model)) {
    AdapterMap* adapter = dynamic_cast<AdapterMap*>(s.slot->map.get());
    if (adapter == nullptr) continue;
    s.slot->map = adapter->TakeBase();
    ++count;
  }
  return count;
}

std::vector<Parameter*> TrainableParameters(Module& model) {
  CollectTrainable collect;
  model.Visit(collect);
  return std::move(collect.parameters);
}

}  // namespace lorikeet
