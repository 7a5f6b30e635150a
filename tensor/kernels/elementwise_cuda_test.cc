// The CUDA elementwise kernels against the CPU's, on odd shapes, strided and broadcast views, in every dtype they take.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "tensor/cuda_memory.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

constexpr UnaryOp kUnaryOps[] = {UnaryOp::kNeg,  UnaryOp::kAbs,    UnaryOp::kSign,    UnaryOp::kExp,
                                 UnaryOp::kLog,  UnaryOp::kSqrt,   UnaryOp::kRsqrt,   UnaryOp::kReciprocal,
                                 UnaryOp::kTanh, UnaryOp::kSquare, UnaryOp::kSigmoid, UnaryOp::kSilu};
constexpr BinaryOp kBinaryOps[] = {BinaryOp::kAdd,     BinaryOp::kSub,     BinaryOp::kMul,   BinaryOp::kDiv,
                                   BinaryOp::kMaximum, BinaryOp::kMinimum, BinaryOp::kEqual, BinaryOp::kGreater};

class ElementwiseCudaTest : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  }
  // Values from -4 to 4, some of them equal, in the test's dtype.
  Tensor Values(const Shape& shape, int step) const {
    std::vector<float> x(static_cast<size_t>(shape.size()));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(static_cast<int>(i) * step % 65 - 32) / 8.0f;
    return Tensor::From<float>(absl::MakeConstSpan(x), shape).Cast(GetParam());
  }
};

// One step of the last place, twice: the two sides may round a transcendental's last bit differently.
double Tolerance(DType dtype) { return dtype == DType::kBF16 ? 0x1p-7 : dtype == DType::kF16 ? 0x1p-9 : 4e-6; }

void ExpectSame(const Tensor& cuda, const Tensor& cpu, int op) {
  const Tensor got = cuda.To(kCpu).Cast(DType::kF64).Contiguous(), want = cpu.Cast(DType::kF64).Contiguous();
  ASSERT_EQ(got.size(), want.size());
  for (int64_t i = 0; i < want.size(); ++i) {
    const double g = got.data<double>()[i], w = want.data<double>()[i];
    if (std::isnan(w)) {
      EXPECT_TRUE(std::isnan(g)) << "op " << op << " at " << i << ": got " << g;
    } else if (std::isinf(w)) {
      EXPECT_EQ(g, w) << "op " << op << " at " << i;
    } else {
      EXPECT_TRUE(std::abs(g - w) <= Tolerance(cpu.dtype()) * std::max(1e-3, std::abs(w)))
          << "op " << op << " at " << i << ": got " << g << ", want " << w;
    }
  }
}

TEST_P(ElementwiseCudaTest, UnaryOperationsAgreeWithTheCpu) {
  const Tensor x = Values({3, 5, 7}, 11), there = x.To(Cuda(0));
  for (UnaryOp op : kUnaryOps) {
    const Tensor y = Tensor::Empty({3, 5, 7}, GetParam()), z = Tensor::Empty({3, 5, 7}, GetParam(), Cuda(0));
    kCpuElementwise.unary(op, x.view(), y.view(), {});
    kCudaElementwise.unary(op, there.view(), z.view(), {});
    ExpectSame(z, y, static_cast<int>(op));
  }
}

TEST_P(ElementwiseCudaTest, BinaryOperationsAgreeOnBroadcastViews) {
  const Shape shape = {3, 5, 37};
  const Tensor a = Values(shape, 7), row = Values({37}, 5), column = Values({5, 1}, 3);
  const Tensor there = a.To(Cuda(0)), row_there = row.To(Cuda(0)), column_there = column.To(Cuda(0));
  for (BinaryOp op : kBinaryOps) {
    const Tensor y = Tensor::Empty(shape, GetParam()), z = Tensor::Empty(shape, GetParam(), Cuda(0));
    kCpuElementwise.binary(op, a.view(), row.Expand(shape).view(), y.view(), {});
    kCudaElementwise.binary(op, there.view(), row_there.Expand(shape).view(), z.view(), {});
    ExpectSame(z, y, static_cast<int>(op));
    kCpuElementwise.binary(op, column.Expand(shape).view(), a.view(), y.view(), {});
    kCudaElementwise.binary(op, column_there.Expand(shape).view(), there.view(), z.view(), {});
    ExpectSame(z, y, static_cast<int>(op));
  }
}

TEST_P(ElementwiseCudaTest, OperandsAndResultMayBeStrided) {
  const Tensor x = Values({6, 11}, 9), there = x.To(Cuda(0));
  const Tensor y = Tensor::Zeros({6, 11}, GetParam()), z = Tensor::Zeros({6, 11}, GetParam(), Cuda(0));
  const auto inner = [](const Tensor& t) { return t.Transpose(0, 1).Slice(0, 2, 9); };  // [7, 6]
  kCpuElementwise.binary(BinaryOp::kMul, inner(x).view(), inner(x).view(), inner(y).view(), {});
  kCudaElementwise.binary(BinaryOp::kMul, inner(there).view(), inner(there).view(), inner(z).view(), {});
  ExpectSame(z, y, static_cast<int>(BinaryOp::kMul));
}

TEST_P(ElementwiseCudaTest, ScalarOperandsAgreeWithTheCpu) {
  const Tensor x = Values({301}, 13), there = x.To(Cuda(0));
  for (BinaryOp op : kBinaryOps) {
    const Tensor y = Tensor::Empty({301}, GetParam()), z = Tensor::Empty({301}, GetParam(), Cuda(0));
    kCpuElementwise.binary_scalar(op, x.view(), 1.7, y.view(), {});
    kCudaElementwise.binary_scalar(op, there.view(), 1.7, z.view(), {});
    ExpectSame(z, y, static_cast<int>(op));
  }
}

TEST_P(ElementwiseCudaTest, AddsInPlaceAcrossDtypes) {
  for (DType to : {DType::kF32, DType::kBF16, DType::kF16}) {
    const Tensor x = Values({5, 13}, 3), y = Values({5, 13}, 17).Cast(to).Clone();
    const Tensor z = y.To(Cuda(0));
    kCpuElementwise.add_in_place(x.view(), -0.75, y.view(), {});
    kCudaElementwise.add_in_place(x.To(Cuda(0)).view(), -0.75, z.view(), {});
    ExpectSame(z, y, 0);
  }
}

TEST_P(ElementwiseCudaTest, NanWinsMaximumAndMinimum) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Tensor a = Tensor::From<float>({nan, 1.0f, nan}, {3}).Cast(GetParam()).To(Cuda(0));
  const Tensor b = Tensor::From<float>({1.0f, nan, nan}, {3}).Cast(GetParam()).To(Cuda(0));
  for (BinaryOp op : {BinaryOp::kMaximum, BinaryOp::kMinimum}) {
    const Tensor z = Tensor::Zeros({3}, GetParam(), Cuda(0));
    kCudaElementwise.binary(op, a.view(), b.view(), z.view(), {});
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(std::isnan(z.Slice(0, i, i + 1).item())) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, ElementwiseCudaTest, testing::Values(DType::kF32, DType::kBF16, DType::kF16),
                         [](const testing::TestParamInfo<DType>& info) { return Name(info.param); });

}  // namespace
}  // namespace lorikeet
