// An adapter as PEFT's two files: adapter_model.safetensors and adapter_config.json in a directory.
//
//   absl::Status saved = SaveAdapter("out", *model, config);
//   absl::StatusOr<LoadedAdapter> loaded = LoadAdapter("out", *model, &run);      // over a base model
//
// What is saved can be read by PEFT, and what PEFT saves can be read here: names as in peft/adapter_tensors.h, f32
// values, and the bytes that PEFT's own writer gives. Saving, loading and saving again gives the same bytes. Each file
// is replaced whole or not at all. Errors name the file: what adapter_config.h, adapter_tensors.h and tensor/io say; a
// pickled adapter_model.bin is refused, because reading a pickle may run any program. Source: PEFT's save_pretrained
// and from_pretrained.
#ifndef LORIKEET_PEFT_ADAPTER_FILE_H_
#define LORIKEET_PEFT_ADAPTER_FILE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nn/module.h"
#include "peft/adapter_config.h"
#include "peft/adapter_run.h"

namespace lorikeet {

// `config` is the one that the model's adapter was made with. The directory is made if need be.
absl::Status SaveAdapter(const std::string& directory, Module& model, const AdapterConfig& config);

struct LoadedAdapter {
  AdapterConfig config;
  std::vector<std::string> modules;   // paths that carry an adapter now
  std::vector<std::string> warnings;  // fields and targets that were passed over
};

// Only the configuration, to see whether it asks for what the caller can do.
absl::StatusOr<AdapterConfig> ReadAdapterConfig(const std::string& directory, std::vector<std::string>* warnings);

// The model, which must not carry an adapter yet, is unchanged after an error. `run` must outlive the model.
absl::StatusOr<LoadedAdapter> LoadAdapter(const std::string& directory, Module& model, const AdapterRun* run);

}  // namespace lorikeet

#endif  // LORIKEET_PEFT_ADAPTER_FILE_H_
