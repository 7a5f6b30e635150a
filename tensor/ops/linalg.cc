#include "tensor/ops/linalg.h"

#include <algorithm>

#include "Eigen/QR"
#include "Eigen/SVD"
#include "tensor/check.h"
#include "tensor/dtype.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/random.h"
#include "tensor/shape.h"

namespace lorikeet::tensor {
namespace {

// Eigen factorizes column-major matrices fastest; a copy costs nothing beside the factorization.
using Matrix = Eigen::MatrixXd;
using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Matrix ToEigen(const Tensor& w) {
  const Tensor wide = w.Cast(DType::kF64).Contiguous();
  return Eigen::Map<const RowMajor>(wide.data<double>().data(), w.dim(0), w.dim(1));
}

template <typename Expression>
Tensor FromEigen(const Expression& e, DType dtype) {
  const RowMajor rows = e;
  return Tensor::From<double>(absl::MakeConstSpan(rows.data(), static_cast<size_t>(rows.size())),
                              {rows.rows(), rows.cols()})
      .Cast(dtype);
}

void Check(const char* op, const Tensor& w, int64_t k) {
  LORIKEET_CHECK(w.rank() == 2 && (w.dtype() == DType::kF32 || w.dtype() == DType::kF64))
      << op << ": w is " << Describe(w) << ", expected an f32 or f64 matrix";
  LORIKEET_CHECK(k >= 1 && k <= std::min(w.dim(0), w.dim(1))) << op << ": k is " << k << " for " << Describe(w);
}

// An orthonormal basis of y's columns.
Tensor Basis(const Tensor& y) { return ThinQr(y, y.dim(1)).q; }

}  // namespace

Svd TopSvd(const Tensor& w, int64_t k) {
  Check("TopSvd", w, k);
  const Eigen::BDCSVD<Matrix> svd(ToEigen(w), Eigen::ComputeThinU | Eigen::ComputeThinV);
  return {FromEigen(svd.matrixU().leftCols(k), w.dtype()),
          FromEigen(svd.singularValues().head(k), w.dtype()).Reshape({k}),
          FromEigen(svd.matrixV().leftCols(k).transpose(), w.dtype())};
}

Svd RandomizedSvd(const Tensor& w, int64_t k, int power_iterations, RngKey key) {
  Check("RandomizedSvd", w, k);
  LORIKEET_CHECK(power_iterations >= 0) << "RandomizedSvd: " << power_iterations << " power iterations";
  const Tensor wt = w.Transpose(0, 1);
  Tensor q = Basis(MatMul(w, Normal({w.dim(1), k}, 0, 1, key, w.dtype())));
  for (int i = 0; i < power_iterations; ++i) q = Basis(MatMul(w, Basis(MatMul(wt, q))));
  const Svd small = TopSvd(MatMul(q.Transpose(0, 1), w), k);
  return {MatMul(q, small.u), small.s, small.vt};
}

Qr ThinQr(const Tensor& w, int64_t k) {
  Check("ThinQr", w, k);
  const Eigen::HouseholderQR<Matrix> qr(ToEigen(w));
  const Matrix q = qr.householderQ() * Matrix::Identity(w.dim(0), k);
  const Matrix r = qr.matrixQR().topRows(k).triangularView<Eigen::Upper>();
  return {FromEigen(q, w.dtype()), FromEigen(r, w.dtype())};
}

}  // namespace lorikeet::tensor
