#include "peft/lora_plus.h"

#include <string>

#include "autograd/parameter.h"
#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

double Scale(const std::string& name, const Shape& shape) {
  return LoraPlusScale({.name = name, .value = Tensor::Zeros(shape, DType::kF32)}, 16);
}

TEST(LoraPlusTest, BAndMagnitudesLearnFasterAndNothingElse) {
  const std::string module = "model.layers.0.mlp.up_proj.";
  EXPECT_EQ(Scale(module + "lora_A.weight", {8, 64}), 1);
  EXPECT_EQ(Scale(module + "lora_B.weight", {64, 8}), 16);
  EXPECT_EQ(Scale(module + "lora_magnitude_vector", {64}), 16);
}

}  // namespace
}  // namespace lorikeet
