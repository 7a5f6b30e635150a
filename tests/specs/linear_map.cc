#include "nn/linear_map.h"

#include <map>
#include <utility>

#include "autograd/ops/gather.h"
#include "autograd/ops/matmul.h"
#include "autograd/parameter.h"
#include "autograd/tape.h"
#include "nn/dense_map.h"
#include "nn/module.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/testing.h"
#include "tests/testing/matchers.h"
#include "tests/testing/op_spec.h"

namespace lorikeet {
namespace {

constexpr int64_t kIn = 11, kOut = 5;

Tensor Weight() { return tensor::RandomTensor({kOut, kIn}, DType::kF64, 7); }

// A record refers to its map until Backward: one per dtype and device, for as long as the program runs.
DenseMap& FrozenMap(DType dtype, Device device) {
  static auto* maps = new std::map<std::pair<DType, DeviceType>, DenseMap>();
  return maps->try_emplace({dtype, device.type}, Weight().Cast(dtype).To(device)).first->second;
}

std::vector<OpSpec> LinearMapSpecs() {
  return {{.name = "FrozenDenseMap",
           .inputs = {{"x", {3, kIn}}},
           .op = [](In in) { return FrozenMap(in[0].dtype(), DeviceOf(in)).Apply(in[0]); },
           .reference = [](In in) { return MatMul(in[0], Weight(), false, true); },
           .empty = {{{0, kIn}}},
           .large = {{301, kIn}},
           .slack = 16}};
}

INSTANTIATE_TEST_SUITE_P(LinearMap, OpSpecTest, testing::ValuesIn(LinearMapSpecs()), SpecName);

class DenseMapTest : public testing::Test, protected Visitor {
 protected:
  DenseMapTest() { map_.Visit(*this); }
  void VisitLeaf(absl::string_view name, Parameter& p) override {
    EXPECT_EQ(name, "weight");
    weight_ = &p;
  }
  DenseMap map_{Parameter{.name = "w", .value = Weight()}};
  Parameter* weight_ = nullptr;
};

TEST_F(DenseMapTest, TrainableApplyHasTheGradientsOfMatMul) {
  const Tensor x = tensor::RandomTensor({3, kIn}, DType::kF64, 1);
  const auto dy = [](const Tensor& y) { return tensor::RandomTensor(y.shape(), DType::kF64, 2); };
  const OpRun want = RunOp([](In in) { return MatMul(in[0], in[1], false, true); }, {x, Weight()}, dy);
  const OpRun got = RunOp([&](In in) { return map_.Apply(in[0]); }, {x}, dy);
  EXPECT_TRUE(AllClose(got.y, want.y, 1e-13));
  EXPECT_TRUE(AllClose(got.grads[0], want.grads[0], 1e-13));
  EXPECT_TRUE(AllClose(weight_->grad, want.grads[1], 1e-13));
  EXPECT_EQ(got.saved_bytes, x.nbytes() + Weight().nbytes());
}

TEST_F(DenseMapTest, LookupAndApplyAddIntoOneGradient) {
  const Tensor ids = Tensor::From<int32_t>({4, 0, 4}, {3}), x = tensor::RandomTensor({3, kIn}, DType::kF64, 1);
  const auto ones = [](const Tensor& y) { return Tensor::Full(y.shape(), 1, DType::kF64); };
  const OpRun rows = RunOp([&](In in) { return GatherRows(in[0], ids); }, {Weight()}, ones);
  const OpRun product = RunOp([&](In in) { return MatMul(x, in[0], false, true); }, {Weight()}, ones);
  {
    Tape tape;
    const Variable found = map_.Lookup(ids, DType::kF64);
    EXPECT_TRUE(AllClose(found.value(), rows.y, 0));
    tape.Backward(found, ones(found.value()));
  }
  Tape tape;
  const Variable y = map_.Apply(x);
  tape.Backward(y, ones(y.value()));
  EXPECT_TRUE(AllClose(weight_->grad, tensor::Add(rows.grads[0], product.grads[0]), 1e-13));
}

TEST_F(DenseMapTest, TrainableWeightsStayWideBesideNarrowActivations) {
  DenseMap map(Parameter{.name = "w", .value = Weight().Cast(DType::kF32)});
  map.Visit(*this);
  const Tensor x = tensor::RandomTensor({3, kIn}, DType::kBF16, 1);
  const OpRun run = RunOp([&](In in) { return map.Apply(in[0]); }, {x},
                          [](const Tensor& y) { return Tensor::Full(y.shape(), 1, y.dtype()); });
  EXPECT_EQ(run.y.dtype(), DType::kBF16);
  EXPECT_EQ(run.grads[0].dtype(), DType::kBF16);
  EXPECT_EQ(weight_->grad.dtype(), DType::kF32);
  // Every row of dW is the sum of x's rows, kept in f32.
  const Tensor want = MatMul(Tensor::Full({kOut, 3}, 1, DType::kF64), x.Cast(DType::kF64)).value();
  EXPECT_TRUE(AllClose(weight_->grad, want, 1e-6));
}

TEST(LinearMapDeathTest, AMatrixIsAsked) {
  EXPECT_DEATH(DenseMap(Tensor::Zeros({3}, DType::kF32)), "DenseMap: weight is f32.3.");
}

}  // namespace
}  // namespace lorikeet
