#include "apps/training/step_graphs.h"

#include <cstdint>
#include <memory>
#include <vector>

#include "apps/text/batches.h"
#include "apps/training/model_batch.h"
#include "autograd/ops/gather.h"
#include "autograd/parameter.h"
#include "autograd/tape.h"
#include "autograd/variable.h"
#include "gtest/gtest.h"
#include "nn/batch.h"
#include "nn/dense_map.h"
#include "nn/linear_cross_entropy.h"
#include "tensor/cuda_graph.h"
#include "tensor/cuda_memory.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/ops/testing.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

constexpr int64_t kVocab = 37, kHidden = 24, kGraphs = 3;

TEST(StepGraphsShapeTest, PaddingIsAtMostAnEighthAndMakesFewShapes) {
  for (int64_t n = 1; n < 5000; ++n) {
    EXPECT_GE(StepGraphs::Tokens(n), n);
    EXPECT_LE(StepGraphs::Tokens(n), n + std::max<int64_t>(63, n / 8)) << n;
    EXPECT_EQ(StepGraphs::Tokens(StepGraphs::Tokens(n)), StepGraphs::Tokens(n)) << n;
  }
  EXPECT_EQ(StepGraphs::Tokens(2048), 2048);
  EXPECT_EQ(StepGraphs::Tokens(2049), 2304);
  EXPECT_EQ(StepGraphs::Sequences(5), 16);
  EXPECT_EQ(StepGraphs::Sequences(17), 32);
  EXPECT_EQ(StepGraphs::AnswerUnit(100), 64);
  EXPECT_EQ(StepGraphs::AnswerUnit(2048), 512);
}

TEST(StepGraphsShapeTest, PaddingHasNoTargetAndEmptySequences) {
  const text::Batch b =
      Padded({.tokens = {7, 8, 9}, .targets = {8, -1, 5}, .positions = {0, 1, 0}, .cu_seqlens = {0, 2, 3}}, 5, 4);
  EXPECT_EQ(b.tokens, (std::vector<int32_t>{7, 8, 9, 0, 0}));
  EXPECT_EQ(b.targets, (std::vector<int32_t>{8, -1, 5, -1, -1}));
  EXPECT_EQ(b.positions, (std::vector<int32_t>{0, 1, 0, 0, 0}));
  EXPECT_EQ(b.cu_seqlens, (std::vector<int32_t>{0, 2, 3, 5, 5}));
}

// A model of two matrices: embedding and head, both trained.
class StepGraphsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
    table_.value = tensor::RandomTensor({kVocab, kHidden}, DType::kF32, 1).To(Cuda(0));
    head_ = std::make_unique<DenseMap>(tensor::RandomTensor({kVocab, kHidden}, DType::kF32, 2).To(Cuda(0)));
  }

  RowLosses Pass(const MicroBatch& b) {
    ++passes_;
    Tape tape;
    RowLosses losses;
    const Variable h = GatherRows(Use(table_), b.inputs.tokens);
    const Variable loss = LinearCrossEntropy(h, *head_, b.answers, {}, &losses);
    tape.Backward(loss, Tensor::Scalar(1, DType::kF32));
    return losses;
  }

  // Every third token has no target.
  static MicroBatch Make(int64_t tokens, uint32_t seed) {
    std::vector<int32_t> ids, targets;
    for (int64_t i = 0; i < tokens; ++i) {
      seed = seed * 1664525u + 1013904223u;
      ids.push_back(static_cast<int32_t>((seed >> 8) % kVocab));
      targets.push_back(i % 3 == 0 ? -1 : static_cast<int32_t>((seed >> 16) % kVocab));
    }
    MicroBatch b;
    b.inputs = OneSequence(ids, 0, Cuda(0));
    b.answers = FindAnswers(Tensor::From<int32_t>(targets, {tokens}), 1.0 / (1 + seed % 5), DType::kF32, Cuda(0), 64);
    return b;
  }

  // A step over the batches by graphs, and the same by plain passes: losses and gradients agree.
  void ExpectStepAgrees(const std::vector<MicroBatch>& batches) {
    std::vector<RowLosses> got;
    graphs_.BeginStep();
    for (const MicroBatch& b : batches) got.push_back(graphs_.Run(b));
    const Tensor grad = table_.grad.To(kCpu);
    graphs_.EndStep();
    EXPECT_FALSE(table_.grad.defined());
    for (size_t i = 0; i < batches.size(); ++i) {
      const RowLosses want = Pass(batches[i]);
      EXPECT_TRUE(tensor::IsClose(got[i].losses, tensor::Values(want.losses), 1e-5)) << i;
      EXPECT_TRUE(tensor::SameBits(got[i].correct.To(kCpu), want.correct.To(kCpu))) << i;
    }
    EXPECT_TRUE(tensor::IsClose(grad, tensor::Values(table_.grad), 1e-5));
    table_.ZeroGrad();
  }

  Parameter table_{.name = "table", .value = {}};
  std::unique_ptr<DenseMap> head_;
  int passes_ = 0;  // that ran, or were captured
  StepGraphs graphs_{{&table_}, [this](const MicroBatch& b) { return Pass(b); }, kGraphs};
};

TEST_F(StepGraphsTest, ShapesThatRepeatAreLaunchedWithOtherRowsAndScales) {
  for (uint32_t step = 0; step < 4; ++step) {
    SCOPED_TRACE(step);
    ExpectStepAgrees({Make(64, 10 * step), Make(96, 10 * step + 1), Make(64, 10 * step + 2)});
  }
  EXPECT_EQ(graphs_.graphs(), 2u);
  // 64: all but the first; 96: all but the first.
  EXPECT_EQ(graphs_.launches(), 7 + 3);
}

TEST_F(StepGraphsTest, ALargerShapeEndsTheOthersWhichAreThenCapturedAnew) {
  ExpectStepAgrees({Make(64, 1), Make(64, 2)});
  EXPECT_EQ(graphs_.graphs(), 1u);
  ExpectStepAgrees({Make(200, 3), Make(200, 4), Make(64, 5)});
  EXPECT_EQ(graphs_.graphs(), 2u);
  ExpectStepAgrees({Make(64, 6), Make(200, 7)});
  EXPECT_EQ(graphs_.launches(), 5);
}

TEST_F(StepGraphsTest, AValueThatMovedIsCapturedAnew) {
  ExpectStepAgrees({Make(64, 1), Make(64, 2)});
  table_.value = tensor::RandomTensor({kVocab, kHidden}, DType::kF32, 9).To(Cuda(0));
  ExpectStepAgrees({Make(64, 3), Make(64, 4)});
  EXPECT_EQ(graphs_.launches(), 3);
}

TEST_F(StepGraphsTest, BatchesWithoutAnAnswerRunAsTheyAre) {
  MicroBatch empty = Make(64, 1);
  empty.answers = FindAnswers(Tensor::Full({64}, -1, DType::kI32), 1, DType::kF32, Cuda(0), 64);
  ExpectStepAgrees({Make(64, 2), empty, empty, Make(64, 3)});
  EXPECT_EQ(graphs_.launches(), 1);
}

TEST_F(StepGraphsTest, TheGraphsUsedLastAreKept) {
  std::vector<MicroBatch> all;
  for (int64_t i = kGraphs + 2; i > 0; --i) all.push_back(Make(64 + i, static_cast<uint32_t>(i)));
  ExpectStepAgrees(all);
  ExpectStepAgrees(all);
  EXPECT_EQ(graphs_.graphs(), static_cast<size_t>(kGraphs));
  const int before = passes_;
  ExpectStepAgrees({all.back()});
  EXPECT_EQ(passes_, before + 1);  // the plain one
}

TEST_F(StepGraphsTest, MemoryGoesWithTheGraphs) {
  {
    StepGraphs graphs({&table_}, [this](const MicroBatch& b) { return Pass(b); });
    graphs.BeginStep();
    for (uint32_t i = 0; i < 3; ++i) graphs.Run(Make(64, i));
    graphs.EndStep();
    EXPECT_EQ(graphs.launches(), 2);
    EXPECT_GT(GraphMemory().stats().held_bytes, 0);
  }
  EXPECT_EQ(GraphMemory().stats().held_bytes, 0);
}

}  // namespace
}  // namespace lorikeet
