// RandomWeights: what an untrained model begins with, as a source that LoadWeights reads like any file.
//
//   std::unique_ptr<CausalLm> lm = BuildModel(config, DType::kBF16);
//   RandomWeights start(*lm, RngKey{.seed = 42});
//   absl::Status s = LoadWeights(*lm, start, DenseFactory(DType::kBF16, /*trainable=*/true), /*trainable=*/true,
//   nullptr);
//
// Matrices are drawn from N(0, 0.02^2), those that add to the residual stream (o_proj, down_proj) from
// N(0, 0.02^2 / (2 * layers)); norms are 1, biases 0. A tensor depends on the key and its place in the model only. f32.
// Threads: const methods may run concurrently. Errors: NotFound for a name that the model does not have.
// Source: Radford et al., "Language models are unsupervised multitask learners", 2019, section 2.3.
#ifndef LORIKEET_APPS_MODEL_RANDOM_WEIGHTS_H_
#define LORIKEET_APPS_MODEL_RANDOM_WEIGHTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nn/causal_lm.h"
#include "tensor/io/tensor_index.h"
#include "tensor/io/tensor_source.h"
#include "tensor/random.h"
#include "tensor/tensor.h"

namespace lorikeet {

class RandomWeights : public TensorSource {
 public:
  // Reads the model's structure; its slots may be empty. Nothing refers to it afterwards.
  RandomWeights(CausalLm& model, RngKey key);

  const std::vector<TensorInfo>& tensors() const override { return index_.tensors(); }
  const TensorInfo* Find(absl::string_view name) const override { return index_.Find(name); }
  absl::StatusOr<Tensor> Read(absl::string_view name) const override;
  const std::string& where() const override { return where_; }

 private:
  TensorIndex index_;
  RngKey key_;
  int64_t num_layers_;
  std::string where_ = "an untrained model";
};

}  // namespace lorikeet

#endif  // LORIKEET_APPS_MODEL_RANDOM_WEIGHTS_H_
