#include "tensor/host_copy.h"

#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tensor/cuda_memory.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/testing.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

void ValuesAreThoseOfTheMoment(Device device) {
  const Tensor want = tensor::RandomTensor({300, 7}, DType::kF32, 1), two = Tensor::Scalar(2, DType::kF64);
  Tensor x = want.Clone().To(device);
  const Tensor y = two.To(device), turned = x.Transpose(0, 1);
  HostCopy copy({x, y, turned});
  tensor::FillInPlace(x, 5);
  HostCopy moved = std::move(copy);
  const std::vector<Tensor>& here = moved.Wait();
  ASSERT_EQ(here.size(), 3u);
  for (const Tensor& t : here) EXPECT_TRUE(t.device().is_cpu());
  EXPECT_TRUE(tensor::SameBits(here[0], want));
  EXPECT_TRUE(tensor::SameBits(here[1], two));
  EXPECT_TRUE(tensor::SameBits(here[2], want.Transpose(0, 1).Contiguous()));
}

TEST(HostCopyTest, ValuesAreThoseOfTheMoment) { ValuesAreThoseOfTheMoment(kCpu); }

TEST(HostCopyTest, OfTheDeviceToo) {
  if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  ValuesAreThoseOfTheMoment(Cuda(0));
}

TEST(HostCopyTest, TimePassesBetweenTwo) {
  if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  const Tensor x = tensor::RandomTensor({300, 7}, DType::kF32, 1).To(Cuda(0));
  HostCopy first({x}), second({x}), here({tensor::RandomTensor({3}, DType::kF32, 1)});
  second.Wait();
  EXPECT_GE(second.SecondsSince(first), 0);
  EXPECT_LT(second.SecondsSince(first), 60);
  EXPECT_EQ(second.SecondsSince(here), 0);
}

TEST(HostCopyTest, NothingIsSomethingToo) { EXPECT_TRUE(HostCopy({}).Wait().empty()); }

}  // namespace
}  // namespace lorikeet
