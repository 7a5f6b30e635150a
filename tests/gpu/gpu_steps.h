// Training steps and generation of whole models with random weights on the GPU, in the settings that others publish.
//
//   for (const GpuStep& step : GpuSteps()) GpuStepResult r = MeasureStep(step);
//   for (const GpuStep& step : GpuGenerations()) GpuGenerationResult r = MeasureGeneration(step);
//
// Packed sequences, rank 16 on every linear layer, AdamW. The weights are made on the device, tensor by tensor.
#ifndef LORIKEET_TESTS_GPU_GPU_STEPS_H_
#define LORIKEET_TESTS_GPU_GPU_STEPS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "nn/layer_runner.h"
#include "nn/model_config.h"

namespace lorikeet {

struct GpuStep {
  std::string name;
  ModelConfig config;
  bool four_bit = false, dora = false;
  Checkpointing checkpointing = Checkpointing::kOff;
  int64_t checkpointed_layers = INT64_MAX;  // the first so many
  bool offload_embeddings = false, paged = false, graphs = false;
  int64_t sequences = 2, length = 2048, accumulation = 4;
};

struct GpuStepResult {
  double seconds = 0;  // of the fastest step but the first two
  int64_t tokens = 0;
  double flops = 0;                        // useful ones (apps/training/useful_flops.h)
  int64_t held_bytes = 0, peak_bytes = 0;  // of tensors on the device: before the first step, and at most
  double loss = 0;
};

std::vector<GpuStep> GpuSteps();
GpuStepResult MeasureStep(const GpuStep& step);

// The seconds that a token takes to generate, behind a prompt of 128, with the logits on the host; the bytes of weights
// that it reads; and of tensors on the device, at most. No adapters.
struct GpuGenerationResult {
  double seconds = 0;
  int64_t weight_bytes = 0, peak_bytes = 0;
};

// Of `step`, the model, the weights' form and `graphs` count.
std::vector<GpuStep> GpuGenerations();
GpuGenerationResult MeasureGeneration(const GpuStep& step);

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_GPU_GPU_STEPS_H_
