// What Llama 3's rotary scaling divides each frequency by: the tensor rope_freqs.weight of GGUF files, and the way back
// to config.json's numbers.
//
//   absl::optional<Tensor> factors = RopeFactors(config);              // nothing: the scaling is another, or none
//   absl::optional<RopeScaling> scaling = ScalingOfFactors(*factors, config);
//
// factors: f32 [head_dim / 2], 1 for short wavelengths, rope_scaling.factor for long ones. From them alone several
// settings could follow. low_freq_factor 1 and high_freq_factor 4 are taken for granted, as in every Llama 3.1 to 3.3,
// and original_max_position_embeddings for a power of two, 8192 if that will do; what then gives other factors than the
// file's, by more than 1e-4 of them, is nothing. (convert_hf_to_gguf.py rounds frequencies to f32 first, which costs up
// to 1e-5.)
//
// Threads: both may be called concurrently. Source: convert_hf_to_gguf.py of https://github.com/ggml-org/llama.cpp.
#ifndef LORIKEET_NN_ROPE_FACTORS_H_
#define LORIKEET_NN_ROPE_FACTORS_H_

#include "absl/types/optional.h"
#include "nn/model_config.h"
#include "tensor/ops/rope.h"
#include "tensor/tensor.h"

namespace lorikeet {

// The name of the tensor.
inline constexpr char kRopeFactors[] = "rope_freqs.weight";

absl::optional<Tensor> RopeFactors(const ModelConfig& config);

// Of config, rope_theta and head_dim count.
absl::optional<RopeScaling> ScalingOfFactors(const Tensor& factors, const ModelConfig& config);

}  // namespace lorikeet

#endif  // LORIKEET_NN_ROPE_FACTORS_H_
