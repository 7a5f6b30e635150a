#include "optim/adamw.h"

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "autograd/parameter.h"
#include "gtest/gtest.h"
#include "optim/golden_for_test.h"
#include "optim/resident_store.h"
#include "optim/state_store.h"
#include "tensor/dtype.h"
#include "tensor/kernels/parallel.h"
#include "tensor/ops/testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

using tensor::IsClose;
using tensor::RandomTensor;
using tensor::SameBits;
using tensor::Values;

std::vector<Parameter*> Pointers(std::vector<Parameter>& parameters) {
  std::vector<Parameter*> pointers;
  for (Parameter& p : parameters) pointers.push_back(&p);
  return pointers;
}

AdamW Resident(std::vector<Parameter>& parameters, AdamWOptions options = {}, int64_t page = 4 << 20) {
  const std::vector<Parameter*> pointers = Pointers(parameters);
  return AdamW(pointers, std::move(options),
               std::make_unique<ResidentStore>(StateElements(pointers), parameters[0].value.dtype(), kCpu, page));
}

std::map<std::string, Tensor> State(AdamW& optimizer) {
  std::map<std::string, Tensor> state;
  const absl::Status saved =
      optimizer.SaveState([&](const StateTensor& t, int64_t begin, const Tensor& values) -> absl::Status {
        Tensor& whole = state.try_emplace(t.name, Tensor::Zeros(t.shape, values.dtype())).first->second;
        const std::vector<double> elements = Values(values);
        for (size_t i = 0; i < elements.size(); ++i) {
          if (whole.dtype() == DType::kF64) {
            whole.data<double>()[begin + i] = elements[i];
          } else {
            whole.data<float>()[begin + i] = static_cast<float>(elements[i]);
          }
        }
        return absl::OkStatus();
      });
  EXPECT_TRUE(saved.ok()) << saved;
  return state;
}

std::vector<Parameter> RandomParameters(const std::vector<Shape>& shapes, uint32_t seed) {
  std::vector<Parameter> parameters;
  for (const Shape& shape : shapes) {
    parameters.push_back(
        {.name = absl::StrCat("p", parameters.size()), .value = RandomTensor(shape, DType::kF32, seed++)});
  }
  return parameters;
}

void SetGradients(std::vector<Parameter>& parameters, uint32_t seed) {
  for (Parameter& p : parameters) p.grad = RandomTensor(p.value.shape(), DType::kF32, seed++);
}

TEST(AdamW, ThreeStepsByHand) {  // in f64, rounded to nine digits
  std::vector<Parameter> p = {{.name = "p", .value = Tensor::From<double>({1, -0.5}, {2})}};
  AdamW optimizer = Resident(p, {.weight_decay = 0.1});
  const std::vector<std::vector<double>> want = {
      {0.989000001, -0.4895}, {0.978359181, -0.479010501}, {0.96780081, -0.46853149}};
  for (int t = 1; t <= 3; ++t) {
    p[0].grad = Tensor::From<double>({0.1 * t, -0.3}, {2});
    ASSERT_TRUE(optimizer.Step(0.01).ok());
    EXPECT_TRUE(IsClose(p[0].value, want[t - 1], 1.1e-9)) << "step " << t;
  }
}

struct GoldenCase {
  const char* name;
  AdamWOptions options;
};

class AdamWGolden : public testing::TestWithParam<std::pair<GoldenCase, DType>> {};

// The f32 run is compared with torch's f64 one: rounding must not grow over the steps.
TEST_P(AdamWGolden, TwentyStepsAreTorchs) {
  const auto& [test, dtype] = GetParam();
  const double tolerance = dtype == DType::kF64 ? 1e-13 : 2e-6;
  const Golden golden;
  std::vector<Parameter> p;
  for (int i = 0; i < 5; ++i) {
    const std::string name = std::to_string(i);
    p.push_back({.name = name, .value = golden.Read("p0." + name).Cast(dtype)});
  }
  AdamW optimizer = Resident(p, test.options);
  const Tensor lr = golden.Read(absl::StrCat(test.name, ".lr"));
  for (int k = 1; k <= 20; ++k) {
    for (int i = 0; i < 5; ++i) {
      p[i].grad = golden.Read("grad." + p[i].name).Slice(0, k - 1, k).Squeeze(0).Cast(dtype);
    }
    ASSERT_TRUE(optimizer.Step(lr.data<float>()[k - 1]).ok());
    if (k != 1 && k != 5 && k != 20) continue;
    for (int i = 0; i < 5; ++i) {
      const Tensor want = golden.Read(absl::StrCat(test.name, ".f64.p", k, ".", i));
      EXPECT_TRUE(IsClose(p[i].value, Values(want), tolerance)) << "parameter " << i << " step " << k;
    }
  }
  auto state = State(optimizer);
  for (int i = 0; i < 5; ++i) {
    const std::string end = "." + std::to_string(i);
    EXPECT_TRUE(
        IsClose(state.at("exp_avg" + end), Values(golden.Read(absl::StrCat(test.name, ".f64.m", end))), tolerance));
    EXPECT_TRUE(
        IsClose(state.at("exp_avg_sq" + end), Values(golden.Read(absl::StrCat(test.name, ".f64.v", end))), tolerance));
  }
}

const GoldenCase kDefault = {"default", {}};
const GoldenCase kDecay = {"decay", {.beta2 = 0.95, .weight_decay = 0.1}};
const GoldenCase kLargeEps = {"large_eps", {.beta1 = 0.8, .beta2 = 0.99, .eps = 1e-3, .weight_decay = 0.01}};

INSTANTIATE_TEST_SUITE_P(Cases, AdamWGolden,
                         testing::Values(std::pair{kDefault, DType::kF32}, std::pair{kDefault, DType::kF64},
                                         std::pair{kDecay, DType::kF32}, std::pair{kDecay, DType::kF64},
                                         std::pair{kLargeEps, DType::kF32}, std::pair{kLargeEps, DType::kF64}));

TEST(AdamW, BitsDependNeitherOnThreadsNorOnPages) {
  const std::vector<Shape> shapes = {{300, 131}, {1}, {257}, {0}, {40000}};
  std::vector<Parameter> want;
  for (int threads : {1, 3}) {
    for (int64_t page : {256, 1536, 1 << 20}) {
      SetNumThreads(threads);
      std::vector<Parameter> p = RandomParameters(shapes, 1);
      AdamW optimizer = Resident(p, {.weight_decay = 0.1}, page);
      for (int k = 0; k < 3; ++k) {
        SetGradients(p, 100 + 10 * k);
        ASSERT_TRUE(optimizer.Step(0.01).ok());
      }
      if (want.empty()) want = p;
      for (size_t i = 0; i < p.size(); ++i) EXPECT_TRUE(SameBits(p[i].value, want[i].value)) << threads << " " << page;
    }
  }
  SetNumThreads(0);
}

TEST(AdamW, AParameterWithoutGradientIsLeftAlone) {
  std::vector<Parameter> p = RandomParameters({{5}, {7}}, 3);
  const Tensor before = p[1].value.Clone();
  AdamW optimizer = Resident(p, {.weight_decay = 0.1});
  p[0].grad = RandomTensor({5}, DType::kF32, 9);
  ASSERT_TRUE(optimizer.Step(0.01).ok());
  EXPECT_TRUE(SameBits(p[1].value, before));
  EXPECT_TRUE(IsClose(State(optimizer).at("exp_avg.p1"), std::vector<double>(7, 0), 0));
  EXPECT_EQ(optimizer.steps(), 1);
}

TEST(AdamW, AGroupScalesTheRateAndHasItsOwnDecay) {
  std::vector<Parameter> p = RandomParameters({{9}, {9}}, 4), plain = p;
  plain[1].value = p[1].value.Clone();
  p[0].value = plain[0].value.Clone();
  AdamW grouped = Resident(p, {.group = [](const Parameter& q) {
                             return q.name == "p1" ? AdamWGroup{16, 0.5} : AdamWGroup{};
                           }});
  AdamW one = Resident(plain, {.weight_decay = 0.5});
  SetGradients(p, 50);
  SetGradients(plain, 50);
  ASSERT_TRUE(grouped.Step(0.01).ok());
  ASSERT_TRUE(one.Step(0.16).ok());
  EXPECT_TRUE(SameBits(p[1].value, plain[1].value));
  EXPECT_FALSE(SameBits(p[0].value, plain[0].value));
}

TEST(AdamW, AStridedGradientIsRead) {
  std::vector<Parameter> p = RandomParameters({{6, 4}}, 5), q = RandomParameters({{6, 4}}, 5);
  AdamW a = Resident(p), b = Resident(q);
  p[0].grad = RandomTensor({6, 4}, DType::kF32, 6);
  q[0].grad = tensor::Strided(p[0].grad);
  ASSERT_TRUE(a.Step(0.1).ok());
  ASSERT_TRUE(b.Step(0.1).ok());
  EXPECT_TRUE(SameBits(p[0].value, q[0].value));
}

TEST(AdamW, ALoadedStateGoesOnBitForBit) {
  const std::vector<Shape> shapes = {{700}, {3}, {40, 30}};
  std::vector<Parameter> p = RandomParameters(shapes, 7);
  AdamW first = Resident(p, {}, 512);
  for (int k = 0; k < 3; ++k) {
    SetGradients(p, 10 * k);
    ASSERT_TRUE(first.Step(0.01).ok());
  }
  std::vector<Parameter> q = p;
  for (Parameter& x : q) x.value = x.value.Clone();
  AdamW second = Resident(q, {}, 256);  // other pages: the state goes by name
  auto state = State(first);
  const auto read = [&](const StateTensor& t, int64_t begin, int64_t end) -> absl::StatusOr<Tensor> {
    return state.at(t.name).Reshape({-1}).Slice(0, begin, end);
  };
  ASSERT_TRUE(second.LoadState(first.steps(), read).ok());
  for (AdamW* optimizer : {&first, &second}) ASSERT_TRUE(optimizer->Step(0.01).ok());
  EXPECT_EQ(second.steps(), 4);
  for (size_t i = 0; i < p.size(); ++i) EXPECT_TRUE(SameBits(p[i].value, q[i].value));
}

TEST(AdamW, AFailedLoadLeavesItUnusable) {
  std::vector<Parameter> p = RandomParameters({{300}}, 8);
  AdamW optimizer = Resident(p);
  SetGradients(p, 1);
  const auto fail = [](const StateTensor& t, int64_t, int64_t) { return absl::NotFoundError(t.name); };
  EXPECT_EQ(optimizer.LoadState(5, fail).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(optimizer.Step(0.1).code(), absl::StatusCode::kDataLoss);
  const auto zeros = [](const StateTensor&, int64_t begin, int64_t end) {
    return absl::StatusOr<Tensor>(Tensor::Zeros({end - begin}, DType::kF32));
  };
  EXPECT_TRUE(optimizer.LoadState(0, zeros).ok());
  EXPECT_TRUE(optimizer.Step(0.1).ok());
}

// Keeps the state in a ResidentStore and writes down what it is asked.
class RecordingStore : public StateStore {
 public:
  RecordingStore(int64_t elements, int64_t page, std::string* log)
      : store_(elements, DType::kF32, kCpu, page), log_(log) {}
  int64_t elements() const override { return store_.elements(); }
  int64_t page_elements() const override { return store_.page_elements(); }
  DType dtype() const override { return store_.dtype(); }
  int64_t resident_bytes() const override { return store_.resident_bytes(); }
  absl::Status Verify() override {
    absl::StrAppend(log_, "V ");
    return verify;
  }
  void Prefetch(int page) override { absl::StrAppend(log_, "P", page, " "); }
  absl::StatusOr<StatePage> Acquire(int page) override {
    absl::StrAppend(log_, "A", page, " ");
    if (page == failing_page) return absl::DataLossError("page");
    return store_.Acquire(page);
  }
  void Release(int page, bool modified) override { absl::StrAppend(log_, "R", page, modified ? " " : "r "); }

  absl::Status verify;
  int failing_page = -1;

 private:
  ResidentStore store_;
  std::string* log_;
};

TEST(AdamW, WalksForwardsOnOddStepsAndBackwardsOnEvenOnes) {
  std::vector<Parameter> p = RandomParameters({{600}}, 9);
  std::string log;
  AdamW optimizer(Pointers(p), {}, std::make_unique<RecordingStore>(768, 256, &log));
  SetGradients(p, 1);
  ASSERT_TRUE(optimizer.Step(0.1).ok());
  EXPECT_EQ(log, "V A0 P1 R0 A1 P2 R1 A2 R2 ");
  log.clear();
  ASSERT_TRUE(optimizer.Step(0.1).ok());
  EXPECT_EQ(log, "V A2 P1 R2 A1 P0 R1 A0 R0 ");
}

TEST(AdamW, PagesWithoutAnyGradientAreNotAskedFor) {
  std::vector<Parameter> p = RandomParameters({{256}, {500}, {256}}, 9);
  std::string log;
  AdamW optimizer(Pointers(p), {}, std::make_unique<RecordingStore>(1024, 256, &log));
  SetGradients(p, 1);
  p[1].ZeroGrad();
  ASSERT_TRUE(optimizer.Step(0.1).ok());
  EXPECT_EQ(log, "V A0 P3 R0 A3 R3 ");
}

TEST(AdamW, AStoreThatCannotVouchForItsPagesStopsTheStepBeforeItBegins) {
  std::vector<Parameter> p = RandomParameters({{600}}, 9);
  std::string log;
  auto owned = std::make_unique<RecordingStore>(768, 256, &log);
  RecordingStore* store = owned.get();
  AdamW optimizer(Pointers(p), {}, std::move(owned));
  SetGradients(p, 1);
  const Tensor before = p[0].value.Clone();
  store->verify = absl::DataLossError("page 1");
  EXPECT_EQ(optimizer.Step(0.1).code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(SameBits(p[0].value, before));
  EXPECT_EQ(optimizer.steps(), 0);
  store->verify = absl::OkStatus();
  EXPECT_TRUE(optimizer.Step(0.1).ok());
}

TEST(AdamW, StateLostInTheMiddleOfAStepIsNeverSaved) {
  std::vector<Parameter> p = RandomParameters({{600}}, 9);
  std::string log;
  auto owned = std::make_unique<RecordingStore>(768, 256, &log);
  RecordingStore* store = owned.get();
  AdamW optimizer(Pointers(p), {}, std::move(owned));
  SetGradients(p, 1);
  store->failing_page = 1;
  EXPECT_EQ(optimizer.Step(0.1).code(), absl::StatusCode::kDataLoss);
  store->failing_page = -1;
  EXPECT_EQ(optimizer.Step(0.1).code(), absl::StatusCode::kDataLoss);
  const auto write = [](const StateTensor&, int64_t, const Tensor&) { return absl::OkStatus(); };
  EXPECT_EQ(optimizer.SaveState(write).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(optimizer.steps(), 0);
}

}  // namespace
}  // namespace lorikeet
