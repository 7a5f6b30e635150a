// ForEachTarget: runs a test on every instruction set that this processor has, as if it had no better one.
//
//   ForEachTarget([&] { EXPECT_TRUE(IsClose(Exp(x), want, 2e-6)); });
#ifndef LORIKEET_TENSOR_OPS_EACH_TARGET_H_
#define LORIKEET_TENSOR_OPS_EACH_TARGET_H_

#include <cstdint>

#include "gtest/gtest.h"
#include "hwy/targets.h"

namespace lorikeet::tensor {

template <typename F>
void ForEachTarget(F&& body) {
  const int64_t all = hwy::SupportedTargets();
  for (int64_t bit = 1; bit != 0 && bit <= HWY_SSSE3; bit <<= 1) {
    if ((all & bit) == 0) continue;
    hwy::SetSupportedTargetsForTest(all & ~(bit - 1));
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    SCOPED_TRACE(hwy::TargetName(bit));
    body();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace lorikeet::tensor

#endif  // LORIKEET_TENSOR_OPS_EACH_TARGET_H_
