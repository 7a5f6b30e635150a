// Small dense linear algebra, by Eigen: what initialisations of adapters need of a weight.
//
//   Svd svd = TopSvd(w, 16);                    // the 16 largest singular values and their vectors
//   Qr qr = ThinQr(w, 16);                      // the first 16 columns of Q and rows of R
//
// Matrices are [m, n], f32 or f64, with k <= min(m, n); results have the input's dtype and their own memory. TopSvd and
// ThinQr compute in f64. Signs: a singular pair (u, v) is as good as (-u, -v); R's diagonal has LAPACK's signs.
// Threads: each call runs in the calling one, but for the products of RandomizedSvd. Errors: other shapes and dtypes
// abort; elements must be finite. Cost: TopSvd and ThinQr are cubic whatever k is (a second for 576 x 1536, minutes for
// 4096 x 4096); RandomizedSvd is 2 + 2*power_iterations skinny products.
// Source: Eigen 3.4, BDCSVD and HouseholderQR; Halko, Martinsson and Tropp, "Finding structure with randomness", 2011.
#ifndef LORIKEET_TENSOR_OPS_LINALG_H_
#define LORIKEET_TENSOR_OPS_LINALG_H_

#include <cstdint>

#include "tensor/random.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {

// u*diag(s)*vt, the best approximation of rank k: u [m, k], s [k] descending, vt [k, n].
struct Svd {
  Tensor u, s, vt;
};
Svd TopSvd(const Tensor& w, int64_t k);

// The same from random projections, sharpened by power iterations: with a decaying spectrum 2 to 16 of them suffice.
// The key decides the projections, so equal keys give equal bits.
Svd RandomizedSvd(const Tensor& w, int64_t k, int power_iterations, RngKey key);

// q [m, k] with orthonormal columns, r [k, n] upper trapezoidal; q*r is w's projection onto its first k columns' span.
struct Qr {
  Tensor q, r;
};
Qr ThinQr(const Tensor& w, int64_t k);

}  // namespace lorikeet::tensor

#endif  // LORIKEET_TENSOR_OPS_LINALG_H_
