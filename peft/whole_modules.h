// What trains beside the adapters: PEFT's modules_to_save, biases, and rows of an embedding.
//
//   absl::StatusOr<std::vector<WholeModule>> whole = FindWholeModules(*model, config, {"model.layers.0.mlp.up_proj"});
//   for (const WholeModule& m : *whole) TrainWhole(m, {});           // from the values it has
//
// modules_to_save selects every module whose path ends with one of its names, as PEFT compares them: without regard to
// dots, so that "norm" means model.norm and every input_layernorm too. All weights and other parameters below such a
// module train, in f32. bias "all" adds every parameter called bias, "lora_only" those of adapted layers.
// On disk a tensor has its name in the model after base_model.model.; the bias of an adapted layer has
// .base_layer.bias. An embedding that is the output head too trains only if ensure_weight_tying says that both are
// meant; a file then has the one weight twice. trainable_token_indices selects rows of an embedding or of a head, by
// the end of its path from a dot on (peft/trainable_tokens_map.h); in a tied model the embedding's are the head's too.
// Errors (InvalidArgument): a name that matches nothing; a tied embedding without ensure_weight_tying; a token outside
// the vocabulary; rows of what trains already. Source: PEFT's ModulesToSaveWrapper, TrainableTokensWrapper and
// _set_trainable.
#ifndef LORIKEET_PEFT_WHOLE_MODULES_H_
#define LORIKEET_PEFT_WHOLE_MODULES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "autograd/parameter.h"
#include "nn/linear_map.h"
#include "nn/module.h"
#include "peft/adapter_config.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {

// A weight, some rows of it, or another parameter: one of slot and leaf is set.
struct WholeModule {
  std::string disk_name;
  std::string tied_name;  // under which the same weight is on disk again; empty: it is not
  Shape shape;
  MapSlot* slot = nullptr;
  Parameter* leaf = nullptr;
  std::vector<int64_t> tokens = {};  // the rows; empty: all
};

// In the model's order; the slots must hold no adapter yet. `adapted` are the paths that are to carry one.
absl::StatusOr<std::vector<WholeModule>> FindWholeModules(Module& model, const AdapterConfig& config,
                                                          const std::vector<std::string>& adapted);

// Makes it trainable, with `value` (f32, as it lies on disk) or what it holds now.
void TrainWhole(const WholeModule& module, absl::optional<Tensor> value);

// True if modules_to_save selects the module at `path` or one that it lies in.
bool IsSavedWhole(absl::string_view path, const AdapterConfig& config);

// The disk names of a parameter: of a tied embedding two.
std::vector<std::string> DiskNames(const WholeModule& module);

}  // namespace lorikeet

#endif  // LORIKEET_PEFT_WHOLE_MODULES_H_
