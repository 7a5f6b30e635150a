#include "peft/inject.h"

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "nn/load.h"
#include "peft/disk_names.h"
#include "peft/dora_map.h"
#include "peft/embedding_lora_map.h"
#include "peft/lora_map.h"
#include "peft/targets.h"
#include "peft/whole_modules.h"
#include "tensor/check.h"
#include "tensor/kernels/parallel.h"

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

// What loftq needs to know; nothing for the other methods.
absl::StatusOr<Tensor> OriginalOf(const AdapterSite& site, const LoraInit& init, const TensorSource* original) {
  if (init.kind != LoraInit::Kind::kLoftq) return Tensor();
  if (original == nullptr) {
    return absl::InvalidArgumentError("init_lora_weights=loftq needs the weights before they were packed into 4 bits");
  }
  absl::StatusOr<Tensor> w = ReadWeight(*original, site.path, *site.slot);
  if (w.ok()) return w;
  return absl::Status(w.status().code(),
                      absl::StrCat("init_lora_weights=loftq needs the weights before they were packed into 4 bits: ",
                                   w.status().message()));
}

}  // namespace

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

absl::StatusOr<std::vector<LoraStart>> StartSites(const std::vector<AdapterSite>& sites, const LoraInit& init,
                                                  RngKey key, const TensorSource* original) {
  std::vector<LoraStart> starts(sites.size());
  std::vector<absl::Status> statuses(sites.size());
  const auto start = [&](size_t i) -> absl::Status {
    const AdapterSite& site = sites[i];
    absl::StatusOr<Tensor> w = OriginalOf(site, init, original);
    if (!w.ok()) return w.status();
    absl::StatusOr<LoraStart> s =
        StartFactors(init, *site.slot, *w, site.rank, site.scaling, key.Fold(HashOf(site.path)));
    if (!s.ok()) return absl::Status(s.status().code(), absl::StrCat(site.path, ": ", s.status().message()));
    starts[i] = *std::move(s);
    return absl::OkStatus();
  };
  ParallelFor(static_cast<int64_t>(sites.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) statuses[static_cast<size_t>(i)] = start(static_cast<size_t>(i));
  });
  for (const absl::Status& s : statuses) {
    if (!s.ok()) return s;
  }
  return starts;
}

void TakeOut(const AdapterSite& site, const LoraStart& start, LoraFactors* factors) {
  site.slot->map = WithoutProduct(*site.slot->map, start, site.scaling);
  factors->taken_a = start.a.Clone();  // the optimizer writes into the factors themselves
  factors->taken_b = start.b.Clone();
}

void Attach(const AdapterSite& site, const AdapterConfig& config, LoraFactors factors, absl::optional<Tensor> magnitude,
            const AdapterRun* run) {
  std::unique_ptr<LinearMap>& map = site.slot->map;
  const Device device = map->device();
  factors.a = factors.a.To(device);
  factors.b = factors.b.To(device);
  if (factors.taken_a.defined()) {
    factors.taken_a = factors.taken_a.To(device);
    factors.taken_b = factors.taken_b.To(device);
  }
  if (magnitude) magnitude = magnitude->To(device);
  factors.scaling = site.scaling;
  factors.dropout = static_cast<float>(config.lora_dropout);
  const uint64_t index = HashOf(site.path);
  if (config.use_dora) {
    map = std::make_unique<DoraMap>(std::move(map), std::move(factors), std::move(magnitude), run, index);
  } else if (site.slot->embedding) {
    map = std::make_unique<EmbeddingLoraMap>(std::move(map), std::move(factors), run, index);
  } else {
    map = std::make_unique<LoraMap>(std::move(map), std::move(factors), run, index);
  }
  NameTrainable name;
  name.Scope(site.path, [&] { map->Visit(name); });
}

absl::StatusOr<InjectReport> Inject(Module& model, const AdapterConfig& config, RngKey key, const AdapterRun* run,
                                    const TensorSource* original) {
  const absl::StatusOr<std::vector<AdapterSite>> sites = FindSites(model, config, nullptr);
  if (!sites.ok()) return sites.status();
  InjectReport report;
  for (const AdapterSite& site : *sites) report.modules.push_back(site.path);
  const absl::StatusOr<std::vector<WholeModule>> whole = FindWholeModules(model, config, report.modules);
  if (!whole.ok()) return whole.status();
  const absl::StatusOr<LoraInit> init = ParseLoraInit(config.init_lora_weights);
  if (!init.ok()) return init.status();
  const absl::StatusOr<std::vector<LoraStart>> starts = StartSites(*sites, *init, key, original);
  if (!starts.ok()) return starts.status();
  Freeze(model);
  for (size_t i = 0; i < sites->size(); ++i) {
    LoraFactors factors{.a = (*starts)[i].a, .b = (*starts)[i].b};
    if (init->moves_base()) TakeOut((*sites)[i], (*starts)[i], &factors);
    Attach((*sites)[i], config, std::move(factors), absl::nullopt, run);
  }
  for (const WholeModule& m : *whole) TrainWhole(m, absl::nullopt);
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
