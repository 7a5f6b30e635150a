// Factorizations by what defines them: orthonormal factors whose product is the matrix, or the best that rank k allows;
// PyTorch's results are in the goldens of the initialisations that use them (peft/lora_init_test.cc).
#include "tensor/ops/linalg.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/testing.h"
#include "tensor/random.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {
namespace {

// diag(s) put into the rows of vt, then u * that.
Tensor Product(const Svd& svd) {
  std::vector<double> rows = Values(svd.vt);
  const std::vector<double> s = Values(svd.s);
  const size_t n = rows.size() / s.size();
  for (size_t i = 0; i < rows.size(); ++i) rows[i] *= s[i / n];
  return MatMul(svd.u, FromDoubles(rows, svd.vt.shape(), svd.u.dtype()));
}

std::vector<double> Identity(int64_t k) {
  std::vector<double> eye(static_cast<size_t>(k * k));
  for (int64_t i = 0; i < k; ++i) eye[static_cast<size_t>(i * k + i)] = 1;
  return eye;
}

// u*diag(s)*vt with singular values 1, 1/2, 1/4, ...
Tensor Decaying(int64_t m, int64_t n, DType dtype) {
  const int64_t k = std::min(m, n);
  Svd svd{ThinQr(RandomTensor({m, k}, dtype, 1), k).q, Tensor(),
          ThinQr(RandomTensor({n, k}, dtype, 2), k).q.Transpose(0, 1)};
  std::vector<double> s;
  for (int64_t i = 0; i < k; ++i) s.push_back(std::ldexp(1.0, static_cast<int>(-i)));
  svd.s = FromDoubles(s, {k}, dtype);
  return Product(svd);
}

TEST(LinalgTest, AnSvdOfFullRankIsTheMatrix) {
  for (const Shape& shape : {Shape{5, 9}, Shape{9, 5}, Shape{7, 7}, Shape{1, 4}}) {
    const Tensor w = RandomTensor(shape, DType::kF64, 3);
    const int64_t k = std::min(shape[0], shape[1]);
    const Svd svd = TopSvd(w, k);
    EXPECT_TRUE(IsClose(Product(svd), Values(w), 1e-12)) << ToString(shape);
    EXPECT_TRUE(IsClose(MatMul(svd.u.Transpose(0, 1), svd.u), Identity(k), 1e-12));
    EXPECT_TRUE(IsClose(MatMul(svd.vt, svd.vt.Transpose(0, 1)), Identity(k), 1e-12));
    const std::vector<double> s = Values(svd.s);
    EXPECT_TRUE(std::is_sorted(s.rbegin(), s.rend()));
  }
}

TEST(LinalgTest, SingularValuesOfAKnownMatrix) {
  const Svd svd = TopSvd(Decaying(12, 8, DType::kF64), 3);
  EXPECT_TRUE(IsClose(svd.s, {1, 0.5, 0.25}, 1e-12));
}

TEST(LinalgTest, F32InF32OutAtF32sPrecision) {
  const Tensor w = Decaying(12, 8, DType::kF64);
  const Svd svd = TopSvd(w.Cast(DType::kF32), 8);
  EXPECT_EQ(svd.u.dtype(), DType::kF32);
  EXPECT_TRUE(IsClose(Product(svd), Values(w), 1e-6));
}

TEST(LinalgTest, PowerIterationsBringARandomizedSvdToTheExactOne) {
  const Tensor w = Decaying(40, 30, DType::kF64);
  const std::vector<double> exact = Values(Product(TopSvd(w, 4)));
  const Svd svd = RandomizedSvd(w, 4, 16, RngKey{.seed = 5});
  EXPECT_TRUE(IsClose(Product(svd), exact, 1e-8));
  EXPECT_TRUE(IsClose(MatMul(svd.u.Transpose(0, 1), svd.u), Identity(4), 1e-12));
  EXPECT_TRUE(SameBits(RandomizedSvd(w, 4, 16, RngKey{.seed = 5}).u, svd.u)) << "equal keys, equal bits";
  EXPECT_FALSE(IsClose(Product(RandomizedSvd(w, 4, 0, RngKey{.seed = 5})), exact, 1e-8)) << "none: a rough one";
}

TEST(LinalgTest, QrIsTriangularWithOrthonormalColumns) {
  for (const Shape& shape : {Shape{6, 4}, Shape{4, 6}}) {
    const Tensor w = RandomTensor(shape, DType::kF64, 4);
    const Qr qr = ThinQr(w, 4);
    EXPECT_TRUE(IsClose(MatMul(qr.q, qr.r), Values(w), 1e-12));
    EXPECT_TRUE(IsClose(MatMul(qr.q.Transpose(0, 1), qr.q), Identity(4), 1e-12));
    for (int64_t i = 0; i < 4; ++i) {
      for (int64_t j = 0; j < i; ++j) EXPECT_EQ(Values(qr.r)[static_cast<size_t>(i * shape[1] + j)], 0);
    }
  }
}

TEST(LinalgTest, FewerColumnsAreTheFirstOnes) {
  const Tensor w = RandomTensor({6, 5}, DType::kF64, 4);
  const Qr all = ThinQr(w, 5), two = ThinQr(w, 2);
  EXPECT_TRUE(IsClose(two.q, Values(all.q.Slice(1, 0, 2)), 1e-12));
  EXPECT_TRUE(IsClose(two.r, Values(all.r.Slice(0, 0, 2)), 1e-12));
}

TEST(LinalgDeathTest, MisuseIsNamed) {
  EXPECT_DEATH(TopSvd(RandomTensor({3, 4}, DType::kF32, 1), 4), "k is 4");
  EXPECT_DEATH(ThinQr(RandomTensor({3, 4}, DType::kBF16, 1), 2), "bf16");
}

}  // namespace
}  // namespace lorikeet::tensor
