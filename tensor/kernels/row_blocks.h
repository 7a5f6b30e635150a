// RowBlocks: one contiguous row of any float dtype, seen as blocks of C (float or double) by CPU kernels; and the
// log-sum-exp of such a row, in one pass.
//
//   RowBlocks<float> row(logits, i);
//   row.Read([&](const float* x, int64_t begin, int64_t n) { ... });     // elements [begin, begin + n) of the row
//   out.Map(row, [&](const float* x, auto* y, int64_t begin, int64_t n) { ... });     // y written; out may be row, and
//                                                                                     // y is x then
#ifndef LORIKEET_TENSOR_KERNELS_ROW_BLOCKS_H_
#define LORIKEET_TENSOR_KERNELS_ROW_BLOCKS_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "tensor/dtype.h"
#include "tensor/kernels/block_loop.h"
#include "tensor/kernels/vec_f32.h"
#include "tensor/kernels/vec_f64.h"
#include "tensor/view.h"

namespace lorikeet::internal {

template <typename C>
class RowBlocks {
 public:
  // Row i of a contiguous view [n, d].
  RowBlocks(const View& rows, int64_t i) : row_(rows) {
    row_.rank = 1;
    row_.dims[0] = rows.dims[1];
    row_.strides[0] = 1;
    row_.data = rows.ptr<char>() + i * rows.dims[1] * static_cast<int64_t>(SizeOf(rows.dtype));
  }

  int64_t size() const { return row_.dims[0]; }

  template <typename F>
  void Read(F&& f) const {
    alignas(64) C buffer[kBlock];
    for (int64_t begin = 0; begin < size(); begin += kBlock) {
      const int64_t n = std::min(kBlock, size() - begin);
      f(static_cast<const C*>(Load(begin, n, buffer)), begin, n);
    }
  }

  // y is C*, or bf16* where the row is that and C is float.
  template <typename F>
  void Map(const RowBlocks& from, F&& f) {
    alignas(64) C buffer[kBlock], result[kBlock];
    for (int64_t begin = 0; begin < size(); begin += kBlock) {
      const int64_t n = std::min(kBlock, size() - begin);
      const C* x = from.Load(begin, n, buffer);
      if constexpr (std::is_same_v<C, float>) {
        if (bf16* y = InPlace<bf16>(row_, begin, n)) {
          f(x, y, begin, n);
          continue;
        }
      }
      C* y = InPlace<C>(row_, begin, n);
      f(x, y != nullptr ? y : result, begin, n);
      if (y == nullptr) StoreBlock(result, row_, begin, n);
    }
  }

 private:
  C* Load(int64_t begin, int64_t n, C* buffer) const {
    C* x = InPlace<C>(row_, begin, n);
    if (x != nullptr) return x;
    LoadBlock(row_, begin, n, buffer);
    return buffer;
  }

  View row_;
};

// m = max x and s = sum e^(x - m) of a row whose blocks are added one by one; blocks are summed in f64. A row of
// -infinity has s = 0. Source: Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018.
template <typename C>
struct LogSumExp {
  C max = -std::numeric_limits<C>::infinity();
  double sum = 0;

  void Add(const C* x, int64_t n) {
    const C block_max = VecMax(x, n);
    if (!(block_max <= max)) {  // larger, or NaN
      if (sum > 0) sum *= std::exp(static_cast<double>(max) - static_cast<double>(block_max));
      max = block_max;
    }
    if (max == -std::numeric_limits<C>::infinity()) return;
    sum += static_cast<double>(VecExpSum(x, max, static_cast<C*>(nullptr), n));
  }
};

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_ROW_BLOCKS_H_
