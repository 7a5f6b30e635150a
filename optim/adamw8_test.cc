#include "optim/adamw8.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "autograd/parameter.h"
#include "gtest/gtest.h"
#include "optim/adamw.h"
#include "optim/golden_for_test.h"
#include "optim/page_codec.h"
#include "optim/paged_store.h"
#include "optim/resident_store.h"
#include "optim/state_store.h"
#include "tensor/dtype.h"
#include "tensor/kernels/parallel.h"
#include "tensor/ops/testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

using tensor::RandomTensor;
using tensor::SameBits;

constexpr int64_t kBytes = BlockElements(DType::kU8);

// Parameters, their optimizer over moments in 8 bits, and that optimizer's state as it is saved.
struct Training {
  explicit Training(const std::vector<Shape>& shapes) {
    for (const Shape& shape : shapes) {
      parameters.push_back(
          {.name = std::to_string(parameters.size()), .value = RandomTensor(shape, DType::kF32, seed++)});
    }
  }
  std::vector<Parameter*> Pointers() {
    std::vector<Parameter*> pointers;
    for (Parameter& p : parameters) pointers.push_back(&p);
    return pointers;
  }
  int64_t elements() { return StateElements(Pointers(), DType::kU8); }
  void Use(std::unique_ptr<StateStore> store, AdamWOptions options = {.weight_decay = 0.1}) {
    optimizer = std::make_unique<AdamW>(Pointers(), std::move(options), std::move(store));
  }
  void UseResident(int64_t page_elements = 0) {
    Use(std::make_unique<ResidentStore>(elements(), DType::kU8, kCpu, page_elements));
  }
  void Step() {
    for (Parameter& p : parameters) p.grad = RandomTensor(p.value.shape(), DType::kF32, seed++);
    const absl::Status done = optimizer->Step(0.01);
    EXPECT_TRUE(done.ok()) << done;
  }
  std::map<std::string, std::string> State() {
    std::map<std::string, std::string> state;
    const absl::Status saved = optimizer->SaveState([&](const StateTensor& t, int64_t begin, const Tensor& values) {
      std::string& bytes = state[t.name];
      EXPECT_EQ(values.dtype(), t.dtype);
      EXPECT_EQ(static_cast<int64_t>(bytes.size()), begin * static_cast<int64_t>(SizeOf(t.dtype)));
      bytes.append(static_cast<const char*>(values.raw()), static_cast<size_t>(values.nbytes()));
      return absl::OkStatus();
    });
    EXPECT_TRUE(saved.ok()) << saved;
    return state;
  }

  uint32_t seed = 1;
  std::vector<Parameter> parameters;
  std::unique_ptr<AdamW> optimizer;
};

void ExpectSame(Training& a, Training& b) {
  for (size_t i = 0; i < a.parameters.size(); ++i) {
    EXPECT_TRUE(SameBits(a.parameters[i].value, b.parameters[i].value)) << "parameter " << i;
  }
  EXPECT_EQ(a.State(), b.State());
}

// Small ones between large ones, a size of exactly kMin8BitSize, a short last block, an empty one.
const std::vector<Shape> kShapes = {{70, 61}, {3}, {4096}, {4095}, {0}, {65}, {66}, {5000}};

// What tests/golden/README.md says of optim8.safetensors.
Tensor Uniform(uint64_t stream, const Shape& shape) {
  const Tensor t = Tensor::Empty(shape, DType::kF32);
  for (uint64_t e = 0; e < static_cast<uint64_t>(t.size()); ++e) {
    const uint32_t h = static_cast<uint32_t>((stream * 65536 + e) * 2654435761u + 12345) >> 8;
    t.data<float>()[e] = (static_cast<float>(h) - 8388608) / 8388608;
  }
  return t;
}

Tensor PlainGradient(int step, int i, const Shape& shape) {
  return Uniform(static_cast<uint64_t>(100 * (i + 1) + step), shape);
}

Tensor Gradient(int step, int i, const Shape& shape) {
  Tensor g = PlainGradient(step, i, shape);
  for (int64_t e = 0; e < g.size(); ++e) {
    float& x = g.data<float>()[static_cast<size_t>(e)];
    x = e % 7 == 0 ? 0 : std::ldexp(x, static_cast<int>(-(e % 11)) - 3 * (step % 4));
  }
  return g;
}

Training TrainGolden(Tensor (*gradient)(int step, int i, const Shape&)) {
  Training run(std::vector<Shape>{{70, 60}, {16, 256}, {1000}});
  run.Use(std::make_unique<ResidentStore>(run.elements(), DType::kU8), {.weight_decay = 0.1});
  for (int i = 0; i < 3; ++i)
    run.parameters[i].value = Uniform(static_cast<uint64_t>(i), run.parameters[i].value.shape());
  for (int step = 0; step < 20; ++step) {
    for (int i = 0; i < 3; ++i) run.parameters[i].grad = gradient(step, i, run.parameters[i].value.shape());
    EXPECT_TRUE(run.optimizer->Step(static_cast<float>(1e-2 * (step + 1) / 20)).ok());
  }
  return run;
}

// Mean and largest |a - b|; NaN stays NaN.
std::pair<double, double> Difference(const Tensor& a, const Tensor& b) {
  double sum = 0, most = 0;
  for (int64_t e = 0; e < a.size(); ++e) {
    const size_t i = static_cast<size_t>(e);
    const double d = std::abs(double{a.data<float>()[i]} - double{b.data<float>()[i]});
    sum += d;
    if (!(d <= most)) most = d;
  }
  return {sum / static_cast<double>(a.size()), most};
}

TEST(AdamW8, TwentyStepsAreBitsandbytes) {
  const Golden golden("tests/golden/optim8.safetensors");
  Training run = TrainGolden(Gradient);
  auto state = run.State();
  for (int i = 0; i < 2; ++i) {
    const Tensor& p = run.parameters[i].value;
    for (const char* moment : {"m", "v"}) {
      const std::string key = absl::StrCat(moment[0] == 'm' ? "exp_avg." : "exp_avg_sq.", i);
      const Tensor codes = golden.Read(absl::StrCat("exact.", moment, ".", i)).Reshape({-1});
      const Tensor absmax = golden.Read(absl::StrCat("exact.", moment, "_absmax.", i));
      int64_t others = 0;
      for (int64_t e = 0; e < p.size(); ++e) {
        const char* block = state.at(key).data() + e / kStateBlock * kBytes;
        others += static_cast<uint8_t>(block[e % kStateBlock]) != codes.data<uint8_t>()[static_cast<size_t>(e)];
        float scale;
        std::memcpy(&scale, block + kStateBlock, sizeof scale);
        const float want = absmax.data<float>()[static_cast<size_t>(e / kStateBlock)];
        ASSERT_FALSE(!(std::abs(scale - want) <= 1e-5 * want)) << scale << " " << want;
      }
      EXPECT_EQ(others, 0) << key;
    }
    const auto [mean, most] = Difference(p, golden.Read(absl::StrCat("exact.p.", i)));
    EXPECT_FALSE(!(mean <= 1e-7)) << mean;
    EXPECT_FALSE(!(most <= 1e-5)) << most;
  }
  // A small parameter is what plain AdamW makes of it.
  EXPECT_LE(Difference(run.parameters[2].value, golden.Read("exact.p.2")).second, 1e-6);
}

TEST(AdamW8, BitsandbytesCpuPathIsWithinItsOwnTolerances) {
  const Golden golden("tests/golden/optim8.safetensors");
  const Training run = TrainGolden(PlainGradient);
  for (int i = 0; i < 2; ++i) {
    const auto [mean, most] = Difference(run.parameters[i].value, golden.Read(absl::StrCat("cpu.p.", i)));
    EXPECT_FALSE(!(mean <= 6e-5)) << mean << " " << most;
  }
}

TEST(AdamW8, StaysNearMomentsInFloat) {
  const std::vector<Shape> shape = {{4096}};
  Training eight(shape), full(shape);
  eight.UseResident();
  full.Use(std::make_unique<ResidentStore>(StateElements(full.Pointers())));
  const Tensor before = eight.parameters[0].value.Clone();
  for (int step = 0; step < 50; ++step) {
    eight.Step();
    full.Step();
  }
  const double moved = Difference(full.parameters[0].value, before).first;
  EXPECT_LT(Difference(eight.parameters[0].value, full.parameters[0].value).first, 0.05 * moved);
}

TEST(AdamW8, AnElementWithoutGradientKeepsExactZeros) {
  Training run(std::vector<Shape>{{5000}});
  run.Use(std::make_unique<ResidentStore>(run.elements(), DType::kU8), {});
  const Tensor before = run.parameters[0].value.Clone();
  for (int step = 0; step < 3; ++step) {
    Tensor g = RandomTensor({5000}, DType::kF32, run.seed++);
    for (size_t e = 0; e < 5000; e += 3) g.data<float>()[e] = 0;
    run.parameters[0].grad = g;
    ASSERT_TRUE(run.optimizer->Step(0.01).ok());
  }
  const absl::Span<const float> now = run.parameters[0].value.data<float>(), was = before.data<float>();
  for (size_t e = 0; e < 5000; ++e) EXPECT_EQ(now[e] == was[e], e % 3 == 0) << e;
}

TEST(AdamW8, BitsDependNeitherOnThreadsNorOnPages) {
  Training want(kShapes);
  want.UseResident();
  for (int step = 0; step < 3; ++step) want.Step();
  for (int threads : {1, 3}) {
    for (int64_t page : {kBytes, 7 * kBytes}) {
      SetNumThreads(threads);
      Training run(kShapes);
      run.UseResident(page);
      for (int step = 0; step < 3; ++step) run.Step();
      ExpectSame(run, want);
    }
  }
  SetNumThreads(0);
}

TEST(AdamW8, PagedStateIsResidentStateBitForBit) {
  Training resident(kShapes), paged(kShapes);
  resident.UseResident();
  const int64_t page = 4 * kBytes;
  auto store = PagedStore::Create(
      paged.elements(), DType::kU8,
      {.budget_bytes = static_cast<int64_t>(PageCodec::WorkspaceBytes(static_cast<size_t>(2 * page))) + 3 * 2 * page,
       .directory = testing::TempDir(),
       .page_elements = page});
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_LT((*store)->stats().slots, (*store)->stats().pages);
  paged.Use(*std::move(store));
  for (int step = 0; step < 4; ++step) {
    resident.Step();
    paged.Step();
  }
  ExpectSame(resident, paged);
}

TEST(AdamW8, ALoadedStateGoesOnBitForBit) {
  Training first(kShapes), second(kShapes);
  first.UseResident();
  second.UseResident(3 * kBytes);  // other pages: the state goes by name
  for (int step = 0; step < 3; ++step) first.Step();
  auto state = first.State();
  const absl::Status loaded = second.optimizer->LoadState(
      first.optimizer->steps(), [&](const StateTensor& t, int64_t begin, int64_t end) -> absl::StatusOr<Tensor> {
        const Tensor piece = Tensor::Empty({end - begin}, t.dtype);
        std::memcpy(piece.raw(), state.at(t.name).data() + begin * static_cast<int64_t>(SizeOf(t.dtype)),
                    static_cast<size_t>(piece.nbytes()));
        return piece;
      });
  ASSERT_TRUE(loaded.ok()) << loaded;
  for (size_t i = 0; i < kShapes.size(); ++i) second.parameters[i].value = first.parameters[i].value.Clone();
  second.seed = first.seed;
  first.Step();
  second.Step();
  ExpectSame(first, second);
}

TEST(AdamW8, AStateOfAnotherKindIsRefused) {
  Training run(std::vector<Shape>{{5000}});
  run.UseResident();
  const auto floats = [](const StateTensor&, int64_t begin, int64_t end) {
    return absl::StatusOr<Tensor>(Tensor::Zeros({end - begin}, DType::kF32));
  };
  EXPECT_EQ(run.optimizer->LoadState(1, floats).code(), absl::StatusCode::kInvalidArgument);
}

TEST(AdamW8, TheStateTakesAQuarterOfFloats) {
  Training run(std::vector<Shape>{{1 << 20}});
  EXPECT_EQ(2 * run.elements(), (1 << 20) / kStateBlock * 2 * kBytes);
  EXPECT_LT(2.0 * static_cast<double>(run.elements()), 0.26 * 4 * 2 * (1 << 20));
  Training small(std::vector<Shape>{{4095}});
  EXPECT_EQ(small.elements(), 63 * kBytes);  // 65 float32 numbers to a block
}

}  // namespace
}  // namespace lorikeet
