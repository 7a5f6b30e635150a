// Random numbers for tests of this package: normally distributed (Box and Muller), from a Philox key.
//
//   std::vector<float> x = Normal(4096, RngKey{.seed = 1});
#ifndef LORIKEET_QUANT_RANDOM_FOR_TEST_H_
#define LORIKEET_QUANT_RANDOM_FOR_TEST_H_

#include <cmath>
#include <cstdint>
#include <vector>

#include "tensor/random.h"

namespace lorikeet {

inline std::vector<float> Normal(int64_t n, RngKey key) {
  std::vector<float> x(n);
  for (int64_t i = 0; i < n; ++i) {
    const PhiloxBlock r = Philox(key, i);
    x[i] = std::sqrt(-2 * std::log(1 - ToUnitFloat(r.v[0]))) * std::cos(6.2831853f * ToUnitFloat(r.v[1]));
  }
  return x;
}

inline std::vector<float> Uniform(int64_t n, RngKey key) {
  std::vector<float> x(n);
  for (int64_t i = 0; i < n; ++i) x[i] = ToUnitFloat(Philox(key, i).v[0]);
  return x;
}

}  // namespace lorikeet

#endif  // LORIKEET_QUANT_RANDOM_FOR_TEST_H_
