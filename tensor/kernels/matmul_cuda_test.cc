// The ways in which CUDA multiplies matrices against the CPU's, on odd shapes and any strides. Operands are small
// multiples of 1/8, so that sums are exact in f32: what is rounded once agrees to the bit.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <ostream>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "tensor/cuda_memory.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/kernels/cublas_lt.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/matmul.h"
#include "tensor/kernels/matmul_cuda.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"
#include "tensor/view.h"

namespace lorikeet {
namespace {

using internal::CudaProduct;
using internal::LibraryCall;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

enum class Layout { kRows, kColumns, kOffset, kStrided };  // kOffset: rows that begin nowhere in particular

// The same matrix in both memories, laid out alike.
struct Matrix {
  Tensor cpu, cuda;  // what owns the memory
  View on_cpu, on_cuda;
};

View LaidOut(const Tensor& memory, int64_t rows, int64_t columns, Layout layout) {
  View v = memory.view();
  v.rank = 2;
  v.dims[0] = rows;
  v.dims[1] = columns;
  const int64_t row = layout == Layout::kOffset ? columns + 3 : columns;
  const int64_t step = layout == Layout::kStrided ? 2 : 1;
  v.strides[0] = layout == Layout::kColumns ? 1 : row * step;
  v.strides[1] = layout == Layout::kColumns ? rows : step;
  if (layout == Layout::kOffset) v.data = v.ptr<char>() + SizeOf(v.dtype);
  return v;
}

Matrix Make(int64_t rows, int64_t columns, Layout layout, DType dtype, int step) {
  std::vector<float> x(static_cast<size_t>(2 * (rows + 1) * (columns + 3)));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(static_cast<int>(i * step % 17) - 8) / 8.0f;
  Matrix m;
  m.cpu = Tensor::From<float>(absl::MakeConstSpan(x), {static_cast<int64_t>(x.size())}).Cast(dtype);
  m.cuda = m.cpu.To(Cuda(0));
  m.on_cpu = LaidOut(m.cpu, rows, columns, layout);
  m.on_cuda = LaidOut(m.cuda, rows, columns, layout);
  return m;
}

struct Case {
  int64_t m, n, k, r = 0;
  Layout a = Layout::kRows, b = Layout::kColumns, y = Layout::kRows;
  DType a_dtype = DType::kBF16, b_dtype = DType::kBF16, y_dtype = DType::kBF16;
  float alpha = 1, beta = 0;
  bool gain = false;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.m << "x" << c.n << "x" << c.k << "+" << c.r << " layouts " << static_cast<int>(c.a)
             << static_cast<int>(c.b) << static_cast<int>(c.y) << " " << Name(c.a_dtype) << " " << Name(c.b_dtype)
             << " " << Name(c.y_dtype) << " alpha " << c.alpha << " beta " << c.beta << " gain " << c.gain;
}

// A product computed on the CPU, and the same arguments on the device.
struct Problem {
  explicit Problem(const Case& c)
      : a(Make(c.m, c.k, c.a, c.a_dtype, 5)),
        b(Make(c.k, c.n, c.b, c.b_dtype, 7)),
        y(Make(c.m, c.n, c.y, c.y_dtype, 3)),
        u(Make(c.m, c.r, Layout::kRows, c.a_dtype, 11)),
        v(Make(c.r, c.n, Layout::kColumns, c.a_dtype, 13)),
        gain(Make(1, c.n, Layout::kRows, DType::kF32, 1)) {
    cpu = {.alpha = c.alpha, .beta = c.beta};
    if (c.r > 0) cpu.u = u.on_cpu, cpu.v = v.on_cpu;
    cuda = cpu;
    if (c.r > 0) cuda.u = u.on_cuda, cuda.v = v.on_cuda;
    if (c.gain) {
      cpu.gain = gain.on_cpu, cuda.gain = gain.on_cuda;
      for (View* g : {&cpu.gain, &cuda.gain}) {
        g->rank = 1;
        g->dims[0] = c.n;
        g->strides[0] = 1;
      }
    }
    kCpuMatMul.matmul(a.on_cpu, b.on_cpu, y.on_cpu, cpu, {});
  }
  CudaProduct product() const { return internal::CudaProductOf(a.on_cuda, b.on_cuda, y.on_cuda, cuda); }

  Matrix a, b, y, u, v, gain;
  MatMulEpilogue cpu, cuda;
};

// The whole of y's memory, what lies between its elements too.
void ExpectSame(const Matrix& y, const Case& c, double tolerance = 0) {
  const Tensor got = y.cuda.To(kCpu).Cast(DType::kF32), want = y.cpu.Cast(DType::kF32);
  int shown = 0;
  for (int64_t i = 0; i < want.size() && shown < 5; ++i) {
    const float g = got.data<float>()[i], w = want.data<float>()[i];
    if (std::abs(g - w) <= tolerance * (1 + std::abs(w)) || (std::isnan(g) && std::isnan(w))) continue;
    ADD_FAILURE() << c << " at " << i << ": got " << g << ", want " << w;
    ++shown;
  }
}

class MatMulCudaTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  }
};

void ExpectOwnKernelsAgree(const Case& c) {
  const Problem p(c);
  c.a_dtype == DType::kF32 ? internal::F32Product(p.product(), {}) : internal::TensorCoreProduct(p.product(), {});
  ExpectSame(p.y, c);
}

TEST_F(MatMulCudaTest, TilesAgreeOnEveryLayout) {
  for (Layout a : {Layout::kRows, Layout::kColumns, Layout::kOffset, Layout::kStrided}) {
    for (Layout b : {Layout::kRows, Layout::kColumns, Layout::kOffset, Layout::kStrided}) {
      ExpectOwnKernelsAgree({.m = 24, .n = 40, .k = 72, .a = a, .b = b});
      ExpectOwnKernelsAgree({.m = 5,
                             .n = 9,
                             .k = 33,
                             .a = a,
                             .b = b,
                             .a_dtype = DType::kF16,
                             .b_dtype = DType::kF16,
                             .y_dtype = DType::kF32});
      ExpectOwnKernelsAgree({.m = 9,
                             .n = 70,
                             .k = 35,
                             .a = a,
                             .b = b,
                             .a_dtype = DType::kF32,
                             .b_dtype = DType::kF32,
                             .y_dtype = DType::kF32});
    }
  }
}

TEST_F(MatMulCudaTest, TilesAgreeOnSeveralBlocks) {
  ExpectOwnKernelsAgree({.m = 270, .n = 140, .k = 168, .r = 16});
  ExpectOwnKernelsAgree({.m = 131, .n = 67, .k = 40, .r = 3, .a_dtype = DType::kF32, .b_dtype = DType::kF32});
}

TEST_F(MatMulCudaTest, TilesAgreeOnDtypesAndEpilogues) {
  for (DType y : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (Layout layout : {Layout::kRows, Layout::kColumns, Layout::kOffset, Layout::kStrided}) {
      for (DType operand : {DType::kBF16, DType::kF16, DType::kF32}) {
        ExpectOwnKernelsAgree({.m = 18,
                               .n = 24,
                               .k = 16,
                               .r = 5,
                               .y = layout,
                               .a_dtype = operand,
                               .b_dtype = operand,
                               .y_dtype = y,
                               .alpha = 2,
                               .beta = 0.5f,
                               .gain = true});
      }
      ExpectOwnKernelsAgree({.m = 7, .n = 11, .k = 6, .r = 2, .y = layout, .a_dtype = DType::kF32, .y_dtype = y});
    }
  }
}

// As FinishTile's vectors and the table's choices see them: nothing, one element, one more than a pack.
TEST_F(MatMulCudaTest, TheTableAgreesOnSmallShapes) {
  for (DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    for (int64_t m : {0, 1, 3, 9}) {
      for (int64_t n : {0, 1, 9}) {
        for (int64_t k : {0, 1, 3, 17}) {
          for (Layout b : {Layout::kRows, Layout::kColumns}) {
            const Case c{.m = m,
                         .n = n,
                         .k = k,
                         .r = k % 2,
                         .b = b,
                         .a_dtype = dtype,
                         .b_dtype = dtype,
                         .y_dtype = dtype,
                         .beta = k == 3 ? 0.0f : 0.5f};
            const Problem p(c);
            kCudaMatMul.matmul(p.a.on_cuda, p.b.on_cuda, p.y.on_cuda, p.cuda, {});
            ExpectSame(p.y, c, dtype == DType::kF32 ? 0 : 0x1p-7);
          }
        }
      }
    }
  }
}

TEST_F(MatMulCudaTest, FewRowsAgree) {
  for (int64_t m : {1, 2, 3, 4}) {
    for (DType a : {DType::kBF16, DType::kF16, DType::kF32}) {
      for (DType b : {DType::kBF16, DType::kF16, DType::kF32}) {
        if (a != DType::kF32 && a != b) continue;
        for (int64_t k : {8, 40, 600}) {
          const Case c{.m = m,
                       .n = 21,
                       .k = k,
                       .r = 5,
                       .a_dtype = a,
                       .b_dtype = b,
                       .y_dtype = a,
                       .alpha = 2,
                       .beta = m % 2 == 0 ? 0.0f : 0.5f,
                       .gain = k == 40};
          const Problem p(c);
          ASSERT_TRUE(internal::FitsRowsProduct(p.product())) << c;
          internal::RowsProduct(p.product(), {});
          ExpectSame(p.y, c);
        }
      }
    }
  }
}

TEST_F(MatMulCudaTest, FewRowsNeedRowsOfWholePacks) {
  EXPECT_FALSE(internal::FitsRowsProduct(Problem({.m = 2, .n = 9, .k = 16, .b = Layout::kRows}).product()));
  EXPECT_FALSE(internal::FitsRowsProduct(Problem({.m = 2, .n = 9, .k = 17}).product()));
  EXPECT_FALSE(internal::FitsRowsProduct(Problem({.m = 2, .n = 9, .k = 16, .a = Layout::kOffset}).product()));
  EXPECT_FALSE(internal::FitsRowsProduct(Problem({.m = 5, .n = 9, .k = 16}).product()));
}

// A library that multiplies with our own kernels: rows of its d are columns of ours.
bool OwnLibrary(const LibraryCall& c, LaunchContext context) {
  CudaProduct p;
  p.a = {.data = c.b,
         .dtype = c.dtype,
         .n = c.n,
         .k = c.k,
         .stride_n = c.transpose_b ? 1 : c.ldb,
         .stride_k = c.transpose_b ? c.ldb : 1};
  p.b = {.data = c.a,
         .dtype = c.dtype,
         .n = c.m,
         .k = c.k,
         .stride_n = c.transpose_a ? c.lda : 1,
         .stride_k = c.transpose_a ? 1 : c.lda};
  p.y = c.d;
  p.y_dtype = c.d_dtype;
  p.y_row = c.ldd;
  p.y_column = 1;
  p.alpha = c.alpha;
  p.beta = c.beta;
  EXPECT_TRUE(c.d_dtype == c.dtype || c.d_dtype == DType::kF32);
  EXPECT_TRUE(c.lda >= (c.transpose_a ? c.k : c.m) && c.ldb >= (c.transpose_b ? c.n : c.k) && c.ldd >= c.m);
  c.dtype == DType::kF32 ? internal::F32Product(p, context) : internal::TensorCoreProduct(p, context);
  return true;
}

bool NoLibrary(const LibraryCall&, LaunchContext) { return false; }

// Whether y is rounded more than once on the way: see matmul.h.
bool RoundsTwice(const Case& c) {
  return c.y_dtype == c.a_dtype && c.y_dtype != DType::kF32 && (c.r > 0 || c.gain) && c.y != Layout::kStrided &&
         !(c.gain && c.beta != 0);
}

void ExpectLibraryAgrees(const Case& c) {
  for (internal::LibraryFunction library : {OwnLibrary, internal::CublasLtMultiply}) {
    const Problem p(c);
    const bool done = internal::LibraryProduct(library, p.product(), {});
    EXPECT_TRUE(done || library != OwnLibrary) << c;
    // A library's sums are exact here too.
    if (done) ExpectSame(p.y, c, !RoundsTwice(c) ? 0 : c.y_dtype == DType::kBF16 ? 0x1p-6 : 0x1p-9);
  }
}

TEST_F(MatMulCudaTest, ALibraryServesEveryLayoutThatIsAMatrix) {
  for (Layout a : {Layout::kRows, Layout::kColumns, Layout::kOffset}) {
    for (Layout b : {Layout::kRows, Layout::kColumns, Layout::kOffset}) {
      ExpectLibraryAgrees({.m = 24, .n = 40, .k = 19, .a = a, .b = b});
      ExpectLibraryAgrees({.m = 1, .n = 40, .k = 19, .a = a, .b = b});
      ExpectLibraryAgrees({.m = 24, .n = 1, .k = 1, .a = a, .b = b});
    }
  }
  for (Layout y : {Layout::kRows, Layout::kColumns, Layout::kOffset, Layout::kStrided}) {
    ExpectLibraryAgrees({.m = 13, .n = 10, .k = 8, .y = y, .beta = 0.5f});
  }
}

TEST_F(MatMulCudaTest, ALibrarysProductsAreCorrectedScaledAndWidened) {
  for (DType a : {DType::kBF16, DType::kF16, DType::kF32}) {
    for (DType b : {DType::kBF16, DType::kF16, DType::kF32}) {
      if (a != DType::kF32 && a != b) continue;
      for (DType y : {DType::kBF16, DType::kF16, DType::kF32}) {
        for (int bits = 0; bits < 8; ++bits) {
          ExpectLibraryAgrees({.m = 9,
                               .n = 13,
                               .k = 12,
                               .r = bits % 2 * 4,
                               .a_dtype = a,
                               .b_dtype = b,
                               .y_dtype = y,
                               .alpha = 2,
                               .beta = bits / 2 % 2 == 0 ? 0.0f : 0.5f,
                               .gain = bits >= 4});
        }
      }
    }
  }
}

TEST_F(MatMulCudaTest, WhatALibraryRefusesStaysAsItWas) {
  for (const Case& c : {Case{.m = 9, .n = 13, .k = 12, .a = Layout::kStrided}, Case{.m = 9, .n = 13, .k = 0},
                        Case{.m = 9, .n = 13, .k = 12, .b = Layout::kStrided}}) {
    EXPECT_FALSE(internal::LibraryProduct(OwnLibrary, Problem(c).product(), {})) << c;
  }
  const Problem p({.m = 9, .n = 13, .k = 12, .r = 2, .beta = 0.5f});
  const Tensor before = p.y.cuda.To(kCpu).Cast(DType::kF32);
  EXPECT_FALSE(internal::LibraryProduct(NoLibrary, p.product(), {}));
  const Tensor after = p.y.cuda.To(kCpu).Cast(DType::kF32);
  for (int64_t i = 0; i < before.size(); ++i) EXPECT_EQ(before.data<float>()[i], after.data<float>()[i]);
}

TEST_F(MatMulCudaTest, BetaOfZeroOverwritesNanAndNanPropagates) {
  for (DType dtype : {DType::kBF16, DType::kF32}) {
    for (int64_t m : {2, 6}) {
      std::vector<float> x(static_cast<size_t>(m * 16), 1.0f), w(5 * 16, 0.5f);
      x[16] = kNan;  // row 1
      const Tensor a = Tensor::From<float>(absl::MakeConstSpan(x), {m, 16}).Cast(dtype).To(Cuda(0));
      const Tensor b = Tensor::From<float>(absl::MakeConstSpan(w), {5, 16}).Cast(dtype).To(Cuda(0));
      const std::vector<float> nans(static_cast<size_t>(m * 5), kNan);
      const Tensor y = Tensor::From<float>(absl::MakeConstSpan(nans), {m, 5}).Cast(dtype).To(Cuda(0));
      kCudaMatMul.matmul(a.view(), b.Transpose(0, 1).view(), y.view(), {}, {});
      const Tensor got = y.To(kCpu).Cast(DType::kF32);
      for (int64_t i = 0; i < m * 5; ++i) {
        if (i / 5 == 1) {
          EXPECT_TRUE(std::isnan(got.data<float>()[i])) << i;
        } else {
          EXPECT_EQ(got.data<float>()[i], 8.0f) << i;
        }
      }
    }
  }
}

TEST_F(MatMulCudaTest, DoublesStayOnTheCpu) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";  // a fork has no device
  const Tensor x = Tensor::Zeros({2, 2}, DType::kF64, Cuda(0));
  EXPECT_DEATH(kCudaMatMul.matmul(x.view(), x.view(), x.view(), {}, {}), "matmul: expected f32, bf16 or f16, got f64");
}

}  // namespace
}  // namespace lorikeet
