// SaveModel: a complete Hugging Face directory, which transformers and Lorikeet open.
//
//   MergedSource merged(*model.lm, DType::kBF16);
//   absl::Status status = SaveModel("out", model.files->config(), model.files->tokenizer_files(), merged, {});
//
//   config.json                          sizes, and quantization_config if one is given; or the text given
//   generation_config.json               the model's own, or what begins and ends a text
//   model.safetensors                    or model-00001-of-0000N.safetensors and model.safetensors.index.json:
//                                        the source's own shards, or, if it has none, above max_shard_bytes
//   tokenizer.json tokenizer_config.json special_tokens_map.json chat_template.jinja      those that there are
//
// Tensors are read and written one at a time. A tied head is not written twice: the source does not have it. The
// directory must exist; each file is replaced whole or not at all, config.json last, so that an interrupted directory
// has no model to open (OutputDirectory makes the whole of it appear at once). Errors: those of the source and of
// tensor/io's writers.
#ifndef LORIKEET_APPS_MODEL_SAVE_MODEL_H_
#define LORIKEET_APPS_MODEL_SAVE_MODEL_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "apps/text/tokenizer_json.h"
#include "nn/model_config.h"
#include "tensor/dtype.h"
#include "tensor/io/tensor_source.h"

namespace lorikeet {

struct SaveModelOptions {
  DType dtype = DType::kBF16;            // what config.json says of the tensors that are not packed
  std::string quantization_config = {};  // a JSON object; empty: none
  std::string config_json = {};          // config.json's text; empty: made from the above
  int64_t max_shard_bytes = 5'000'000'000;
};

absl::Status SaveModel(const std::string& directory, const ModelConfig& config, const text::TokenizerFiles& tokenizer,
                       const TensorSource& weights, const SaveModelOptions& options);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_MODEL_SAVE_MODEL_H_
