// Inject: puts LoRA or DoRA around the linear maps of a model, and takes them away again.
//
//   AdapterRun run;
//   absl::StatusOr<InjectReport> report = Inject(*model, config, root.Fold(kInit), &run);
//   AdamW optimizer(TrainableParameters(*model), ...);
//   Eject(*model);                                     // the base model again, to the bit
//
// Every map that config selects (peft/targets.h) is replaced by an adapter around it; everything else is frozen, but
// for what modules_to_save, bias and trainable_token_indices name (peft/whole_modules.h). A and B start as
// init_lora_weights says (peft/lora_init.h), DoRA's magnitude as the row norm: at first the model computes what it did
// before. What is drawn at random depends on the key and the module's path only, not on what else is adapted. A
// trainable parameter's name is its name on disk: base_model.model.<path>.lora_A.weight. Ownership: the model owns its
// adapters; `run` must outlive them. Errors (InvalidArgument; the model is unchanged): an entry of target_modules that
// matches nothing, a model that already carries an adapter, and those of lora_init.h.
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
#include "peft/adapter_map.h"
#include "peft/adapter_run.h"
#include "peft/lora_init.h"
#include "tensor/io/tensor_source.h"
#include "tensor/random.h"
#include "tensor/tensor.h"

namespace lorikeet {

struct InjectReport {
  std::vector<std::string> modules;  // paths that carry an adapter now
  int64_t trainable = 0;             // trainable elements
};

// `original` holds the weights before they were packed into the model's base, under the names that the model was loaded
// from; loftq reads them one at a time, nothing else needs them.
absl::StatusOr<InjectReport> Inject(Module& model, const AdapterConfig& config, RngKey key, const AdapterRun* run,
                                    const TensorSource* original = nullptr);

// Replaces every adapter by its base; nothing is merged, and what trains beside them stays. Returns how many there
// were.
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
// Where every site starts. Several are computed at a time.
absl::StatusOr<std::vector<LoraStart>> StartSites(const std::vector<AdapterSite>& sites, const LoraInit& init,
                                                  RngKey key, const TensorSource* original);
// Takes s*B*A of `start` out of the site's base; factors.taken_* then say what is gone.
void TakeOut(const AdapterSite& site, const LoraStart& start, LoraFactors* factors);
// Wraps the site's map, which must be frozen. a [rank, in], b [out, rank], magnitude [out] for DoRA (absent: the norm);
// scaling and dropout are the site's.
void Attach(const AdapterSite& site, const AdapterConfig& config, LoraFactors factors, absl::optional<Tensor> magnitude,
            const AdapterRun* run);

}  // namespace lorikeet

#endif  // LORIKEET_PEFT_INJECT_H_
