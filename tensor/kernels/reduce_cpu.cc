#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>

#include "tensor/dtype.h"
#include "tensor/kernels/block_loop.h"
#include "tensor/kernels/dispatch.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/parallel.h"
#include "tensor/kernels/reduce.h"
#include "tensor/view.h"

namespace lorikeet {
namespace {

using internal::Coalesce;
using internal::DispatchCompute;
using internal::ForEachRun;
using internal::InPlace;
using internal::kBlock;
using internal::kChunk;
using internal::LoadBlock;

constexpr int64_t kLanes = 16;            // running values of one output, so that the compiler can use vectors
constexpr int64_t kColumns = 256;         // neighbouring outputs that one task keeps
constexpr int64_t kRowPiece = 64 * 1024;  // elements of one output that one task reduces
constexpr int64_t kColumnPiece = 4096;    // rows that one task adds to its columns

struct Sum {
  static constexpr double kIdentity = 0;
  static double Take(double a, double x) { return a + x; }
};
struct Max {
  static constexpr double kIdentity = -std::numeric_limits<double>::infinity();
  static double Take(double a, double x) { return a != a || a > x ? a : x; }  // keeps a NaN
};

template <typename Op, typename F>
double ReduceBlock(int64_t n, F&& element) {
  double lanes[kLanes];
  std::fill(lanes, lanes + kLanes, Op::kIdentity);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t k = 0; k < kLanes; ++k) lanes[k] = Op::Take(lanes[k], element(i + k));
  }
  for (; i < n; ++i) lanes[i % kLanes] = Op::Take(lanes[i % kLanes], element(i));
  double result = lanes[0];
  for (int64_t k = 1; k < kLanes; ++k) result = Op::Take(result, lanes[k]);
  return result;
}

// The block [first, first + n) of v as C, in place or through the buffer.
template <typename C>
const C* Block(const View& v, int64_t first, int64_t n, C* buffer) {
  if (const C* x = InPlace<C>(v, first, n)) return x;
  LoadBlock(v, first, n, buffer);
  return buffer;
}

// Elements [begin, end) of what makes up one output.
template <typename Op, typename C>
double ReduceRow(const View& reduced, int64_t begin, int64_t end) {
  alignas(64) C buffer[kBlock];
  double result = Op::kIdentity;
  for (; begin < end; begin += kBlock) {
    const int64_t n = std::min(kBlock, end - begin);
    const C* x = Block(reduced, begin, n, buffer);
    result = Op::Take(result, ReduceBlock<Op>(n, [x](int64_t i) { return static_cast<double>(x[i]); }));
  }
  return result;
}

// Adds rows [begin, end) to n neighbouring outputs, whose elements are neighbours in x.
template <typename Op, typename T>
void ReduceColumns(const View& reduced, int64_t begin, int64_t end, int64_t n, double* out) {
  std::fill(out, out + n, Op::kIdentity);
  const int64_t stride = reduced.strides[reduced.rank - 1];
  ForEachRun(reduced, begin, end - begin, [&](int64_t offset, int64_t rows) {
    const T* x = reduced.ptr<const T>() + offset;
    for (int64_t r = 0; r < rows; ++r, x += stride) {
      for (int64_t j = 0; j < n; ++j) out[j] = Op::Take(out[j], internal::Widen<double>(x[j]));
    }
  });
}

// x split into its kept and its reduced dimensions, both coalesced.
struct Split {
  View kept, y, reduced;

  Split(const View& x, const View& out) {
    std::array<View, 2> outer = {Take(x, 0, out.rank), out};
    std::array<View, 1> inner = {Take(x, out.rank, x.rank)};
    Coalesce(outer);
    Coalesce(inner);
    kept = outer[0];
    y = outer[1];
    reduced = inner[0];
  }
  static View Take(const View& x, int begin, int end) {
    View v;
    v.data = x.data;
    v.dtype = x.dtype;
    v.rank = end - begin;
    for (int d = begin; d < end; ++d) {
      v.dims[d - begin] = x.dims[d];
      v.strides[d - begin] = x.strides[d];
    }
    return v;
  }
  // Neighbouring outputs lie side by side in x, and the elements of one output do not.
  bool by_columns() const { return kept.strides[kept.rank - 1] == 1 && reduced.strides[reduced.rank - 1] != 1; }
};

template <typename Op>
void ReduceSplit(const Split& s, double scale) {
  const int64_t outputs = s.y.size(), n = s.reduced.size(), width = s.kept.dims[s.kept.rank - 1];
  const bool columns = s.by_columns();
  const int64_t tile = columns ? std::min(kColumns, width) : 1, tiles_per_row = (width + tile - 1) / tile;
  const int64_t piece = columns ? kColumnPiece : kRowPiece, pieces = std::max<int64_t>(1, (n + piece - 1) / piece);
  const int64_t tiles = outputs / width * tiles_per_row;
  const auto partial = std::make_unique<double[]>(static_cast<size_t>(outputs * pieces));  // [pieces, outputs]
  const int64_t grain = std::max<int64_t>(1, kChunk / std::max<int64_t>(1, std::min(n, piece) * tile));
  ParallelFor(tiles * pieces, grain, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t p = task / tiles, t = task % tiles;
      const int64_t column = t % tiles_per_row * tile, first = t / tiles_per_row * width + column;
      const int64_t from = p * piece, to = std::min(n, from + piece);
      double* out = partial.get() + p * outputs + first;
      View part = s.reduced;
      ForEachRun(s.kept, first, 1, [&](int64_t offset, int64_t) {
        part.data = s.kept.ptr<char>() + offset * static_cast<int64_t>(SizeOf(part.dtype));
      });
      if (columns) {
        DispatchFloat(part.dtype,
                      [&]<typename T>() { ReduceColumns<Op, T>(part, from, to, std::min(tile, width - column), out); });
      } else {
        DispatchCompute(part.dtype, [&]<typename C>() { *out = ReduceRow<Op, C>(part, from, to); });
      }
    }
  });
  ParallelFor(outputs, kBlock, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      double v = partial[static_cast<size_t>(k)];
      for (int64_t p = 1; p < pieces; ++p) v = Op::Take(v, partial[static_cast<size_t>(p * outputs + k)]);
      partial[static_cast<size_t>(k)] = v * scale;
    }
    internal::StoreBlock(partial.get() + begin, s.y, begin, end - begin);
  });
}

void Reduce(ReduceOp op, View x, double scale, View y, LaunchContext) {
  if (y.size() == 0) return;
  const Split split(x, y);
  if (op == ReduceOp::kSum) {
    ReduceSplit<Sum>(split, scale);
  } else {
    ReduceSplit<Max>(split, 1);
  }
}

template <typename C>
double DotRow(const View& a, const View& b, int64_t i) {
  const int64_t d = a.dims[1];
  alignas(64) C buffers[2][kBlock];
  double sum = 0;
  for (int64_t j = 0; j < d; j += kBlock) {
    const int64_t n = std::min(kBlock, d - j);
    const C* x = Block(a, i * d + j, n, buffers[0]);
    const C* y = Block(b, i * d + j, n, buffers[1]);
    sum += ReduceBlock<Sum>(n, [x, y](int64_t k) { return static_cast<double>(x[k]) * static_cast<double>(y[k]); });
  }
  return sum;
}

void RowDot(View a, View b, View y, LaunchContext) {
  const int64_t d = std::max<int64_t>(1, a.dims[1]);
  DispatchCompute(y.dtype, [&]<typename C>() {
    ParallelFor(a.dims[0], std::max<int64_t>(1, kChunk / d), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) y.ptr<C>()[i * y.strides[0]] = static_cast<C>(DotRow<C>(a, b, i));
    });
  });
}

// Calls f(chunk, x, n) for the blocks of all elements.
template <typename C, typename F>
void ForEachBlock(const View& x, F&& f) {
  std::array<View, 1> v = {x};
  Coalesce(v);
  ParallelFor(x.size(), kChunk, [&](int64_t begin, int64_t end) {
    alignas(64) C buffer[kBlock];
    const int64_t chunk = begin / kChunk;
    for (; begin < end; begin += kBlock) {
      const int64_t n = std::min(kBlock, end - begin);
      f(chunk, Block(v[0], begin, n, buffer), n);
    }
  });
}

void SumSquares(View x, View y, LaunchContext) {
  const int64_t chunks = (x.size() + kChunk - 1) / kChunk;
  const auto partial = std::make_unique<double[]>(static_cast<size_t>(chunks));
  DispatchCompute(x.dtype, [&]<typename C>() {
    if (chunks == 0) return;
    ForEachBlock<C>(x, [&](int64_t chunk, const C* v, int64_t n) {
      partial[static_cast<size_t>(chunk)] += ReduceBlock<Sum>(n, [v](int64_t k) {
        const double t = static_cast<double>(v[k]);
        return t * t;
      });
    });
  });
  double sum = 0;
  for (int64_t c = 0; c < chunks; ++c) sum += partial[static_cast<size_t>(c)];
  *y.ptr<double>() = sum;
}

void SumSquaresEach(const View* xs, int64_t count, View y, LaunchContext context) {
  for (int64_t i = 0; i < count; ++i) {
    View one = y;
    one.data = y.ptr<double>() + i;
    SumSquares(xs[i], one, context);
  }
}

void AllFinite(View x, View y, LaunchContext) {
  std::atomic<bool> all{true};
  DispatchCompute(x.dtype, [&]<typename C>() {
    if (x.size() == 0) return;
    ForEachBlock<C>(x, [&](int64_t, const C* v, int64_t n) {
      int bad = 0;
      for (int64_t k = 0; k < n; ++k) bad |= !(std::fabs(v[k]) <= std::numeric_limits<C>::max());
      if (bad) all.store(false, std::memory_order_relaxed);
    });
  });
  *y.ptr<int32_t>() = all.load();
}

template <typename C>
int64_t ArgMaxRow(const View& x, int64_t i) {
  const int64_t d = x.dims[1];
  alignas(64) C buffer[kBlock];
  C best = 0;
  int64_t at = -1;
  for (int64_t j = 0; j < d; j += kBlock) {
    const int64_t n = std::min(kBlock, d - j);
    const C* v = Block(x, i * d + j, n, buffer);
    for (int64_t k = 0; k < n; ++k) {
      if (at < 0 || v[k] > best || (v[k] != v[k] && best == best)) {
        best = v[k];
        at = j + k;
      }
    }
  }
  return at;
}

void ArgMax(View x, View y, LaunchContext) {
  DispatchCompute(x.dtype, [&]<typename C>() {
    ParallelFor(x.dims[0], std::max<int64_t>(1, kChunk / x.dims[1]), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        y.ptr<int32_t>()[i * y.strides[0]] = static_cast<int32_t>(ArgMaxRow<C>(x, i));
      }
    });
  });
}

}  // namespace

const ReduceKernels kCpuReduce = {.reduce = Reduce,
                                  .row_dot = RowDot,
                                  .sum_squares = SumSquares,
                                  .sum_squares_each = SumSquaresEach,
                                  .all_finite = AllFinite,
                                  .arg_max = ArgMax};

}  // namespace lorikeet
