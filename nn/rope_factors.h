// Rotary scaling as GGUF files have it, in part as tensors of what each frequency is divided by, and the way back to
// config.json's numbers.
//
//   for (const RopeTensor& t : RopeTensors(config)) writer.Write(t.name, t.factors);   // nothing: no scaling needs one
//   absl::optional<RopeScaling> scaling = ScalingOfFactors(factors, config);             // Llama 3's
//
//   llama3     rope_freqs.weight              1 for short wavelengths, rope_scaling.factor for long ones
//   longrope   rope_factors_short.weight      short_factor
//              rope_factors_long.weight       long_factor
//
// All are f32 [rotated dimensions / 2]. From rope_freqs.weight alone several settings could follow. low_freq_factor 1
// and high_freq_factor 4 are taken for granted, as in every Llama 3.1 to 3.3, and original_max_position_embeddings for
// a power of two, 8192 if that will do; what then gives other factors than the file's, by more than 1e-4 of them, is
// nothing. (convert_hf_to_gguf.py rounds frequencies to f32 first, which costs up to 1e-5.)
//
// Threads: all may be called concurrently. Source: convert_hf_to_gguf.py of https://github.com/ggml-org/llama.cpp.
#ifndef LORIKEET_NN_ROPE_FACTORS_H_
#define LORIKEET_NN_ROPE_FACTORS_H_

#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "nn/model_config.h"
#include "tensor/ops/rope_scaling.h"
#include "tensor/tensor.h"

namespace lorikeet {

inline constexpr char kRopeFactors[] = "rope_freqs.weight";
inline constexpr char kShortRopeFactors[] = "rope_factors_short.weight";
inline constexpr char kLongRopeFactors[] = "rope_factors_long.weight";

struct RopeTensor {
  const char* name;
  Tensor factors;
};
std::vector<RopeTensor> RopeTensors(const ModelConfig& config);

// Whether a tensor of this name is a part of the configuration, and no weight.
bool IsRopeTensor(absl::string_view name);

// Of config, rope_theta and head_dim count.
absl::optional<RopeScaling> ScalingOfFactors(const Tensor& factors, const ModelConfig& config);

}  // namespace lorikeet

#endif  // LORIKEET_NN_ROPE_FACTORS_H_
