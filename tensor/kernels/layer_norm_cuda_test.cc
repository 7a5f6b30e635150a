// The CUDA layer norm against the CPU's.
#include <cstdint>
#include <limits>

#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/kernels/cuda_testing.h"
#include "tensor/kernels/layer_norm.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"
#include "tensor/view.h"

namespace lorikeet {
namespace {

constexpr float kEps = 1e-5f;

class LayerNormCudaTest : public CudaKernelTest {
 protected:
  struct Forward {
    Pair y, mean, rstd;
  };
  static Forward ExpectForwardAgrees(const Pair& x, const Pair& w, const Pair& b) {
    const int64_t rows = x.cpu.dim(0);
    const Forward r = {Result(x.cpu.shape()), Result({rows}, DType::kF32), Result({rows}, DType::kF32)};
    kCpuLayerNorm.layer_norm(x.cpu.view(), w.cpu.view(), b.cpu.view(), kEps, r.y.cpu.view(), r.mean.cpu.view(),
                             r.rstd.cpu.view(), {});
    kCudaLayerNorm.layer_norm(x.cuda.view(), w.cuda.view(), b.cuda.view(), kEps, r.y.cuda.view(), r.mean.cuda.view(),
                              r.rstd.cuda.view(), {});
    EXPECT_TRUE(Agrees(r.y, 1));
    EXPECT_TRUE(Agrees(r.mean, 1));
    EXPECT_TRUE(Agrees(r.rstd));
    return r;
  }
  static void ExpectAllAgree(const Pair& x, const Pair& dy, const Pair& w, const Pair& b) {
    const Forward forward = ExpectForwardAgrees(x, w, b);
    const Pair mean = Of(forward.mean.cpu), rstd = Of(forward.rstd.cpu);
    for (bool want_dw : {false, true}) {
      const Pair dx = Result(x.cpu.shape()), dw = Result(w.cpu.shape(), DType::kF32), db = dw.Map(Copy);
      kCpuLayerNorm.layer_norm_grad(dy.cpu.view(), x.cpu.view(), w.cpu.view(), mean.cpu.view(), rstd.cpu.view(),
                                    dx.cpu.view(), want_dw ? dw.cpu.view() : View{}, want_dw ? db.cpu.view() : View{},
                                    {});
      kCudaLayerNorm.layer_norm_grad(dy.cuda.view(), x.cuda.view(), w.cuda.view(), mean.cuda.view(), rstd.cuda.view(),
                                     dx.cuda.view(), want_dw ? dw.cuda.view() : View{},
                                     want_dw ? db.cuda.view() : View{}, {});
      EXPECT_TRUE(Agrees(dx, 4));  // of differences of terms of this size
      const double terms = 1 + 0.05 * static_cast<double>(x.cpu.dim(0));
      EXPECT_TRUE(Agree(dw.cuda, dw.cpu, 4e-6, terms));
      EXPECT_TRUE(Agree(db.cuda, db.cpu, 4e-6, terms));
    }
  }
  static Tensor Copy(const Tensor& t) { return t.Clone(); }
};

TEST_P(LayerNormCudaTest, RowsOfEveryLengthAgree) {
  for (int64_t d : {2, 7, 16, 128, 200, 333, 1280}) {
    SCOPED_TRACE(d);
    ExpectAllAgree(Values({5, d}, 1), Values({5, d}, 2), Values({d}, 3), Values({d}, 4));
  }
  ExpectAllAgree(Values({5, 96}, 1), Values({5, 96}, 2), Uniform({96}, DType::kF32, 3), Uniform({96}, DType::kF32, 4));
}

TEST_P(LayerNormCudaTest, LongRowsManyRowsStridedAndEmptyOnesAgree) {
  const int64_t d = 17 * 1024;
  ExpectAllAgree(Values({1, d}, 1), Values({1, d}, 2), Values({d}, 3), Values({d}, 4));
  ExpectAllAgree(Values({270, 528}, 1), Values({270, 528}, 2), Values({528}, 3), Values({528}, 4));
  ExpectAllAgree(Strided(Values({9, 40}, 1)), Strided(Values({9, 40}, 2)), Values({40}, 3), Values({40}, 4));
  ExpectAllAgree(Values({0, 40}, 1), Values({0, 40}, 2), Values({40}, 3), Values({40}, 4));
}

TEST_P(LayerNormCudaTest, SquaresMayOverflowAndNanSpoilsItsOwnRow) {
  if (GetParam() == DType::kF16) GTEST_SKIP() << "f16 has no value whose square overflows f32";
  const float big = 1e30f, nan = std::numeric_limits<float>::quiet_NaN();
  const Tensor rows = Tensor::From<float>({big, -big, 0, big, nan, 1, 2, 3, 1, 2, 3, 4}, {3, 4, 1});
  for (int64_t repeat : {1, 8}) {
    const Tensor x = rows.Expand({3, 4, repeat}).Reshape({3, 4 * repeat}).Cast(GetParam()).Clone();
    const Pair w = Values({4 * repeat}, 1), y = Result({3, 4 * repeat}), rstd = Result({3}, DType::kF32);
    const Pair there = Of(x), mean = Result({3}, DType::kF32);
    kCpuLayerNorm.layer_norm(x.view(), w.cpu.view(), w.cpu.view(), kEps, y.cpu.view(), mean.cpu.view(), rstd.cpu.view(),
                             {});
    kCudaLayerNorm.layer_norm(there.cuda.view(), w.cuda.view(), w.cuda.view(), kEps, y.cuda.view(), mean.cuda.view(),
                              rstd.cuda.view(), {});
    EXPECT_TRUE(Agrees(y, 1));
    EXPECT_TRUE(Agree(rstd.cuda, rstd.cpu, 1e-5, 0));
  }
}

INSTANTIATE_CUDA_TEST_SUITE(LayerNormCudaTest);

}  // namespace
}  // namespace lorikeet
