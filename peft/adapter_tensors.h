// The tensors of an adapter by the names PEFT gives them on disk, out of a model and into one.
//
//   base_model.model.<path>.lora_A.weight             [r, in]
//   base_model.model.<path>.lora_B.weight             [out, r]
//   base_model.model.<path>.lora_magnitude_vector     [out], DoRA only; old files append ".weight"
//   base_model.model.<path>.lora_embedding_A, _B      [r, vocab], [hidden, r], of an embedding
//   base_model.model.<path>.base_layer.weight         the base, which PEFT adds for embeddings and heads; optional
//   base_model.model.<path>.weight, .bias, ...        what trains whole (peft/whole_modules.h)
//   base_model.model.<path>.token_adapter.trainable_tokens_delta     [n, in], rows that train
//
//   absl::StatusOr<std::vector<NamedTensor>> tensors = AdapterTensors(*model);
//   absl::StatusOr<AttachedAdapter> a = AttachAdapter(*model, config, source, &run);
//
// Whole or not at all: an adapter that would be empty, untrained or damaged is not handed out, and one that does not
// fit the model exactly is not attached. The message lists what is missing, what is unexpected, and near misses.
// Source: PEFT's get_peft_model_state_dict and set_peft_model_state_dict, which only warn.
#ifndef LORIKEET_PEFT_ADAPTER_TENSORS_H_
#define LORIKEET_PEFT_ADAPTER_TENSORS_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "nn/module.h"
#include "peft/adapter_config.h"
#include "peft/adapter_map.h"
#include "peft/adapter_run.h"
#include "tensor/io/tensor_source.h"
#include "tensor/tensor.h"

namespace lorikeet {

using NamedTensor = std::pair<std::string, Tensor>;

// In the model's order, sharing the model's memory. InvalidArgument: the model carries no adapter; every B is zero, so
// that the adapter changes nothing (it was never trained). FailedPrecondition: an element is NaN or infinite.
// An adapter that took a part of the base's weight (PiSSA, OLoRA) is handed out as the ordinary one of twice the rank
// that it amounts to over the weight as it was: A' = [A; A0], B' = [B, -B0]. ConfigOnDisk then goes with it.
absl::StatusOr<std::vector<NamedTensor>> AdapterTensors(Module& model);

// One map's factors as AdapterTensors hands them out, {A, B}; of an embedding too, as the map has them.
std::pair<Tensor, Tensor> FactorsOnDisk(const AdapterMap& map);

// The configuration of what AdapterTensors hands out of a model with config's adapter.
AdapterConfig ConfigOnDisk(const AdapterConfig& config);

struct AttachedAdapter {
  std::vector<std::string> modules;   // paths that carry an adapter now
  std::vector<std::string> warnings;  // entries of target_modules that match nothing here
};

// Wraps the maps that config selects around the source's tensors (F32, F16 or BF16; kept in f32) and freezes the rest
// of the model. The adapter itself is trainable. Where config's init_lora_weights took a part of the base's weight, it
// is taken again. InvalidArgument, with the model unchanged, unless the source holds exactly the tensors that config
// asks of this model, in the right shapes and finite.
absl::StatusOr<AttachedAdapter> AttachAdapter(Module& model, const AdapterConfig& config, const TensorSource& source,
                                              const AdapterRun* run);

}  // namespace lorikeet

#endif  // LORIKEET_PEFT_ADAPTER_TENSORS_H_
