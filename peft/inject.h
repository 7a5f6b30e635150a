// Inject: puts LoRA or DoRA around the linear maps of a model, and takes them away again.
//
//   AdapterRun run;
//   absl::StatusOr<InjectReport> report = Inject(*model, config, root.Fold(kInit), &run);
//   AdamW optimizer(TrainableParameters(*model), ...);
//   Eject(*model);                                     // the base model again, to the bit
//
// Every map that config selects (peft/targets.h) is replaced by an adapter around it; everything else is frozen. A is
// drawn from U(-1/sqrt(in), 1/sqrt(in)), B is 0, DoRA's magnitude is the row norm: at first the model computes what it
// did before. A's numbers depend on the key and the module's path only, not on what else is adapted.
// A trainable parameter's name is its name on disk: base_model.model.<path>.lora_A.weight.
// Ownership: the model owns its adapters; `run` must outlive them. Errors (InvalidArgument; the model is unchanged): an
// entry of target_modules that matches nothing, a model that already carries an adapter.
// Source of the initial values: Hu et al., 2021; PEFT's Kaiming-uniform with a = sqrt(5).
#ifndef LORIKEET_PEFT_INJECT_H_
#define LORIKEET_PEFT_INJECT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "autograd/parameter.h"
#include "nn/linear_map.h"
#include "nn/module.h"
#include "peft/adapter_config.h"
#include "peft/adapter_run.h"
#include "tensor/random.h"
#include "tensor/tensor.h"

namespace lorikeet {

struct InjectReport {
  std::vector<std::string> modules;  // paths that carry an adapter now
  int64_t trainable = 0;             // trainable elements
};

absl::StatusOr<InjectReport> Inject(Module& model, const AdapterConfig& config, RngKey key, const AdapterRun* run);

// Replaces every adapter by its base; nothing is merged. Returns how many there were.
int Eject(Module& model);

// In the model's order; also of a model that trains whole.
std::vector<Parameter*> TrainableParameters(Module& model);

// The pieces that Inject shares with loading (peft/adapter_file.h).

// A map that is to be adapted.
struct AdapterSite {
  std::string path;
  MapSlot* slot;
  int64_t rank;
  float scaling;
};
// What config selects. `unmatched` receives the entries of target_modules that match nothing; null: they are an error.
absl::StatusOr<std::vector<AdapterSite>> FindSites(Module& model, const AdapterConfig& config,
                                                   std::vector<std::string>* unmatched);
// Makes every parameter untrainable.
void Freeze(Module& model);
// Wraps the site's map, which must be frozen. a [rank, in], b [out, rank], magnitude [out] for DoRA (absent: the norm).
void Attach(const AdapterSite& site, const AdapterConfig& config, Tensor a, Tensor b, absl::optional<Tensor> magnitude,
            const AdapterRun* run);

// "base_model.model.", which PEFT puts before a path.
extern const absl::string_view kDiskPrefix;

}  // namespace lorikeet

#endif  // LORIKEET_PEFT_INJECT_H_
