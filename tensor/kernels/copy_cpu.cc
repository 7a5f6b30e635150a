#include <cstring>
#include <type_traits>

#include "tensor/kernels/copy.h"
#include "tensor/kernels/dispatch.h"
#include "tensor/kernels/parallel.h"
#include "tensor/kernels/rows_f32.h"

namespace lorikeet {
namespace {

constexpr int64_t kGrain = 1 << 15;  // elements a chunk

template <typename To, typename From>
To Convert(From x) {
  if constexpr (std::is_same_v<To, From>) {
    return x;
  } else if constexpr (std::is_same_v<To, bf16> || std::is_same_v<To, f16>) {
    return To(static_cast<float>(x));
  } else if constexpr (std::is_same_v<From, bf16> || std::is_same_v<From, f16>) {
    return static_cast<To>(static_cast<float>(x));
  } else {
    return static_cast<To>(x);
  }
}

// Walks the outer dimensions of [begin, end) rows; a row is the innermost dimension.
template <typename From, typename To>
void CopyRows(const View& x, const View& y, int64_t begin, int64_t end) {
  const int inner = x.rank - 1;
  const int64_t n = x.dims[inner], sx = x.strides[inner], sy = y.strides[inner];
  for (int64_t row = begin; row < end; ++row) {
    int64_t ox = 0, oy = 0, rest = row;
    for (int d = inner - 1; d >= 0; --d) {
      const int64_t i = rest % x.dims[d];
      rest /= x.dims[d];
      ox += i * x.strides[d];
      oy += i * y.strides[d];
    }
    const From* from = x.ptr<const From>() + ox;
    To* to = y.ptr<To>() + oy;
    if (sx == 1 && sy == 1) {
      if constexpr (std::is_same_v<From, To>) {
        std::memcpy(to, from, static_cast<size_t>(n) * sizeof(To));
      } else if constexpr (std::is_same_v<From, bf16> && std::is_same_v<To, float>) {
        internal::WidenBF16(from, n, to);
      } else if constexpr (std::is_same_v<From, float> && std::is_same_v<To, bf16>) {
        internal::NarrowBF16(from, n, to);
      } else {
        for (int64_t i = 0; i < n; ++i) to[i] = Convert<To>(from[i]);
      }
    } else {
      for (int64_t i = 0; i < n; ++i) to[i * sy] = Convert<To>(from[i * sx]);
    }
  }
}

// A scalar becomes [1]; two contiguous views become [rows, up to kGrain], so that one long row is shared by threads.
void Normalise(View& x, View& y) {
  if (x.rank == 0 || (x.contiguous() && y.contiguous())) {
    const int64_t n = x.size();
    x.rank = y.rank = 1;
    x.dims[0] = y.dims[0] = n;
    x.strides[0] = y.strides[0] = 1;
  }
}

void Copy(View x, View y, LaunchContext) {
  if (x.size() == 0) return;
  Normalise(x, y);
  DispatchAny(x.dtype, [&]<typename From>() {
    DispatchAny(y.dtype, [&]<typename To>() {
      if (x.rank == 1 && x.strides[0] == 1 && y.strides[0] == 1) {
        ParallelFor(x.dims[0], kGrain, [&](int64_t begin, int64_t end) {
          View cx = x, cy = y;
          cx.data = x.ptr<From>() + begin;
          cy.data = y.ptr<To>() + begin;
          cx.dims[0] = cy.dims[0] = end - begin;
          CopyRows<From, To>(cx, cy, 0, 1);
        });
        return;
      }
      const int64_t width = x.dims[x.rank - 1], rows = x.size() / width;
      ParallelFor(rows, std::max<int64_t>(1, kGrain / width),
                  [&](int64_t b, int64_t e) { CopyRows<From, To>(x, y, b, e); });
    });
  });
}

void Fill(View y, double value, LaunchContext) {
  DispatchAny(y.dtype, [&]<typename T>() {
    T v = Convert<T>(value);
    View x;
    x.data = &v;
    x.dtype = y.dtype;
    x.rank = y.rank;
    for (int i = 0; i < y.rank; ++i) x.dims[i] = y.dims[i];  // strides stay 0: one element, repeated
    Copy(x, y, {});
  });
}

void CopyAll(const View* xs, const View* ys, int64_t count, LaunchContext context) {
  for (int64_t j = 0; j < count; ++j) Copy(xs[j], ys[j], context);
}

}  // namespace

const CopyKernels kCpuCopy = {.copy = Copy, .copy_all = CopyAll, .fill = Fill, .transfer = nullptr};

}  // namespace lorikeet
