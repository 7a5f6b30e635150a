#include "autograd/parameter_casts.h"

#include <vector>

#include "autograd/parameter.h"
#include "autograd/tape.h"
#include "gtest/gtest.h"
#include "tensor/cuda_graph.h"
#include "tensor/cuda_memory.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

using tensor::RandomTensor;
using tensor::SameBits;

Parameter Make(const Shape& shape, DType dtype = DType::kF32) {
  return {.name = "w", .value = RandomTensor(shape, dtype, 1)};
}

TEST(ParameterCastsTest, UsesTakeTheOneThatIsThere) {
  Parameter p = Make({3, 5});
  {
    const ParameterCasts casts({&p}, DType::kBF16);
    ASSERT_TRUE(p.cast.defined());
    EXPECT_TRUE(SameBits(p.cast, p.value.Cast(DType::kBF16)));
    EXPECT_EQ(p.As(DType::kBF16).raw(), p.cast.raw());
    EXPECT_EQ(Use(p, DType::kBF16).value().raw(), p.cast.raw());
    EXPECT_EQ(Use(p).value().raw(), p.value.raw());
    EXPECT_TRUE(SameBits(p.As(DType::kF16), p.value.Cast(DType::kF16)));
    Tape tape;
    EXPECT_EQ(Use(p, DType::kBF16).value().raw(), p.cast.raw());
  }
  EXPECT_FALSE(p.cast.defined());
  p.value = RandomTensor({3, 5}, DType::kF32, 2);
  EXPECT_TRUE(SameBits(Use(p, DType::kBF16).value(), p.value.Cast(DType::kBF16)));
}

TEST(ParameterCastsTest, LargeOnesAndThoseOfTheDTypeAreLeft) {
  Parameter large = Make({ParameterCasts::kMaxElements / 4, 4}), same = Make({7}, DType::kBF16), small = Make({7});
  const ParameterCasts casts({&large, &same, &small}, DType::kBF16);
  EXPECT_FALSE(large.cast.defined());
  EXPECT_FALSE(same.cast.defined());
  EXPECT_TRUE(small.cast.defined());
}

TEST(ParameterCastsTest, AnInnerOneLeavesWhatTheOuterOneHolds) {
  Parameter p = Make({4}), q = Make({4});
  const ParameterCasts outer({&p}, DType::kBF16);
  const Tensor held = p.cast;
  {
    const ParameterCasts inner({&p, &q}, DType::kBF16);
    EXPECT_EQ(p.cast.raw(), held.raw());
    EXPECT_TRUE(q.cast.defined());
  }
  EXPECT_EQ(p.cast.raw(), held.raw());
  EXPECT_FALSE(q.cast.defined());
}

TEST(ParameterCastsTest, ACapturedPassCastsAnewWithEveryLaunch) {
  if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  std::vector<Parameter> parameters(100);  // more than a launch takes
  std::vector<Parameter*> all;
  for (Parameter& p : parameters) {
    p.value = Tensor::Full({5, 3}, 1, DType::kF32).To(Cuda(0));
    all.push_back(&p);
  }
  Tensor seen;
  CudaGraph graph;
  ASSERT_TRUE(graph.Capture([&] {
    const ParameterCasts casts(all, DType::kBF16);
    seen = all.back()->As(DType::kBF16).Clone();
  }));
  for (int step = 0; step < 3; ++step) {
    tensor::FillInPlace(all.back()->value, step);
    graph.Launch();
    EXPECT_TRUE(SameBits(seen.To(kCpu), Tensor::Full({5, 3}, step, DType::kBF16))) << step;
  }
}

}  // namespace
}  // namespace lorikeet
