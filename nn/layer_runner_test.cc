#include "nn/layer_runner.h"

#include <cstdint>
#include <memory>
#include <vector>

#include "autograd/ops/elementwise.h"
#include "autograd/parameter.h"
#include "autograd/tape.h"
#include "autograd/variable.h"
#include "gtest/gtest.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

struct SquareLayer {
  Parameter w{.name = "w", .value = Tensor::Scalar(2, DType::kF64)};
  int runs = 0;
};

std::vector<int> RunsOfEachLayer(Checkpointing checkpointing, int64_t layers) {
  std::vector<std::unique_ptr<SquareLayer>> model;
  for (int i = 0; i < 3; ++i) model.push_back(std::make_unique<SquareLayer>());
  LayerRunner run;
  run.set_checkpointing(checkpointing, layers);
  Tape tape;
  const Variable y = run(Variable(Tensor::Scalar(0.5, DType::kF64)), model, [](SquareLayer& layer, const Variable& x) {
    ++layer.runs;
    return Square(Mul(x, Use(layer.w)));
  });
  tape.Backward(y, Tensor::Scalar(1, DType::kF64));
  std::vector<int> runs;
  for (const auto& layer : model) {
    runs.push_back(layer->runs);
    EXPECT_GT(layer->w.grad.item(), 0);
  }
  // y = w0^8 w1^4 w2^2 x^8 = 2^14 / 2^8
  EXPECT_EQ(y.value().item(), 64);
  EXPECT_EQ(model[0]->w.grad.item(), 64 * 8 / 2);
  EXPECT_EQ(model[2]->w.grad.item(), 64 * 2 / 2);
  return runs;
}

TEST(LayerRunnerTest, OnlyTheLayersAskedForRunAgain) {
  EXPECT_EQ(RunsOfEachLayer(Checkpointing::kOff, INT64_MAX), (std::vector<int>{1, 1, 1}));
  EXPECT_EQ(RunsOfEachLayer(Checkpointing::kOn, INT64_MAX), (std::vector<int>{2, 2, 2}));
  EXPECT_EQ(RunsOfEachLayer(Checkpointing::kOn, 2), (std::vector<int>{2, 2, 1}));
  EXPECT_EQ(RunsOfEachLayer(Checkpointing::kOn, 0), (std::vector<int>{1, 1, 1}));
  EXPECT_EQ(RunsOfEachLayer(Checkpointing::kSelective, 2), (std::vector<int>{2, 2, 1}));
  EXPECT_EQ(RunsOfEachLayer(Checkpointing::kOffload, 1), (std::vector<int>{2, 1, 1}));
}

}  // namespace
}  // namespace lorikeet
