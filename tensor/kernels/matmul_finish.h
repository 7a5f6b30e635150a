// From sums to a product's result, for the dtypes and strides that the inner loops do not write themselves. Only for
// the CPU kernels of this package.
#ifndef LORIKEET_TENSOR_KERNELS_MATMUL_FINISH_H_
#define LORIKEET_TENSOR_KERNELS_MATMUL_FINISH_H_

#include <cmath>
#include <cstdint>

#include "tensor/kernels/dispatch.h"
#include "tensor/view.h"

namespace lorikeet::internal {

// y[row0 + i][column0 + j] = alpha * gain[column0 + j] * sums[i][j] + beta * y[row0 + i][column0 + j], where sums are
// [rows][width] and the gain, of their type, may have no data.
template <typename Sum>
void FinishRows(const Sum* sums, int64_t width, View y, int64_t row0, int64_t rows, int64_t column0, int64_t columns,
                float alpha, float beta, const View& gain = {}) {
  const Sum* g = gain.data == nullptr ? nullptr : gain.ptr<const Sum>() + column0;
  DispatchFloat(y.dtype, [&]<typename T>() {
    for (int64_t i = 0; i < rows; ++i) {
      T* out = y.ptr<T>() + (row0 + i) * y.strides[0] + column0 * y.strides[1];
      for (int64_t j = 0; j < columns; ++j, out += y.strides[1]) {
        Sum v = alpha * sums[i * width + j];
        if (g != nullptr) v *= g[j];
        if (beta != 0) v = std::fma(static_cast<Sum>(beta), static_cast<Sum>(*out), v);
        if constexpr (sizeof(T) == 2) {
          *out = T(static_cast<float>(v));
        } else {
          *out = static_cast<T>(v);
        }
      }
    }
  });
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_MATMUL_FINISH_H_
