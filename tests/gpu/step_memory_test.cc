// The memory of training steps on a device of any size: the simulator takes it and computes nothing, for what a step
// allocates does not depend on any value. Counted are tensors; a process on a GPU has some hundred MB besides, CUDA's
// own and cublasLt's.
#include <gtest/gtest.h>

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "tensor/cuda_memory.h"
#include "tests/gpu/gpu_steps.h"

namespace lorikeet {
namespace {

// MB. Those of Llama-3-8B are what a card of 8 GB and one of 6 GB have; the others are what a step takes today, and a
// hundredth more.
const std::map<std::string, double>& Bounds() {
  static const auto* const bounds = new std::map<std::string, double>{
      {"qwen3-8b/lora", 34300},
      {"qwen3-8b/qlora", 23900},
      {"qwen3-8b/dora", 38300},
      {"qwen3-0.6b/lora", 5970},
      {"qwen3-0.6b/qlora", 5310},
      {"qwen3-0.6b/lora-graphs", 6010},
      {"smollm2-135m/lora-4x256", 890},
      {"smollm2-135m/lora-4x256-graphs", 930},
      {"llama3-8b/qlora-4x2048-checkpointing", 10020},
      {"llama3-8b/qlora-4x2048-selective", 12160},
      {"llama3-8b/qlora-4x2048-selective-29-layers", 14450},
      {"llama3-8b/qlora-1x2048-checkpointing", 8000},
      {"llama3-8b/qlora-1x2048-offload", 6000},
  };
  return *bounds;
}

class MemoryTest : public testing::TestWithParam<GpuStep> {
 protected:
  static void SetUpTestSuite() {
    setenv("CUSIM_EXECUTE", "none", 1);
    setenv("CUSIM_MEMORY", "140000000000", 1);
  }
  void SetUp() override {
    if (!CudaIsSimulated()) GTEST_SKIP() << "only the simulator can leave out the arithmetic";
  }
};
class StepMemoryTest : public MemoryTest {};
class GenerationMemoryTest : public MemoryTest {};

std::string TestName(const testing::TestParamInfo<GpuStep>& info) {
  std::string name = info.param.name;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}

TEST_P(StepMemoryTest, StaysWithinItsBound) {
  const GpuStep& step = GetParam();
  const GpuStepResult r = MeasureStep(step);
  const double held = 1e-6 * static_cast<double>(r.held_bytes), peak = 1e-6 * static_cast<double>(r.peak_bytes);
  std::printf("%-40s %6.0f MB before a step, %6.0f MB at most; %.1f ms of the host's\n", step.name.c_str(), held, peak,
              1e3 * r.seconds);
  ASSERT_EQ(Bounds().count(step.name), 1u) << "no bound for " << step.name;
  EXPECT_LE(peak, Bounds().at(step.name));
  EXPECT_GT(peak, held);
}

// Weights, a cache of 256 tokens, and little else; a graph's own memory among it.
TEST_P(GenerationMemoryTest, StaysWithinItsBound) {
  const GpuStep& step = GetParam();
  const GpuGenerationResult r = MeasureGeneration(step);
  const double peak = 1e-6 * static_cast<double>(r.peak_bytes);
  std::printf("%-40s %6.0f MB of weights read, %6.0f MB at most; %.3f ms of the host's for a token\n",
              step.name.c_str(), 1e-6 * static_cast<double>(r.weight_bytes), peak, 1e3 * r.seconds);
  EXPECT_GT(r.peak_bytes, r.weight_bytes);
  EXPECT_LE(peak, step.four_bit ? 5940 : 290);
}

INSTANTIATE_TEST_SUITE_P(Steps, StepMemoryTest, testing::ValuesIn(GpuSteps()), TestName);
INSTANTIATE_TEST_SUITE_P(Generations, GenerationMemoryTest, testing::ValuesIn(GpuGenerations()), TestName);

}  // namespace
}  // namespace lorikeet
