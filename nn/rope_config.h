// Rotary positions in a config.json: rope_theta, and rope_scaling or, as transformers 5 has it, rope_parameters with
// the base frequency inside.
//
//   Fields f(json, "model/config.json");
//   ReadRope(f, &config);                  // config.max_position_embeddings is known
//   absl::Status s = CheckRopeScaling(config, "model/config.json");
//   WriteRope(config, &json);
//
// The scalings are those of tensor/ops/rope_scaling.h. Phi-3 has original_max_position_embeddings beside rope_scaling,
// 4096 where it is missing, and calls longrope su or yarn in its older files. Errors: Fields' first complaint.
// Threads: any.
#ifndef LORIKEET_NN_ROPE_CONFIG_H_
#define LORIKEET_NN_ROPE_CONFIG_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "nn/json_fields.h"
#include "nn/model_config.h"

namespace lorikeet {

void ReadRope(Fields& f, ModelConfig* c);

// rope_scaling's own fields, which lie in `object`. f is the file.
void ReadRopeScaling(const nlohmann::json& object, Fields& f, ModelConfig* c);

void WriteRope(const ModelConfig& c, nlohmann::ordered_json* j);

// That every number is in a range in which frequencies can be computed.
absl::Status CheckRopeScaling(const ModelConfig& c, absl::string_view where);

}  // namespace lorikeet

#endif  // LORIKEET_NN_ROPE_CONFIG_H_
