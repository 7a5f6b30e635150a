// Weights for a benchmark: a model's tensors with random values, made as they are asked for. No file is read.
//
//   RandomWeights source(SmolLm2Shape());
//   absl::Status s = LoadWeights(*model, source, factory, /*trainable=*/false, nullptr);
//
// On any device. Matrices are uniform with standard deviation 0.02, bf16; norm weights are 1.
#ifndef LORIKEET_TESTS_BENCHMARKS_RANDOM_WEIGHTS_H_
#define LORIKEET_TESTS_BENCHMARKS_RANDOM_WEIGHTS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "nn/model_config.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/io/tensor_source.h"
#include "tensor/ops/random.h"
#include "tensor/random.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {

// SmolLM2-135M: 106 million weights in linear layers, 28 million in the embedding, which is also the head.
inline ModelConfig SmolLm2Shape() {
  ModelConfig c;
  c.vocab_size = 49152;
  c.hidden_size = 576;
  c.intermediate_size = 1536;
  c.num_layers = 30;
  c.num_heads = 9;
  c.num_kv_heads = 3;
  c.head_dim = 64;
  c.rms_norm_eps = 1e-5f;
  c.tie_word_embeddings = true;
  return c;
}

class RandomWeights : public TensorSource {
 public:
  explicit RandomWeights(const ModelConfig& c, Device device = kCpu) : device_(device) {
    const int64_t q = c.num_heads * c.head_dim, kv = c.num_kv_heads * c.head_dim;
    Add("model.embed_tokens.weight", {c.vocab_size, c.hidden_size});
    for (int64_t i = 0; i < c.num_layers; ++i) {
      const std::string layer = absl::StrCat("model.layers.", i, ".");
      Add(layer + "input_layernorm.weight", {c.hidden_size});
      Add(layer + "self_attn.q_proj.weight", {q, c.hidden_size});
      Add(layer + "self_attn.k_proj.weight", {kv, c.hidden_size});
      Add(layer + "self_attn.v_proj.weight", {kv, c.hidden_size});
      Add(layer + "self_attn.o_proj.weight", {c.hidden_size, q});
      Add(layer + "post_attention_layernorm.weight", {c.hidden_size});
      Add(layer + "mlp.gate_proj.weight", {c.intermediate_size, c.hidden_size});
      Add(layer + "mlp.up_proj.weight", {c.intermediate_size, c.hidden_size});
      Add(layer + "mlp.down_proj.weight", {c.hidden_size, c.intermediate_size});
    }
    Add("model.norm.weight", {c.hidden_size});
    if (!c.tie_word_embeddings) Add("lm_head.weight", {c.vocab_size, c.hidden_size});
  }

  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const TensorInfo* Find(absl::string_view name) const override {
    for (const TensorInfo& t : tensors_) {
      if (t.name == name) return &t;
    }
    return nullptr;
  }
  absl::StatusOr<Tensor> Read(absl::string_view name) const override {
    const TensorInfo* t = Find(name);
    if (t == nullptr) return absl::NotFoundError(absl::StrCat(where_, ": no tensor ", name));
    if (t->shape.rank() == 1) return Tensor::Full(t->shape, 1, DType::kBF16, device_);
    return tensor::Uniform(t->shape, -0.035, 0.035, RngKey{.seed = 1}.Fold(static_cast<uint64_t>(t - tensors_.data())),
                           DType::kBF16, device_);
  }
  const std::string& where() const override { return where_; }

 private:
  void Add(const std::string& name, const Shape& shape) { tensors_.push_back({name, "BF16", shape, 2 * shape.size()}); }

  const Device device_;
  std::vector<TensorInfo> tensors_;
  std::string where_ = "random weights";
};

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_BENCHMARKS_RANDOM_WEIGHTS_H_
