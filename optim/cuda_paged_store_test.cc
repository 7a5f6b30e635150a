#include "optim/cuda_paged_store.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "autograd/parameter.h"
#include "gtest/gtest.h"
#include "optim/adamw.h"
#include "optim/resident_store.h"
#include "optim/state_store.h"
#include "tensor/cuda_memory.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/ops/testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

using tensor::RandomTensor;
using tensor::SameBits;

// A model of few parameters on the device.
struct Training {
  Training() {
    const Shape shapes[] = {{700}, {3}, {40, 31}, {1}, {5, 7, 11}, {256}, {4400}};
    for (const Shape& shape : shapes) {
      const Tensor value = RandomTensor(shape, DType::kF32, seed++).To(Cuda(0));
      parameters.push_back({.name = "p" + std::to_string(parameters.size()), .value = value});
    }
    for (Parameter& p : parameters) pointers.push_back(&p);
  }
  void Use(std::unique_ptr<StateStore> store) {
    optimizer = std::make_unique<AdamW>(pointers, AdamWOptions{.weight_decay = 0.1}, std::move(store));
  }
  void Step() {
    for (Parameter& p : parameters) p.grad = RandomTensor(p.value.shape(), DType::kF32, seed++).To(Cuda(0));
    const absl::Status done = optimizer->Step(0.01);
    EXPECT_TRUE(done.ok()) << done;
  }
  // Pages differ between stores: a tensor's bytes, one after the other.
  std::map<std::string, std::string> State() {
    std::map<std::string, std::string> state;
    const absl::Status saved = optimizer->SaveState([&](const StateTensor& t, int64_t, const Tensor& values) {
      state[t.name].append(static_cast<const char*>(values.raw()), static_cast<size_t>(values.nbytes()));
      return absl::OkStatus();
    });
    EXPECT_TRUE(saved.ok()) << saved;
    return state;
  }

  uint32_t seed = 1;
  std::vector<Parameter> parameters;
  std::vector<Parameter*> pointers;
  std::unique_ptr<AdamW> optimizer;
};

class CudaPagedStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  }
};

// `slots` pages of `blocks` blocks on the device.
std::unique_ptr<CudaPagedStore> Paged(const Training& run, DType dtype, int64_t blocks, int64_t slots) {
  const int64_t page = blocks * BlockElements(dtype), bytes = 2 * page * static_cast<int64_t>(SizeOf(dtype));
  auto store = CudaPagedStore::Create(StateElements(run.pointers, dtype), dtype,
                                      {.budget_bytes = slots * bytes, .page_elements = page});
  EXPECT_TRUE(store.ok()) << store.status();
  return *std::move(store);
}

TEST_F(CudaPagedStoreTest, PagedEqualsResidentBitwise) {
  for (DType dtype : {DType::kF32, DType::kU8}) {
    for (const auto& [blocks, slots] : {std::pair{2, 2}, {3, 3}, {5, 50}}) {
      Training resident, paged;
      resident.Use(std::make_unique<ResidentStore>(StateElements(resident.pointers, dtype), dtype, Cuda(0)));
      paged.Use(Paged(paged, dtype, blocks, slots));
      for (int step = 0; step < 3; ++step) {
        resident.Step();
        paged.Step();
      }
      for (size_t i = 0; i < paged.parameters.size(); ++i) {
        EXPECT_TRUE(SameBits(paged.parameters[i].value.To(kCpu), resident.parameters[i].value.To(kCpu))) << i;
      }
      EXPECT_EQ(paged.State(), resident.State()) << Name(dtype) << " " << blocks << " " << slots;
      paged.Step();
      resident.Step();
      EXPECT_EQ(paged.State(), resident.State()) << "after a walk over pages that were only read";
    }
  }
}

TEST_F(CudaPagedStoreTest, SavedStateGoesOnInAnotherStore) {
  Training first, second;
  first.Use(Paged(first, DType::kF32, 2, 3));
  first.Step();
  first.Step();
  for (size_t i = 0; i < first.parameters.size(); ++i)
    second.parameters[i].value = first.parameters[i].value.To(kCpu).To(Cuda(0));
  second.seed = first.seed;
  second.Use(Paged(second, DType::kF32, 3, 2));
  std::map<std::string, std::string> state = first.State();
  const absl::Status loaded =
      second.optimizer->LoadState(2, [&](const StateTensor& t, int64_t begin, int64_t end) -> absl::StatusOr<Tensor> {
        const float* const values = reinterpret_cast<const float*>(state[t.name].data());
        return Tensor::From<float>(absl::MakeConstSpan(values + begin, static_cast<size_t>(end - begin)),
                                   {end - begin});
      });
  ASSERT_TRUE(loaded.ok()) << loaded;
  first.Step();
  second.Step();
  EXPECT_EQ(second.State(), first.State());
}

TEST_F(CudaPagedStoreTest, AWalkThatTurnsAroundFindsItsLastPagesOnTheDevice) {
  Training run;
  auto store = Paged(run, DType::kF32, 4, 3);
  const CudaPagedStore& paged = *store;
  run.Use(std::move(store));
  run.Step();
  const int64_t pages = paged.num_pages(), loads = paged.stats().loads;
  EXPECT_EQ(loads, pages);
  run.Step();
  EXPECT_EQ(paged.stats().loads, loads + pages - 3);
  EXPECT_LT(paged.resident_bytes(), paged.elements() * 8);
}

TEST_F(CudaPagedStoreTest, EverythingOnTheDeviceIsCopiedOnce) {
  Training run;
  auto store = CudaPagedStore::Create(StateElements(run.pointers), DType::kF32, {.budget_bytes = 1 << 20});
  ASSERT_TRUE(store.ok()) << store.status();
  const CudaPagedStore& paged = **store;
  run.Use(*std::move(store));
  for (int step = 0; step < 3; ++step) run.Step();
  EXPECT_EQ(paged.stats().bytes_in, paged.elements() * 8);
  EXPECT_EQ(paged.stats().bytes_out, 0);
}

TEST_F(CudaPagedStoreTest, ABudgetThatIsTooSmallNamesTheLeast) {
  const auto store = CudaPagedStore::Create(1024, DType::kF32, {.budget_bytes = 4000});
  EXPECT_EQ(store.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(store.status().message().find("4096"), absl::string_view::npos) << store.status();
}

}  // namespace
}  // namespace lorikeet
