// The CUDA softmax, its logarithm and their gradients against the CPU's.
#include <cstdint>
#include <limits>
#include <utility>

#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/kernels/cuda_testing.h"
#include "tensor/kernels/softmax.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

class SoftmaxCudaTest : public CudaKernelTest {
 protected:
  // Forward, then backward from the CPU's result.
  static void ExpectAllAgree(const Pair& x) {
    using K = SoftmaxKernels;
    const Pair dy = Values(x.cpu.shape(), 9), y = Result(x.cpu.shape()), dx = Result(x.cpu.shape());
    for (const auto& [forward, backward] :
         {std::pair(&K::softmax, &K::softmax_grad), std::pair(&K::log_softmax, &K::log_softmax_grad)}) {
      (kCpuSoftmax.*forward)(x.cpu.view(), y.cpu.view(), {});
      (kCudaSoftmax.*forward)(x.cuda.view(), y.cuda.view(), {});
      EXPECT_TRUE(Agrees(y, forward == &K::softmax ? 1e-3 : 1)) << "forward";
      const Pair same = Of(y.cpu);
      (kCpuSoftmax.*backward)(dy.cpu.view(), same.cpu.view(), dx.cpu.view(), {});
      (kCudaSoftmax.*backward)(dy.cuda.view(), same.cuda.view(), dx.cuda.view(), {});
      EXPECT_TRUE(Agrees(dx, 0.5)) << "backward";
    }
  }
};

TEST_P(SoftmaxCudaTest, RowsOfEveryLengthAgree) {
  for (int64_t d : {1, 5, 8, 64, 129, 1000, 2048}) {
    SCOPED_TRACE(d);
    ExpectAllAgree(Values({9, d}, 1, -8, 8));
  }
  ExpectAllAgree(Values({2, 17 * 1024}, 1, -8, 8));  // longer than what registers keep
  ExpectAllAgree(Values({3, 72000}, 1, -8, 8));      // than what shared memory keeps
  ExpectAllAgree(Values({2, 328000}, 1, -8, 8));     // in several parts
  ExpectAllAgree(Values({3, 5003}, 1, -8, 8));
  ExpectAllAgree(Values({0, 8}, 1));
}

TEST_P(SoftmaxCudaTest, InfinityAndNanStayInTheirRows) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const Tensor rows = Tensor::From<float>(
      {-inf, -inf, -inf, 1, -inf, 2, 1, inf, 2, 1, nan, 2, -inf, nan, -inf, 1, 2, 3, 3e4, 1e4, -3e4, nan, nan, nan},
      {8, 3});
  ExpectAllAgree(Of(rows.Cast(GetParam()).Clone()));
  for (int64_t times : {16, 24000}) {
    const Tensor long_rows = rows.Reshape({8, 3, 1}).Expand({8, 3, times}).Reshape({8, 3 * times});
    ExpectAllAgree(Of(long_rows.Cast(GetParam()).Clone()));
  }
}

TEST_P(SoftmaxCudaTest, ResultsMayReplaceTheirInputs) {
  const Pair x = Values({4, 96}, 1), dy = Values({4, 96}, 2);
  kCpuSoftmax.softmax(x.cpu.view(), x.cpu.view(), {});
  kCudaSoftmax.softmax(x.cuda.view(), x.cuda.view(), {});
  EXPECT_TRUE(Agrees(x, 1e-3));
  kCpuSoftmax.softmax_grad(dy.cpu.view(), x.cpu.view(), dy.cpu.view(), {});
  kCudaSoftmax.softmax_grad(dy.cuda.view(), x.cuda.view(), dy.cuda.view(), {});
  EXPECT_TRUE(Agrees(dy, 0.5));
}

INSTANTIATE_CUDA_TEST_SUITE(SoftmaxCudaTest);

}  // namespace
}  // namespace lorikeet
