// The CUDA root-mean-square norm against the CPU's.
#include <cmath>
#include <cstdint>
#include <limits>

#include "gtest/gtest.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/kernels/cuda_testing.h"
#include "tensor/kernels/norm.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"
#include "tensor/view.h"

namespace lorikeet {
namespace {

constexpr float kEps = 1e-5f;

class NormCudaTest : public CudaKernelTest {
 protected:
  struct Forward {
    Pair sum, y, rstd;
  };
  static Forward RunForward(const Pair& x, const Pair* residual, const Pair& w) {
    const Shape& shape = x.cpu.shape();
    Forward r = {Result(shape), Result(shape), Result({shape[0]}, DType::kF32)};
    const View none;
    kCpuNorm.rms_norm(x.cpu.view(), residual ? residual->cpu.view() : none, w.cpu.view(), kEps,
                      residual ? r.sum.cpu.view() : none, r.y.cpu.view(), r.rstd.cpu.view(), {});
    kCudaNorm.rms_norm(x.cuda.view(), residual ? residual->cuda.view() : none, w.cuda.view(), kEps,
                       residual ? r.sum.cuda.view() : none, r.y.cuda.view(), r.rstd.cuda.view(), {});
    return r;
  }
  static void ExpectForwardAgrees(const Pair& x, const Pair* residual, const Pair& w) {
    const Forward r = RunForward(x, residual, w);
    EXPECT_TRUE(Agrees(r.y));
    EXPECT_TRUE(Agrees(r.rstd));
    EXPECT_TRUE(Agrees(r.sum));
  }
  static void ExpectGradAgrees(const Pair& dy, const Pair* dsum, const Pair& x, const Pair& w, bool want_dw) {
    const Pair rstd = RunForward(x, nullptr, w).rstd;
    const Pair dx = Result(x.cpu.shape()), dw = Result(w.cpu.shape(), DType::kF32);
    const View none;
    kCpuNorm.rms_norm_grad(dy.cpu.view(), dsum ? dsum->cpu.view() : none, x.cpu.view(), w.cpu.view(), rstd.cpu.view(),
                           dx.cpu.view(), want_dw ? dw.cpu.view() : none, {});
    kCudaNorm.rms_norm_grad(dy.cuda.view(), dsum ? dsum->cuda.view() : none, x.cuda.view(), w.cuda.view(),
                            rstd.cuda.view(), dx.cuda.view(), want_dw ? dw.cuda.view() : none, {});
    EXPECT_TRUE(Agrees(dx, 1));
    // Of terms of about 1 each.
    EXPECT_TRUE(Agree(dw.cuda, dw.cpu, 4e-6, 1 + 0.05 * static_cast<double>(x.cpu.dim(0))));
  }
};

// A group of lanes, one block with one and with several chunks for a thread, rows too long to be kept; odd lengths.
constexpr int64_t kLengths[] = {1, 7, 16, 128, 200, 333, 1280};

TEST_P(NormCudaTest, NormsAgreeForEveryLength) {
  for (int64_t d : kLengths) {
    SCOPED_TRACE(d);
    const Pair x = Values({5, d}, 1), residual = Values({5, d}, 2), w = Values({d}, 3);
    ExpectForwardAgrees(x, nullptr, w);
    ExpectForwardAgrees(x, &residual, w);
    ExpectForwardAgrees(x, &residual, Uniform({d}, DType::kF32, 3));
  }
}

TEST_P(NormCudaTest, GradientsAgreeForEveryLength) {
  for (int64_t d : kLengths) {
    SCOPED_TRACE(d);
    const Pair dy = Values({5, d}, 1), dsum = Values({5, d}, 2), x = Values({5, d}, 3), w = Values({d}, 4);
    ExpectGradAgrees(dy, nullptr, x, w, false);
    ExpectGradAgrees(dy, &dsum, x, w, false);
    ExpectGradAgrees(dy, &dsum, x, w, true);
    ExpectGradAgrees(dy, nullptr, x, Uniform({d}, DType::kF32, 4), true);
  }
}

TEST_P(NormCudaTest, RowsTooLongForRegistersAgree) {
  const int64_t d = 17 * 1024;
  const Pair x = Values({2, d}, 1), residual = Values({2, d}, 2), w = Values({d}, 3);
  ExpectForwardAgrees(x, &residual, w);
  ExpectGradAgrees(residual, &x, x, w, true);
}

TEST_P(NormCudaTest, GradientsOfMoreRowsThanPiecesAgree) {
  const int64_t rows = 270, d = 528;  // a block has one row at a time, some blocks have two
  ExpectGradAgrees(Values({rows, d}, 1), nullptr, Values({rows, d}, 2), Values({d}, 3), true);
  ExpectGradAgrees(Values({300, 37}, 1), nullptr, Values({300, 37}, 2), Values({37}, 3), true);
}

TEST_P(NormCudaTest, ViewsMayBeStrided) {
  const Pair x = Strided(Values({5, 64}, 1)), residual = Strided(Values({5, 64}, 2)), w = Values({64}, 3);
  ExpectForwardAgrees(x, &residual, w);
  ExpectGradAgrees(residual, &x, x, w, true);
  const Pair every_second = Values({64, 2}, 4).Map([](const Tensor& t) { return t.Slice(1, 1, 2).Squeeze(1); });
  ExpectForwardAgrees(Values({5, 64}, 1), nullptr, every_second);
}

TEST_P(NormCudaTest, ResultsMayReplaceTheirInputs) {
  const Pair dy = Values({9, 48}, 1), x = Values({9, 48}, 2), w = Values({48}, 3);
  const Pair rstd = RunForward(x, nullptr, w).rstd, dw = Result({48}, DType::kF32);
  kCpuNorm.rms_norm_grad(dy.cpu.view(), {}, x.cpu.view(), w.cpu.view(), rstd.cpu.view(), dy.cpu.view(), dw.cpu.view(),
                         {});
  kCudaNorm.rms_norm_grad(dy.cuda.view(), {}, x.cuda.view(), w.cuda.view(), rstd.cuda.view(), dy.cuda.view(),
                          dw.cuda.view(), {});
  EXPECT_TRUE(Agrees(dy, 1));
  EXPECT_TRUE(Agree(dw.cuda, dw.cpu, 4e-6, 1));
}

TEST_P(NormCudaTest, SquaresMayOverflowAndNanSpoilsItsOwnRow) {
  if (GetParam() == DType::kF16) GTEST_SKIP() << "f16 has no value whose square overflows f32";
  const float big = 1e30f, nan = std::numeric_limits<float>::quiet_NaN();
  const Tensor values = Tensor::From<float>({big, -big, 0, big, nan, 1, 2, 3, 0, 0, 0, 0, 1, 2, 3, 4}, {4, 4});
  const Pair w = Values({4}, 1);
  ExpectForwardAgrees(Of(values.Cast(GetParam()).Clone()), nullptr, w);
  const Pair wide = Of(values.Reshape({4, 4, 1}).Expand({4, 4, 16}).Reshape({4, 64}).Cast(GetParam()).Clone());
  ExpectForwardAgrees(wide, nullptr, Values({64}, 1));
}

TEST_P(NormCudaTest, NothingIsNormalisedToNothing) {
  const Pair x = Values({0, 16}, 1), w = Values({16}, 2);
  ExpectForwardAgrees(x, nullptr, w);
  ExpectGradAgrees(x, nullptr, x, w, true);
}

TEST_P(NormCudaTest, RunsAreBitwiseEqual) {
  const Pair dy = Values({300, 96}, 1), x = Values({300, 96}, 2), w = Values({96}, 3);
  const Pair rstd = RunForward(x, nullptr, w).rstd, dx = Result({300, 96});
  const Tensor first = Tensor::Empty({96}, DType::kF32, Cuda(0)), second = Tensor::Empty({96}, DType::kF32, Cuda(0));
  for (const Tensor& dw : {first, second}) {
    kCudaNorm.rms_norm_grad(dy.cuda.view(), {}, x.cuda.view(), w.cuda.view(), rstd.cuda.view(), dx.cuda.view(),
                            dw.view(), {});
  }
  EXPECT_TRUE(Agree(first, second.To(kCpu), 0, 0));
}

INSTANTIATE_CUDA_TEST_SUITE(NormCudaTest);

}  // namespace
}  // namespace lorikeet
