#include "optim/schedule.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "optim/golden_for_test.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

TEST(Schedule, RatesAreThoseOfTransformers) {
  const Golden golden;
  for (const char* name : {"constant", "constant_with_warmup", "linear", "cosine"}) {
    for (auto [steps, warmup] : {std::pair{20, 0}, {20, 5}, {100, 3}, {1, 0}, {7, 7}}) {
      const Tensor want = golden.Read(absl::StrCat("schedule.", name, ".", steps, ".", warmup));
      const Schedule schedule(*ParseScheduleType(name), 2e-4, warmup, steps);
      for (int i = 0; i < steps; ++i) {
        EXPECT_NEAR(schedule.Rate(i), want.data<double>()[i], 1e-18) << name << " step " << i << " of " << steps;
      }
    }
  }
}

TEST(Schedule, StaysAtZeroAfterTheLastStep) {
  for (ScheduleType type : {ScheduleType::kLinear, ScheduleType::kCosine}) {
    EXPECT_NEAR(Schedule(type, 1, 2, 10).Rate(10), 0, 1e-16);
  }
  EXPECT_EQ(Schedule(ScheduleType::kLinear, 1, 2, 10).Rate(11), 0);
}

TEST(Schedule, WarmupStepsAreRoundedUp) {
  EXPECT_EQ(WarmupSteps(0.03, 200), 6);
  EXPECT_EQ(WarmupSteps(0.03, 201), 7);
  EXPECT_EQ(WarmupSteps(0, 100), 0);
  EXPECT_EQ(WarmupSteps(1, 100), 100);
}

TEST(Schedule, AnUnknownNameIsAnErrorThatListsTheKnownOnes) {
  const auto type = ParseScheduleType("polynomial");
  ASSERT_FALSE(type.ok());
  EXPECT_NE(std::string(type.status().message()).find("'polynomial'"), std::string::npos);
  EXPECT_NE(std::string(type.status().message()).find("cosine"), std::string::npos);
}

}  // namespace
}  // namespace lorikeet
