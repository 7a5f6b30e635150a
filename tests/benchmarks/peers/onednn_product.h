// A matrix product by oneDNN's matmul primitive, in the layouts that are fastest there.
//
//   OneDnnProduct product({.m = 256, .n = 576, .k = 576, .tb = true}, a, b, y, /*threads=*/2);
//   for (int v = 0; v < product.variants(); ++v) { product.Choose(v); product.Run(); }   // y = a * b^T, some way
//   ReleaseOneDnnThreads();                                  // before something else is timed
//
// A variant leaves each operand in rows or lets oneDNN name its own layout (format_tag::any), and computes y or its
// transpose. Reordering a frozen operand is done once by Choose; of any other it is part of Run, as it would be in
// training. Ownership: a, b and y must outlive it. Threads: one at a time; Run uses `threads` of OpenMP.
#ifndef LORIKEET_TESTS_BENCHMARKS_PEERS_ONEDNN_PRODUCT_H_
#define LORIKEET_TESTS_BENCHMARKS_PEERS_ONEDNN_PRODUCT_H_

#include <cstdint>
#include <memory>
#include <string>

#include "tensor/tensor.h"

namespace lorikeet {

// y [m,n] = op(a)*op(b) + beta*y with k terms, where op transposes if asked; every matrix is stored in rows.
struct Product {
  int64_t m = 0, n = 0, k = 0;
  bool ta = false, tb = false;
  float beta = 0;       // 0 or 1
  bool frozen = false;  // b is a weight that never changes, so its layout may be chosen beforehand
};

class OneDnnProduct {
 public:
  OneDnnProduct(const Product& p, const Tensor& a, const Tensor& b, const Tensor& y, int threads);
  ~OneDnnProduct();

  static constexpr int variants() { return 8; }
  // False if oneDNN has no such kernel but its reference loops, or the variant is the same as another. Frees the
  // variant chosen before.
  bool Choose(int variant);
  void Run();
  std::string layout() const;  // of the chosen variant, such as "rows" or "packed b"

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Ends OpenMP's idle threads, which else may spin on processors that others are measured on. The next Run makes new
// ones.
void ReleaseOneDnnThreads();

std::string OneDnnVersion();

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_BENCHMARKS_PEERS_ONEDNN_PRODUCT_H_
