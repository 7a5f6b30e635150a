#include "tensor/ops/random.h"

#include <numeric>
#include <utility>

#include "tensor/check.h"
#include "tensor/kernels/random.h"
#include "tensor/ops/checks.h"
#include "tensor/ops/kernel_or_die.h"

namespace lorikeet::tensor {
namespace {

const RandomKernels& KernelsFor(Device device) { return device.is_cpu() ? kCpuRandom : kCudaRandom; }

}  // namespace

Tensor Uniform(const Shape& shape, double lo, double hi, RngKey key, DType dtype, Device device) {
  Tensor y = Tensor::Empty(shape, dtype, device);
  CheckFloat("Uniform", y);
  KernelOrDie(KernelsFor(device).uniform, "Uniform", y)(lo, hi, key, y.view(), {});
  return y;
}

Tensor Normal(const Shape& shape, double mean, double std, RngKey key, DType dtype, Device device) {
  Tensor y = Tensor::Empty(shape, dtype, device);
  CheckFloat("Normal", y);
  KernelOrDie(KernelsFor(device).normal, "Normal", y)(mean, std, key, y.view(), {});
  return y;
}

Tensor Dropout(const Tensor& x, double p, KeySource key) {
  CheckFloat("Dropout", x);
  LORIKEET_CHECK(p >= 0 && p <= 1) << "Dropout: p is " << p << ", expected [0, 1]";
  if (p == 0) return x;
  Tensor y = Tensor::Empty(x.shape(), x.dtype(), x.device());
  KernelOrDie(KernelsFor(x.device()).dropout, "Dropout", x)(x.view(), p, key, y.view(), {});
  return y;
}

std::vector<int64_t> Permutation(int64_t n, RngKey key) {
  LORIKEET_CHECK(n >= 0) << "Permutation: of " << n;
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (int64_t i = n - 1; i > 0; --i) {
    const PhiloxBlock r = Philox(key, static_cast<uint64_t>(i));
    const uint64_t word = static_cast<uint64_t>(r.v[0]) << 32 | r.v[1];
    std::swap(order[static_cast<size_t>(i)], order[word % static_cast<uint64_t>(i + 1)]);
  }
  return order;
}

}  // namespace lorikeet::tensor
