// Initialisations against PEFT's (tests/golden/make_inits.py), and by what each promises.
#include "peft/lora_init.h"

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nn/dense_map.h"
#include "nn/linear_map.h"
#include "nn/module.h"
#include "tensor/io/safetensors.h"
#include "tensor/ops/linalg.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/testing.h"
#include "tensor/random.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

using tensor::IsClose;
using tensor::Values;
using testing::HasSubstr;

constexpr int64_t kRank = 4;
constexpr double kScaling = 3;
const RngKey kKey{.seed = 9};

Tensor Golden(const std::string& name) {
  static const auto* file = new auto(SafetensorsFile::Open("tests/golden/inits.safetensors"));
  EXPECT_TRUE(file->ok()) << file->status();
  absl::StatusOr<Tensor> t = (**file)->Read(name);
  EXPECT_TRUE(t.ok()) << t.status();
  return *t;
}

MapSlot SlotOf(std::unique_ptr<LinearMap> map, bool embedding = false) {
  MapSlot slot{map->in_features(), map->out_features(), nullptr, embedding};
  slot.map = std::move(map);
  return slot;
}
MapSlot Dense(const Tensor& w) { return SlotOf(std::make_unique<DenseMap>(w)); }

LoraStart Start(const char* init, const MapSlot& slot, const Tensor& original = {}, int64_t rank = kRank) {
  const absl::StatusOr<LoraStart> s = StartFactors(*ParseLoraInit(init), slot, original, rank, kScaling, kKey);
  EXPECT_TRUE(s.ok()) << s.status();
  return *s;
}

std::string Complaint(const char* init, const MapSlot& slot, int64_t rank = kRank) {
  return std::string(StartFactors(*ParseLoraInit(init), slot, {}, rank, kScaling, kKey).status().message());
}

// A weight that is stored in some other way.
class PackedMap : public LinearMap {
 public:
  explicit PackedMap(const Tensor& w) : dense_(w) {}
  int64_t in_features() const override { return dense_.in_features(); }
  int64_t out_features() const override { return dense_.out_features(); }
  bool frozen() const override { return true; }
  DType dtype() const override { return dense_.dtype(); }
  Device device() const override { return dense_.device(); }
  void Forward(const Tensor& x, Tensor& y, const Epilogue& e) const override { dense_.Forward(x, y, e); }
  void InputGrad(const Tensor& dy, Tensor& dx, const Epilogue& e) const override { dense_.InputGrad(dy, dx, e); }
  Tensor Dense() const override { return dense_.Dense(); }
  void Visit(Visitor&) override {}

 private:
  DenseMap dense_;
};

// s*B*A
Tensor ProductOf(const LoraStart& s) {
  Tensor p = Tensor::Empty({s.b.dim(0), s.a.dim(1)}, s.a.dtype());
  tensor::MatMulInto(p, s.b, false, s.a, false, kScaling, 0);
  return p;
}

double LargestOf(const Tensor& t) {
  double largest = 0;
  for (const double v : Values(t)) largest = std::fmax(largest, std::fabs(v));
  return largest;
}

TEST(LoraInitTest, PissaTakesWhatPeftTakes) {
  const MapSlot slot = Dense(Golden("w"));
  const LoraStart s = Start("pissa", slot);
  // PEFT's SVD is in f32, and errs by some 3e-6.
  EXPECT_TRUE(IsClose(ProductOf(s), Values(Golden("pissa.product")), 1e-5));
  EXPECT_TRUE(IsClose(WithoutProduct(*slot.map, s, kScaling)->Dense(), Values(Golden("pissa.base")), 1e-5));
  // A and B share the singular values evenly: each row of A has the squared length S/s.
  const std::vector<double> gram = Values(tensor::MatMul(s.a, s.a.Transpose(0, 1))), want = Values(Golden("pissa.s"));
  for (size_t i = 0; i < kRank; ++i) EXPECT_NEAR(gram[i * kRank + i], want[i] / kScaling, 1e-5);
}

TEST(LoraInitTest, ManyPowerIterationsTakeTheSame) {
  const LoraStart s = Start("pissa_niter_200", Dense(Golden("w")));
  EXPECT_TRUE(IsClose(ProductOf(s), Values(Golden("pissa.product")), 1e-4));
}

TEST(LoraInitTest, OloraTakesWhatPeftTakes) {
  const MapSlot slot = Dense(Golden("w"));
  const LoraStart s = Start("olora", slot);
  EXPECT_TRUE(IsClose(s.a, Values(Golden("olora.a")), 5e-6));
  EXPECT_TRUE(IsClose(s.b, Values(Golden("olora.b")), 1e-6));
  EXPECT_TRUE(IsClose(WithoutProduct(*slot.map, s, kScaling)->Dense(), Values(Golden("olora.base")), 5e-6));
}

TEST(LoraInitTest, LoftqMendsWhatFourBitsLost) {
  const MapSlot slot = SlotOf(std::make_unique<PackedMap>(Golden("loftq.base")));
  EXPECT_TRUE(IsClose(ProductOf(Start("loftq", slot, Golden("w"))), Values(Golden("loftq.product")), 2e-6));
}

TEST(LoraInitTest, AMovedBasePlusTheFactorsIsTheWeight) {
  const MapSlot slot = Dense(Golden("w"));
  for (const char* init : {"pissa", "pissa_niter_2", "olora"}) {
    EXPECT_TRUE(ParseLoraInit(init)->moves_base());
    const LoraStart s = Start(init, slot);
    Tensor sum = WithoutProduct(*slot.map, s, kScaling)->Dense().Clone();
    tensor::MatMulInto(sum, s.b, false, s.a, false, kScaling, 1);
    EXPECT_TRUE(IsClose(sum, Values(Golden("w")), 2e-6)) << init;
  }
}

TEST(LoraInitTest, TheOthersChangeNothing) {
  const MapSlot slot = Dense(Golden("w"));
  for (const char* init : {"true", "gaussian", "orthogonal"}) {
    EXPECT_FALSE(ParseLoraInit(init)->moves_base());
    const LoraStart s = Start(init, slot);
    EXPECT_LT(LargestOf(ProductOf(s)), 1e-6) << init;
    EXPECT_GT(LargestOf(s.a), 0.01) << init;
  }
}

TEST(LoraInitTest, OrthogonalReachesBothHalves) {
  const LoraStart s = Start("orthogonal", Dense(Golden("w")));
  EXPECT_GT(LargestOf(s.b), 0.01);
  EXPECT_LT(tensor::TopSvd(s.a, kRank).s.Slice(0, kRank / 2, kRank / 2 + 1).item(), 1e-6) << "A has rank r/2";
}

TEST(LoraInitTest, GaussiansStandardDeviationIsOneOverTheRank) {
  const MapSlot slot = Dense(Tensor::Zeros({8, 4096}, DType::kF32));
  double sum = 0;
  const std::vector<double> a = Values(Start("gaussian", slot, {}, 8).a);
  for (const double v : a) sum += v * v;
  EXPECT_NEAR(std::sqrt(sum / static_cast<double>(a.size())), 1.0 / 8, 1.0 / 800);
}

TEST(LoraInitTest, AnEmbeddingsRowsStartAtZero) {
  const MapSlot slot = SlotOf(std::make_unique<DenseMap>(Golden("w")), /*embedding=*/true);
  const LoraStart s = Start("true", slot);
  EXPECT_EQ(LargestOf(s.b), 0);
  EXPECT_GT(LargestOf(s.a), 1) << "normal, not uniform within 1/8";
  EXPECT_THAT(Complaint("pissa", slot), HasSubstr("embedding"));
}

TEST(LoraInitTest, WhatCannotBeIsRefused) {
  const MapSlot dense = Dense(Golden("w")), packed = SlotOf(std::make_unique<PackedMap>(Golden("w")));
  EXPECT_THAT(Complaint("orthogonal", dense, 3), HasSubstr("even rank"));
  EXPECT_THAT(Complaint("olora", dense, 25), HasSubstr("rank 25 is more than a weight of 24 x 64 has"));
  EXPECT_THAT(Complaint("pissa", packed), HasSubstr("loftq"));
  for (const char* bad : {"", "True", "pissa_niter_", "pissa_niter_-1", "pissa_niter_1000000", "eva"}) {
    EXPECT_THAT(std::string(ParseLoraInit(bad).status().message()), HasSubstr("expected true, gaussian")) << bad;
  }
}

}  // namespace
}  // namespace lorikeet
