// The CUDA activations against the CPU's.
#include <cstdint>
#include <limits>

#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/kernels/activation.h"
#include "tensor/kernels/cuda_testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

class ActivationCudaTest : public CudaKernelTest {
 protected:
  // All six functions of the same operands.
  static void ExpectAllAgree(const Pair& dy, const Pair& gate, const Pair& up) {
    const Shape& shape = dy.cpu.shape();
    const Pair y = Result(shape), dgate = Result(shape), dup = Result(shape);
    for (auto forward : {&ActivationKernels::swiglu, &ActivationKernels::geglu}) {
      (kCpuActivation.*forward)(gate.cpu.view(), up.cpu.view(), y.cpu.view(), {});
      (kCudaActivation.*forward)(gate.cuda.view(), up.cuda.view(), y.cuda.view(), {});
      EXPECT_TRUE(Agrees(y));
    }
    for (auto backward : {&ActivationKernels::swiglu_grad, &ActivationKernels::geglu_grad}) {
      (kCpuActivation.*backward)(dy.cpu.view(), gate.cpu.view(), up.cpu.view(), dgate.cpu.view(), dup.cpu.view(), {});
      (kCudaActivation.*backward)(dy.cuda.view(), gate.cuda.view(), up.cuda.view(), dgate.cuda.view(), dup.cuda.view(),
                                  {});
      EXPECT_TRUE(Agrees(dgate, 1));
      EXPECT_TRUE(Agrees(dup));
    }
    kCpuActivation.gelu(gate.cpu.view(), y.cpu.view(), {});
    kCudaActivation.gelu(gate.cuda.view(), y.cuda.view(), {});
    EXPECT_TRUE(Agrees(y));
    EXPECT_EQ(y.cuda.shape(), shape);
    kCpuActivation.gelu_grad(dy.cpu.view(), gate.cpu.view(), y.cpu.view(), {});
    kCudaActivation.gelu_grad(dy.cuda.view(), gate.cuda.view(), y.cuda.view(), {});
    EXPECT_TRUE(Agrees(y, 1));
  }
};

TEST_P(ActivationCudaTest, ContiguousViewsOfAnyLengthAgree) {
  for (int64_t n : {1, 8, 37, 2048, 5003}) {
    SCOPED_TRACE(n);
    ExpectAllAgree(Values({n}, 1), Values({n}, 2, -9, 9), Values({n}, 3));
  }
}

TEST_P(ActivationCudaTest, HalvesOfAWiderRowAgree) {
  for (int64_t d : {8, 13, 48}) {
    const Pair wide = Values({7, 2 * d}, 1);
    const Pair gate = wide.Map([d](const Tensor& t) { return t.Slice(1, 0, d); });
    const Pair up = wide.Map([d](const Tensor& t) { return t.Slice(1, d, 2 * d); });
    ExpectAllAgree(Values({7, d}, 2), gate, up);
  }
}

TEST_P(ActivationCudaTest, StridedAndEmptyViewsAgree) {
  ExpectAllAgree(Strided(Values({9, 24}, 1)), Strided(Values({9, 24}, 2)), Values({9, 24}, 3));
  ExpectAllAgree(Values({0, 4}, 1), Values({0, 4}, 2), Values({0, 4}, 3));
}

TEST_P(ActivationCudaTest, FarFromZeroAndNanAgree) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Tensor gate = Tensor::From<float>({100, -100, 30000, -30000, nan, 16, -16, 0}, {8});
  ExpectAllAgree(Values({8}, 1), Of(gate.Cast(GetParam()).Clone()), Values({8}, 2));
}

TEST_P(ActivationCudaTest, ResultsMayReplaceTheirInputs) {
  const Pair dy = Values({3, 40}, 1), gate = Values({3, 40}, 2), up = Values({3, 40}, 3);
  kCpuActivation.swiglu_grad(dy.cpu.view(), gate.cpu.view(), up.cpu.view(), gate.cpu.view(), up.cpu.view(), {});
  kCudaActivation.swiglu_grad(dy.cuda.view(), gate.cuda.view(), up.cuda.view(), gate.cuda.view(), up.cuda.view(), {});
  EXPECT_TRUE(Agrees(gate, 1));
  EXPECT_TRUE(Agrees(up));
}

INSTANTIATE_CUDA_TEST_SUITE(ActivationCudaTest);

}  // namespace
}  // namespace lorikeet
