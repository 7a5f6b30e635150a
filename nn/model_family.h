// ModelFamily: how one family of models spells its config.json. A row of the table in model_family.cc is all that
// model_config.cc needs to know of it.
//
//   const ModelFamily* family = FindModelFamily("qwen3");       // null: unknown
//   family->read(fields, &config);                              // fields.status() has the first complaint
//
// read sets every field of the configuration that the family has, its own defaults where the file is silent, and
// complains about what changes the computation and is not supported. write adds what read reads.
#ifndef LORIKEET_NN_MODEL_FAMILY_H_
#define LORIKEET_NN_MODEL_FAMILY_H_

#include <string>

#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "nn/json_fields.h"
#include "nn/model_config.h"

namespace lorikeet {

struct ModelFamily {
  const char* model_type;
  const char* architecture;  // what config.json's "architectures" calls it
  void (*read)(Fields& f, ModelConfig* c);
  void (*write)(const ModelConfig& c, nlohmann::ordered_json* j);
};

const ModelFamily* FindModelFamily(absl::string_view model_type);

// "llama, qwen2 and qwen3", for messages.
std::string KnownModelTypes();

}  // namespace lorikeet

#endif  // LORIKEET_NN_MODEL_FAMILY_H_
