// Comparison of whole tensors.
//
//   EXPECT_TRUE(AllClose(y, want, 1e-12));            // shapes agree, every element within tolerance * max(1, |want|)
//
// Strict where comparisons tend to be lenient: a NaN equals a NaN only, an infinity itself only, an undefined tensor
// nothing, and a tensor of another shape nothing, so that an empty result never passes for a full one. dtypes may
// differ. The message names the first element that is off.
#ifndef LORIKEET_TESTS_TESTING_MATCHERS_H_
#define LORIKEET_TESTS_TESTING_MATCHERS_H_

#include "gtest/gtest.h"
#include "tensor/ops/testing.h"
#include "tensor/tensor.h"

namespace lorikeet {

inline testing::AssertionResult AllClose(const Tensor& got, const Tensor& want, double tolerance) {
  if (!got.defined() || !want.defined()) return testing::AssertionFailure() << "one of the tensors is undefined";
  if (!(got.shape() == want.shape())) {
    return testing::AssertionFailure() << "got " << Describe(got) << ", want " << Describe(want);
  }
  return tensor::IsClose(got, tensor::Values(want), tolerance);
}

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_TESTING_MATCHERS_H_
