#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "tensor/kernels/block_loop.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/parallel.h"
#include "tensor/kernels/row_blocks.h"
#include "tensor/kernels/softmax.h"
#include "tensor/kernels/vec_f32.h"
#include "tensor/kernels/vec_f64.h"
#include "tensor/view.h"

namespace lorikeet {
namespace {

using internal::DispatchCompute;
using internal::kBlock;
using internal::kChunk;
using internal::LoadBlock;
using internal::LogSumExp;
using internal::RowBlocks;
using internal::StoreBlock;

// f(i) for every row, in tasks of about kChunk elements.
template <typename F>
void ForEachRow(const View& x, F&& f) {
  if (x.size() == 0) return;
  ParallelFor(x.dims[0], std::max<int64_t>(1, kChunk / x.dims[1]), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i);
  });
}

template <typename C>
LogSumExp<C> RowLogSumExp(const View& x, int64_t i) {
  LogSumExp<C> lse;
  RowBlocks<C>(x, i).Read([&](const C* block, int64_t, int64_t n) { lse.Add(block, n); });
  return lse;
}

// Row i of y = f(row i of a, row i of b) block by block; the three may be the same memory.
template <typename C, typename F>
void MapRow(const View& a, const View& b, const View& y, int64_t i, F&& f) {
  const int64_t d = y.dims[1];
  alignas(64) C buffers[2][kBlock];
  for (int64_t j = 0; j < d; j += kBlock) {
    const int64_t n = std::min(kBlock, d - j), at = i * d + j;
    LoadBlock(a, at, n, buffers[0]);
    LoadBlock(b, at, n, buffers[1]);
    f(buffers[0], buffers[1], n);
    StoreBlock(buffers[0], y, at, n);
  }
}

void Softmax(View x, View y, LaunchContext) {
  DispatchCompute(x.dtype, [&]<typename C>() {
    ForEachRow(x, [&](int64_t i) {
      const LogSumExp<C> lse = RowLogSumExp<C>(x, i);
      const C scale = static_cast<C>(1 / lse.sum);
      MapRow<C>(x, x, y, i, [&](C* block, const C*, int64_t n) {
        if (lse.sum == 0) {
          std::fill(block, block + n, C{0});
          return;
        }
        internal::VecExpSum(block, lse.max, block, n);
        for (int64_t j = 0; j < n; ++j) block[j] *= scale;
      });
    });
  });
}

void LogSoftmax(View x, View y, LaunchContext) {
  DispatchCompute(x.dtype, [&]<typename C>() {
    ForEachRow(x, [&](int64_t i) {
      const LogSumExp<C> lse = RowLogSumExp<C>(x, i);
      const C log_sum = static_cast<C>(std::log(lse.sum));
      MapRow<C>(x, x, y, i, [&](C* block, const C*, int64_t n) {
        if (lse.sum == 0) return;  // -infinity as it is
        for (int64_t j = 0; j < n; ++j) block[j] = block[j] - lse.max - log_sum;
      });
    });
  });
}

template <typename C>
C Dot(const View& a, const View& b, int64_t i) {
  double dot = 0;
  alignas(64) C other[kBlock];
  RowBlocks<C>(a, i).Read([&](const C* x, int64_t begin, int64_t n) {
    LoadBlock(b, i * b.dims[1] + begin, n, other);
    for (int64_t j = 0; j < n; ++j) dot += static_cast<double>(x[j]) * static_cast<double>(other[j]);
  });
  return static_cast<C>(dot);
}

void SoftmaxGrad(View dy, View y, View dx, LaunchContext) {
  DispatchCompute(y.dtype, [&]<typename C>() {
    ForEachRow(y, [&](int64_t i) {
      const C dot = Dot<C>(dy, y, i);
      MapRow<C>(dy, y, dx, i, [&](C* g, const C* p, int64_t n) {
        for (int64_t j = 0; j < n; ++j) g[j] = p[j] * (g[j] - dot);
      });
    });
  });
}

void LogSoftmaxGrad(View dy, View y, View dx, LaunchContext) {
  DispatchCompute(y.dtype, [&]<typename C>() {
    ForEachRow(y, [&](int64_t i) {
      double sum = 0;
      RowBlocks<C>(dy, i).Read([&](const C* g, int64_t, int64_t n) {
        for (int64_t j = 0; j < n; ++j) sum += static_cast<double>(g[j]);
      });
      bool nothing = true;  // every y is -infinity
      RowBlocks<C>(y, i).Read([&](const C* block, int64_t, int64_t n) {
        nothing = nothing && internal::VecMax(block, n) == -std::numeric_limits<C>::infinity();
      });
      MapRow<C>(dy, y, dx, i, [&](C* g, C* p, int64_t n) {
        internal::VecExpSum(p, C{0}, p, n);
        for (int64_t j = 0; j < n; ++j) g[j] = nothing ? C{0} : g[j] - p[j] * static_cast<C>(sum);
      });
    });
  });
}

}  // namespace

const SoftmaxKernels kCpuSoftmax = {
    .softmax = Softmax, .log_softmax = LogSoftmax, .softmax_grad = SoftmaxGrad, .log_softmax_grad = LogSoftmaxGrad};

}  // namespace lorikeet
