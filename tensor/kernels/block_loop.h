// MapBlocks: the loop of every elementwise CPU kernel. It hides dtypes, strides, broadcasting and threads: the body
// sees contiguous blocks of float (or double), at most kBlock elements each.
//
//   MapBlocks<float, 2, 1>({a, b}, {y}, [](auto in, auto out, int64_t first, int64_t n) {
//     for (int64_t i = 0; i < n; ++i) out[0][i] = in[0][i] + in[1][i];      // elements [first, first + n), row-major
//   });
//
// All views have the same dims and float dtypes. Where a view already is a contiguous run of C, the body works on it in
// place; else its elements are converted through a buffer in the first-level cache. C may be bf16, for a body that has
// a form for it (DispatchRuns). Outputs are written only, unless the same view is an input too. The split into blocks
// depends on the dims alone, so bits do not depend on threads.
#ifndef LORIKEET_TENSOR_KERNELS_BLOCK_LOOP_H_
#define LORIKEET_TENSOR_KERNELS_BLOCK_LOOP_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <type_traits>

#include "tensor/dtype.h"
#include "tensor/kernels/dispatch.h"
#include "tensor/kernels/parallel.h"
#include "tensor/kernels/rows_f32.h"
#include "tensor/view.h"

namespace lorikeet::internal {

inline constexpr int64_t kBlock = 1024;       // elements: a few buffers of floats stay in the first-level cache
inline constexpr int64_t kApart = 48;         // between buffers, so that their lines do not meet in one set of it
inline constexpr int64_t kShortRow = 128;     // shorter rows share a block
inline constexpr int64_t kChunk = 32 * 1024;  // elements a task

// Drops dimensions of size 1 and merges neighbours wherever every view's strides allow it. Views with no element are
// not for this. The row-major order of elements stays.
template <size_t N>
void Coalesce(std::array<View, N>& views) {
  int rank = 0;
  for (int d = 0; d < views[0].rank; ++d) {
    const int64_t n = views[0].dims[d];
    if (n == 1) continue;
    bool merges = rank > 0;
    for (const View& v : views) merges = merges && v.strides[rank - 1] == v.strides[d] * n;
    rank += !merges;
    for (View& v : views) {
      v.dims[rank - 1] = merges ? v.dims[rank - 1] * n : n;
      v.strides[rank - 1] = v.strides[d];
    }
  }
  for (View& v : views) {
    if (rank == 0) v.dims[0] = v.strides[0] = 1;
    v.rank = std::max(rank, 1);
  }
}

// Calls f(offset, n) for the runs of the innermost dimension that make up elements [first, first + n) of v.
template <typename F>
void ForEachRun(const View& v, int64_t first, int64_t n, F&& f) {
  const int inner = v.rank - 1;
  while (n > 0) {
    const int64_t column = first % v.dims[inner];
    int64_t offset = column * v.strides[inner], rest = first / v.dims[inner];
    for (int d = inner - 1; d >= 0; --d) {
      offset += rest % v.dims[d] * v.strides[d];
      rest /= v.dims[d];
    }
    const int64_t run = std::min(n, v.dims[inner] - column);
    f(offset, run);
    first += run;
    n -= run;
  }
}

// To c from t and back; 16-bit floats convert through float.
template <typename C, typename T>
C Widen(T t) {
  if constexpr (std::is_same_v<T, bf16> || std::is_same_v<T, f16>) {
    return static_cast<C>(static_cast<float>(t));
  } else {
    return static_cast<C>(t);
  }
}
template <typename T, typename C>
T Narrow(C c) {
  if constexpr (std::is_same_v<T, bf16> || std::is_same_v<T, f16>) {
    return T(static_cast<float>(c));
  } else {
    return static_cast<T>(c);
  }
}

// Contiguous runs. Training is full of bf16: it has loops in vector instructions.
template <typename T, typename C>
void WidenRun(const T* x, int64_t n, C* out) {
  if constexpr (std::is_same_v<T, bf16> && std::is_same_v<C, float>) {
    WidenBF16(x, n, out);
  } else {
    for (int64_t i = 0; i < n; ++i) out[i] = Widen<C>(x[i]);
  }
}
template <typename C, typename T>
void NarrowRun(const C* x, int64_t n, T* out) {
  if constexpr (std::is_same_v<T, bf16> && std::is_same_v<C, float>) {
    NarrowBF16(x, n, out);
  } else {
    for (int64_t i = 0; i < n; ++i) out[i] = Narrow<T>(x[i]);
  }
}

// Elements [first, first + n) of v into a contiguous buffer, and back.
template <typename C>
void LoadBlock(const View& v, int64_t first, int64_t n, C* out) {
  const int64_t stride = v.strides[v.rank - 1];
  DispatchFloat(v.dtype, [&]<typename T>() {
    ForEachRun(v, first, n, [&](int64_t offset, int64_t run) {
      const T* x = v.ptr<const T>() + offset;
      if (stride == 1) {
        WidenRun(x, run, out);
      } else if (stride == 0) {
        std::fill(out, out + run, Widen<C>(*x));
      } else {
        for (int64_t i = 0; i < run; ++i) out[i] = Widen<C>(x[i * stride]);
      }
      out += run;
    });
  });
}
template <typename C>
void StoreBlock(const C* x, const View& v, int64_t first, int64_t n) {
  const int64_t stride = v.strides[v.rank - 1];
  DispatchFloat(v.dtype, [&]<typename T>() {
    ForEachRun(v, first, n, [&](int64_t offset, int64_t run) {
      T* y = v.ptr<T>() + offset;
      if (stride == 1) {
        NarrowRun(x, run, y);
      } else {
        for (int64_t i = 0; i < run; ++i) y[i * stride] = Narrow<T>(x[i]);
      }
      x += run;
    });
  });
}

// Address of elements [first, first + n) if they lie in memory as the body wants them, else null.
template <typename C>
C* InPlace(const View& v, int64_t first, int64_t n) {
  const int inner = v.rank - 1;
  if (v.dtype != DTypeOf<C>() || v.strides[inner] != 1 || first % v.dims[inner] + n > v.dims[inner]) return nullptr;
  C* at = nullptr;
  ForEachRun(v, first, n, [&](int64_t offset, int64_t) { at = v.ptr<C>() + offset; });
  return at;
}

template <typename C, int kIn, int kOut, typename F>
void MapBlocks(const std::array<View, kIn>& inputs, const std::array<View, kOut>& outputs, F&& body) {
  std::array<View, kIn + kOut> views;
  std::copy(inputs.begin(), inputs.end(), views.begin());
  std::copy(outputs.begin(), outputs.end(), views.begin() + kIn);
  const int64_t size = views[0].size();
  if (size == 0) return;
  Coalesce(views);
  const int64_t row = views[0].dims[views[0].rank - 1];
  ParallelFor(size, kChunk, [&](int64_t begin, int64_t end) {
    alignas(64) C buffers[kIn + kOut][kBlock + kApart];
    while (begin < end) {
      int64_t n = std::min(kBlock, end - begin);
      if (row >= kShortRow) n = std::min(n, row - begin % row);
      std::array<const C*, kIn> in;
      std::array<C*, kOut> out;
      for (int k = 0; k < kIn; ++k) {
        in[k] = InPlace<C>(views[k], begin, n);
        if (in[k] != nullptr) continue;
        LoadBlock(views[k], begin, n, buffers[k]);
        in[k] = buffers[k];
      }
      for (int k = 0; k < kOut; ++k) {
        out[k] = InPlace<C>(views[kIn + k], begin, n);
        if (out[k] == nullptr) out[k] = buffers[kIn + k];
      }
      body(in, out, begin, n);
      for (int k = 0; k < kOut; ++k) {
        if (out[k] == buffers[kIn + k]) StoreBlock(out[k], views[kIn + k], begin, n);
      }
      begin += n;
    }
  });
}

// Runs f with the type of the arithmetic for a float dtype: double for f64, float for the rest.
template <typename F>
void DispatchCompute(DType dtype, F&& f) {
  if (dtype == DType::kF64) {
    f.template operator()<double>();
  } else {
    f.template operator()<float>();
  }
}

// The same, but with bf16 where all views are: for bodies that take runs of it (vec_f32.h).
template <size_t N, typename F>
void DispatchRuns(const std::array<View, N>& views, F&& f) {
  const bool all_bf16 = std::all_of(views.begin(), views.end(), [](const View& v) { return v.dtype == DType::kBF16; });
  if (all_bf16) return f.template operator()<bf16>();
  DispatchCompute(views[0].dtype, f);
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_BLOCK_LOOP_H_
