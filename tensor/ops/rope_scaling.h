// The frequencies of rotary position embedding, and how models stretch them beyond the context that they were trained
// in: config.json's rope_scaling.
//
//   Tensor inv_freq = RopeFrequencies(/*theta=*/10000, /*head_dim=*/64);   // once per model
//   Tensor scaled = RopeFrequencies(config.rope_theta, config.rotary_dim(), config.rope_scaling);
//   RopeTable table = MakeRopeTable(positions, scaled, RopeAttentionFactor(config.rope_scaling),
//                                   /*long_from=*/config.rope_scaling.original_max_position);
//
// Threads: any.
// Sources: linear: Chen et al., "Extending context window of large language models via positional interpolation", 2023;
// yarn: Peng et al., "YaRN: Efficient context window extension of large language models", 2023; longrope: Ding et al.,
// "LongRoPE: Extending LLM context window beyond 2 million tokens", 2024; llama3: Llama 3.1's config.json. All as
// transformers computes them.
#ifndef LORIKEET_TENSOR_OPS_ROPE_SCALING_H_
#define LORIKEET_TENSOR_OPS_ROPE_SCALING_H_

#include <cstdint>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace lorikeet {

struct RopeScaling {
  enum class Kind : uint8_t {
    kNone,
    kLinear,    // every frequency divided by factor
    kLlama3,    // long wavelengths divided by factor, short ones kept, a smooth passage between
    kYarn,      // the same by how often a pair turns in the original context, the passage linear in the pair's number
    kLongRope,  // each frequency divided by a number of its own, of two sets: for short sequences and for long ones
  };
  Kind kind = Kind::kNone;
  double factor = 1;
  double low_freq_factor = 1;   // kLlama3: wavelengths above original_max_position / low_freq_factor are long,
  double high_freq_factor = 4;  // those below original_max_position / high_freq_factor short
  double beta_fast = 32;        // kYarn: pairs that turn more often than this keep their frequency,
  double beta_slow = 1;         // those that turn less often than this are divided by factor
  bool truncate = true;         // kYarn: the passage's ends are whole pairs
  int64_t original_max_position = 8192;
  double attention_factor = 0;                              // kYarn, kLongRope; 0: the scheme's own
  std::vector<double> short_factor = {}, long_factor = {};  // kLongRope: [head_dim/2] each
};

namespace tensor {

// inv_freq [head_dim/2] = theta^(-2i/head_dim), scaled; of kLongRope [2, head_dim/2], for short and for long sequences.
// f32 as models use it, f64 for gradient checks. head_dim is even.
Tensor RopeFrequencies(double theta, int64_t head_dim, const RopeScaling& scaling = {}, DType dtype = DType::kF32);

// YaRN's mscale: by how much attention is sharpened over a context `factor` times as long.
double YarnMScale(double factor, double mscale = 1);

// What multiplies cosines and sines, and so q and k: 1 but for kYarn and kLongRope, which sharpen attention over a
// longer context.
double RopeAttentionFactor(const RopeScaling& scaling);

}  // namespace tensor
}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_OPS_ROPE_SCALING_H_
