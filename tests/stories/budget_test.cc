// Optimizer state under a budget of memory: what the kernel counts as resident keeps to it, and the outcome is the
// same.
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "apps/training/process_memory.h"
#include "autograd/parameter.h"
#include "gtest/gtest.h"
#include "optim/adamw.h"
#include "optim/paged_store.h"
#include "optim/resident_store.h"
#include "tensor/default_allocator.h"
#include "tensor/ops/testing.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

constexpr int64_t kElements = 16 << 20, kStateBytes = 8 * kElements;  // two f32 moments
constexpr int64_t kBudget = 8 << 20, kSlack = 4 << 20;                // the thread's stack, lists

// A parameter after three steps, and by how much the process grew while they were taken.
struct Outcome {
  Tensor value;
  int64_t growth = 0;
};

Outcome TakeSteps(std::unique_ptr<StateStore> (*make_store)(int64_t elements)) {
  Parameter p{.name = "w", .value = tensor::RandomTensor({kElements / 64, 64}, DType::kF32, 1)};
  p.grad = tensor::RandomTensor({kElements / 64, 64}, DType::kF32, 2);
  HostCache().Trim();  // what is idle there would hide growth
  const int64_t before = ResidentBytes();
  Outcome outcome;
  AdamW adamw({&p}, {}, make_store(StateElements({&p})));
  for (int step = 0; step < 3; ++step) {
    EXPECT_TRUE(adamw.Step(1e-3).ok());
    outcome.growth = std::max(outcome.growth, ResidentBytes() - before);
  }
  outcome.value = p.value;
  return outcome;
}

std::unique_ptr<StateStore> Paged(int64_t elements) {
  auto store = PagedStore::Create(elements, DType::kF32,
                                  {.budget_bytes = kBudget, .directory = testing::TempDir(), .page_elements = 0});
  EXPECT_TRUE(store.ok()) << store.status();
  return *std::move(store);
}

TEST(BudgetTest, PagedStateKeepsToItsBudgetAndEndsWithTheBitsOfResidentState) {
  const Outcome paged = TakeSteps(Paged);
  const Outcome resident =
      TakeSteps([](int64_t n) -> std::unique_ptr<StateStore> { return std::make_unique<ResidentStore>(n); });
  EXPECT_LE(paged.growth, kBudget + kSlack);
  EXPECT_GE(resident.growth, kStateBytes * 9 / 10);
  EXPECT_TRUE(tensor::SameBits(paged.value, resident.value));
}

}  // namespace
}  // namespace lorikeet
