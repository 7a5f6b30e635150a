// The CUDA column scale and its gradient against the CPU's.
#include <cstdint>

#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/kernels/column_scale.h"
#include "tensor/kernels/cuda_testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"
#include "tensor/view.h"

namespace lorikeet {
namespace {

class ColumnScaleCudaTest : public CudaKernelTest {
 protected:
  static void ExpectAllAgree(const Pair& x, const Pair& dy, const Pair& g, DType out) {
    const Pair y = Result(x.cpu.shape(), out), dx = Result(x.cpu.shape(), out),
               dot = Result(g.cpu.shape(), DType::kF32);
    kCpuColumnScale.column_scale(x.cpu.view(), g.cpu.view(), y.cpu.view(), {});
    kCudaColumnScale.column_scale(x.cuda.view(), g.cuda.view(), y.cuda.view(), {});
    EXPECT_TRUE(Agrees(y));
    kCpuColumnScale.column_scale_grad(dy.cpu.view(), x.cpu.view(), g.cpu.view(), dx.cpu.view(), dot.cpu.view(), {});
    kCudaColumnScale.column_scale_grad(dy.cuda.view(), x.cuda.view(), g.cuda.view(), dx.cuda.view(), dot.cuda.view(),
                                       {});
    EXPECT_TRUE(Agrees(dx));
    EXPECT_TRUE(Agree(dot.cuda, dot.cpu, 4e-6, 1 + 0.05 * static_cast<double>(x.cpu.dim(0))));
  }
};

TEST_P(ColumnScaleCudaTest, MatricesOfEverySizeAgree) {
  for (int64_t rows : {1, 7, 64, 150}) {
    for (int64_t d : {1, 8, 37, 264, 520}) {
      SCOPED_TRACE(testing::Message() << rows << " x " << d);
      ExpectAllAgree(Values({rows, d}, 1), Values({rows, d}, 2), Uniform({d}, DType::kF32, 3), GetParam());
    }
  }
  ExpectAllAgree(Values({0, 8}, 1), Values({0, 8}, 2), Uniform({8}, DType::kF32, 3), GetParam());
}

TEST_P(ColumnScaleCudaTest, DtypesMayDifferAndViewsMayBeStrided) {
  const Pair g = Uniform({24}, DType::kF32, 3);
  for (DType out : {DType::kF32, DType::kBF16, DType::kF16}) {
    ExpectAllAgree(Values({70, 24}, 1), Values({70, 24}, 2), g, out);
    ExpectAllAgree(Strided(Values({70, 24}, 1)), Values({70, 24}, 2), g, out);
  }
}

TEST_P(ColumnScaleCudaTest, ADotMayBeLeftOutAndResultsMayReplaceTheirInputs) {
  const Pair x = Values({33, 40}, 1), g = Uniform({40}, DType::kF32, 3);
  kCpuColumnScale.column_scale_grad(x.cpu.view(), x.cpu.view(), g.cpu.view(), x.cpu.view(), {}, {});
  kCudaColumnScale.column_scale_grad(x.cuda.view(), x.cuda.view(), g.cuda.view(), x.cuda.view(), {}, {});
  EXPECT_TRUE(Agrees(x));
  kCpuColumnScale.column_scale(x.cpu.view(), g.cpu.view(), x.cpu.view(), {});
  kCudaColumnScale.column_scale(x.cuda.view(), g.cuda.view(), x.cuda.view(), {});
  EXPECT_TRUE(Agrees(x));
}

INSTANTIATE_CUDA_TEST_SUITE(ColumnScaleCudaTest);

}  // namespace
}  // namespace lorikeet
