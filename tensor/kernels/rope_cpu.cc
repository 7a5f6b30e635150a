#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/parallel.h"
#include "tensor/kernels/rope.h"
#include "tensor/kernels/rows.h"
#include "tensor/view.h"

namespace lorikeet {
namespace {

using internal::CopyRow;
using internal::StoreRow;

constexpr int64_t kGrainElements = 16 * 1024;

int64_t TokenGrain(int64_t elements_per_token) {
  return std::max<int64_t>(1, kGrainElements / std::max<int64_t>(1, elements_per_token));
}

bool AnyFrom(const View& positions, int64_t from) {
  const int32_t* p = positions.ptr<const int32_t>();
  for (int64_t t = 0; t < positions.dims[0]; ++t) {
    if (p[t * positions.strides[0]] >= from) return true;
  }
  return false;
}

// The row of inv_freq that counts.
View RowFor(const View& positions, const View& inv_freq, int64_t long_from) {
  if (inv_freq.rank == 1) return inv_freq;
  const int64_t row = AnyFrom(positions, long_from) ? 1 : 0;
  char* data = inv_freq.ptr<char>() + row * inv_freq.strides[0] * static_cast<int64_t>(SizeOf(inv_freq.dtype));
  return {data, inv_freq.dtype, 1, {inv_freq.dims[1]}, {inv_freq.strides[1]}};
}

template <typename C>
void Table(const View& positions, const View& inv_freq, double factor, const View& cos, const View& sin) {
  const int64_t half = inv_freq.dims[0];
  ParallelFor(positions.dims[0], TokenGrain(half * 32), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const C position = static_cast<C>(positions.ptr<const int32_t>()[t * positions.strides[0]]);
      for (int64_t i = 0; i < half; ++i) {
        const C angle = position * inv_freq.ptr<const C>()[i * inv_freq.strides[0]];
        cos.ptr<C>()[t * cos.strides[0] + i * cos.strides[1]] = static_cast<C>(factor * std::cos(double{angle}));
        sin.ptr<C>()[t * sin.strides[0] + i * sin.strides[1]] = static_cast<C>(factor * std::sin(double{angle}));
      }
    }
  });
}

// x and y do not overlap: the caller's buffers.
template <typename C>
void RotateSplitHalf(const C* __restrict x, const C* __restrict cos, const C* __restrict sin, int64_t half,
                     C* __restrict y) {
  for (int64_t i = 0; i < half; ++i) {
    y[i] = x[i] * cos[i] - x[i + half] * sin[i];
    y[i + half] = x[i + half] * cos[i] + x[i] * sin[i];
  }
}

template <typename C>
void RotateInterleaved(const C* __restrict x, const C* __restrict cos, const C* __restrict sin, int64_t half,
                       C* __restrict y) {
  for (int64_t i = 0; i < half; ++i) {
    y[2 * i] = x[2 * i] * cos[i] - x[2 * i + 1] * sin[i];
    y[2 * i + 1] = x[2 * i + 1] * cos[i] + x[2 * i] * sin[i];
  }
}

// A row of the table in the arithmetic's type.
template <typename C>
void TableRow(const View& table, int64_t token, C sign, C* out) {
  const int64_t half = table.dims[1], offset = token * table.strides[0], stride = table.strides[1];
  if (table.dtype == DType::kF64) {
    for (int64_t i = 0; i < half; ++i) out[i] = sign * static_cast<C>(table.ptr<const double>()[offset + i * stride]);
  } else {
    for (int64_t i = 0; i < half; ++i) out[i] = sign * static_cast<C>(table.ptr<const float>()[offset + i * stride]);
  }
}

// All heads of a token, [heads][n], in one run where they lie side by side.
template <typename C>
void LoadToken(const View& x, int64_t token, C* out) {
  const int64_t heads = x.dims[1], n = x.dims[2], offset = token * x.strides[0];
  if (x.strides[2] == 1 && x.strides[1] == n) return CopyRow(x, offset, heads * n, 1, out);
  for (int64_t h = 0; h < heads; ++h) CopyRow(x, offset + h * x.strides[1], n, x.strides[2], out + h * n);
}

template <typename C>
void StoreToken(const C* in, const View& y, int64_t token) {
  const int64_t heads = y.dims[1], n = y.dims[2], offset = token * y.strides[0];
  if (y.strides[2] == 1 && y.strides[1] == n) return StoreRow(in, y, offset, heads * n, 1);
  for (int64_t h = 0; h < heads; ++h) StoreRow(in + h * n, y, offset + h * y.strides[1], n, y.strides[2]);
}

template <typename C>
void Rotate(const View& x, const View& cos, const View& sin, bool interleaved, bool inverse, const View& y) {
  const int64_t heads = x.dims[1], n = x.dims[2], half = cos.dims[1], rest = n - 2 * half;
  ParallelFor(x.dims[0], TokenGrain(heads * n), [&](int64_t begin, int64_t end) {
    std::vector<C> buffer(static_cast<size_t>((2 * heads + 1) * n));
    C* c = buffer.data();
    C *s = c + half, *in = c + n, *out = in + heads * n;
    for (int64_t t = begin; t < end; ++t) {
      TableRow(cos, t, C(1), c);
      TableRow(sin, t, inverse ? C(-1) : C(1), s);
      LoadToken(x, t, in);
      for (int64_t h = 0; h < heads * n; h += n) {
        interleaved ? RotateInterleaved(in + h, c, s, half, out + h) : RotateSplitHalf(in + h, c, s, half, out + h);
        std::copy_n(in + h + 2 * half, rest, out + h + 2 * half);
      }
      StoreToken(out, y, t);
    }
  });
}

void RopeTableEntry(View positions, View both, double factor, int64_t long_from, View cos, View sin, LaunchContext) {
  const View inv_freq = RowFor(positions, both, long_from);
  if (inv_freq.dtype == DType::kF64) return Table<double>(positions, inv_freq, factor, cos, sin);
  Table<float>(positions, inv_freq, factor, cos, sin);
}

void RopeEntry(View x, View cos, View sin, bool interleaved, bool inverse, View y, LaunchContext) {
  if (x.dtype == DType::kF64) return Rotate<double>(x, cos, sin, interleaved, inverse, y);
  Rotate<float>(x, cos, sin, interleaved, inverse, y);
}

}  // namespace

const RopeKernels kCpuRope = {.rope_table = RopeTableEntry, .rope = RopeEntry};

}  // namespace lorikeet
