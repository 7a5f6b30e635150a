// Loading: from a file of named tensors to a model, one tensor at a time.
//
//   std::unique_ptr<CausalLm> model = BuildModel(config, DType::kBF16);
//   LoadReport report;
//   absl::Status s = LoadWeights(*model, source, DenseFactory(DType::kBF16, false), /*trainable=*/false, &report);
//
// Every parameter must be there with the right shape; the message names the file, the tensor and what was expected.
// Each slot's map is made by the factory as its turn comes, so a 4-bit model is quantized while it streams in and never
// holds more than one dense tensor. Tensors that the model does not know are reported, not fatal; a tied model's copy
// of the head and old checkpoints' rotary tables and masks are passed over.
#ifndef LORIKEET_NN_LOAD_H_
#define LORIKEET_NN_LOAD_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nn/causal_lm.h"
#include "nn/linear_map.h"
#include "nn/model_config.h"
#include "tensor/io/tensor_source.h"
#include "tensor/tensor.h"

namespace lorikeet {

// The model of config.model_type, with empty slots. To add an architecture: a file in nn/models and a row in load.cc.
std::unique_ptr<CausalLm> BuildModel(const ModelConfig& config, DType compute_dtype);

// `source`, or a view of it if it is a checkpoint of the model's body alone, whose names lack "transformer." or
// "model." (openai-community/gpt2 is one): the same tensors under the names of the whole model.
std::unique_ptr<TensorSource> UnderModelNames(std::unique_ptr<TensorSource> source, const ModelConfig& config);

// Makes the map for the slot called `name` ("model.layers.0.mlp.up_proj") from the source's tensors.
using MapFactory = std::function<absl::StatusOr<std::unique_ptr<LinearMap>>(absl::string_view name, const MapSlot& slot,
                                                                            const TensorSource& source)>;

// Reads `name`.weight as an ordinary matrix. Trainable weights are kept in f32, frozen ones in `dtype`; but bf16 beside
// f32 stays bf16, which products widen exactly, for half the memory.
MapFactory DenseFactory(DType dtype, bool trainable);

// Reads `name`, checking its shape. For factories.
absl::StatusOr<Tensor> ReadChecked(const TensorSource& source, absl::string_view name, const Shape& expected);

// The weight of the slot called `name`, [out, in], from its tensor `name`.weight. For factories.
absl::StatusOr<Tensor> ReadWeight(const TensorSource& source, absl::string_view name, const MapSlot& slot);

struct LoadReport {
  std::vector<std::string> unexpected;  // tensors of the source that nothing asked for
};

// `trainable` concerns what is not in a slot: norms and biases.
absl::Status LoadWeights(CausalLm& model, const TensorSource& source, const MapFactory& factory, bool trainable,
                         LoadReport* report);

}  // namespace lorikeet

#endif  // LORIKEET_NN_LOAD_H_
