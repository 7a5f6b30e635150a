#include <algorithm>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/kernels/block_loop.h"
#include "tensor/kernels/column_scale.h"
#include "tensor/kernels/elementwise_op.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/parallel.h"
#include "tensor/kernels/vec_f32.h"
#include "tensor/kernels/vec_f64.h"
#include "tensor/view.h"

namespace lorikeet {
namespace {

using internal::DispatchCompute;
using internal::InPlace;
using internal::kApart;
using internal::kBlock;
using internal::LoadBlock;
using internal::MapBlocks;
using internal::StoreBlock;

constexpr int64_t kRun = 64;  // rows that share a partial dot

// g as every row sees it.
View Repeated(View g, const View& like) {
  g.rank = 2;
  g.dims[0] = like.dims[0];
  g.dims[1] = like.dims[1];
  g.strides[1] = g.strides[0];
  g.strides[0] = 0;
  return g;
}

void ColumnScale(View x, View g, View y, LaunchContext) {
  DispatchCompute(y.dtype, [&]<typename C>() {
    MapBlocks<C, 2, 1>({x, Repeated(g, x)}, {y}, [](auto in, auto out, int64_t, int64_t n) {
      internal::VecBinary(BinaryOp::kMul, in[0], in[1], out[0], n);
    });
  });
}

template <typename C>
const C* Load(const View& v, int64_t first, int64_t n, C* buffer) {
  if (const C* in_place = InPlace<C>(v, first, n)) return in_place;
  LoadBlock(v, first, n, buffer);
  return buffer;
}

// Columns [begin, begin + n) of one row; dot takes the row's part.
template <typename C>
void GradBlock(const View& dy, const View& x, const C* g, const View& dx, int64_t row, int64_t begin, int64_t n,
               C* dot) {
  const int64_t first = row * dy.dims[1] + begin;
  if constexpr (std::is_same_v<C, float>) {
    const bf16 *dy16 = InPlace<bf16>(dy, first, n), *x16 = InPlace<bf16>(x, first, n);
    bf16* dx16 = InPlace<bf16>(dx, first, n);
    if (dy16 != nullptr && x16 != nullptr && dx16 != nullptr) {
      return internal::VecScaleGrad(dy16, x16, g + begin, dx16, dot + begin, n);
    }
  }
  alignas(64) C buffers[3][kBlock + kApart];
  C* out = InPlace<C>(dx, first, n);
  C* const to = out != nullptr ? out : buffers[2];
  internal::VecScaleGrad(Load(dy, first, n, buffers[0]), Load(x, first, n, buffers[1]), g + begin, to, dot + begin, n);
  if (out == nullptr) StoreBlock(to, dx, first, n);
}

template <typename C>
void Grad(const View& dy, const View& x, const View& g, const View& dx, const View& dot) {
  const int64_t rows = dy.dims[0], d = dy.dims[1], runs = (rows + kRun - 1) / kRun;
  if (d == 0) return;
  std::vector<C> factors(static_cast<size_t>(d));
  LoadBlock(g, 0, d, factors.data());
  const auto partial = std::make_unique<C[]>(static_cast<size_t>(runs * d));  // zeros
  ParallelFor(rows, kRun, [&](int64_t begin, int64_t end) {
    C* part = partial.get() + begin / kRun * d;
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t column = 0; column < d; column += kBlock) {
        GradBlock(dy, x, factors.data(), dx, row, column, std::min(kBlock, d - column), part);
      }
    }
  });
  if (dot.rank == 0) return;
  std::vector<double> total(static_cast<size_t>(d), 0.0);
  for (int64_t i = 0; i < runs; ++i) {
    for (int64_t j = 0; j < d; ++j) total[static_cast<size_t>(j)] += static_cast<double>(partial[i * d + j]);
  }
  StoreBlock(total.data(), dot, 0, d);
}

void ColumnScaleGrad(View dy, View x, View g, View dx, View dot, LaunchContext) {
  DispatchCompute(dy.dtype, [&]<typename C>() { Grad<C>(dy, x, g, dx, dot); });
}

}  // namespace

const ColumnScaleKernels kCpuColumnScale = {.column_scale = ColumnScale, .column_scale_grad = ColumnScaleGrad};

}  // namespace lorikeet
