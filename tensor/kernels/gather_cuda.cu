#include <cstdint>
#include <cstdio>

#include "tensor/dtype.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_reduce.h"
#include "tensor/kernels/cuda_vector.h"
#include "tensor/kernels/gather.h"
#include "tensor/kernels/launch.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet {
namespace {

using internal::CheckCuda;
using internal::Data;
using internal::DispatchFloat;
using internal::FirstIndex;
using internal::GridFor;
using internal::IndexStride;
using internal::kBlockThreads;
using internal::kPackBytes;
using internal::kWholeWarp;
using internal::Load;
using internal::Pack;
using internal::StreamOf;
using internal::Vectorisable;

// A kernel cannot return an error: the message is printed, and whatever the host calls next fails.
__device__ void BadId(const char* op, int64_t i, int32_t id, int64_t rows) {
  printf("%s: ids[%lld] is %d, the table has %lld rows\n", op, static_cast<long long>(i), id,
         static_cast<long long>(rows));
  __trap();
}

// What is copied: rows of the table to rows of x, or back. `row` and the strides count units of Bits.
struct RowCopy {
  int64_t row, table_stride, x_stride, n;
  bool scatter;
};

template <typename Bits>
__global__ void CopyRowsKernel(View table, View ids, View x, RowCopy c) {
  for (int64_t at = FirstIndex(); at < c.n; at += IndexStride()) {
    const int64_t i = at / c.row, j = at % c.row;
    const int32_t id = Data<int32_t>(ids)[i];
    if (id < 0 || id >= table.dims[0]) BadId(c.scatter ? "ScatterRows" : "GatherRows", i, id, table.dims[0]);
    Bits& in_table = Data<Bits>(table)[id * c.table_stride + j];
    Bits& in_x = Data<Bits>(x)[i * c.x_stride + j];
    c.scatter ? in_table = in_x : in_x = in_table;
  }
}

template <typename Bits>
void CopyRows(const View& table, const View& ids, const View& x, bool scatter, LaunchContext context) {
  const int64_t size = static_cast<int64_t>(SizeOf(table.dtype)), unit = static_cast<int64_t>(sizeof(Bits));
  const int64_t row = table.dims[1] * size / unit;
  const RowCopy c{row, table.strides[0] * size / unit, x.strides[0] * size / unit, ids.dims[0] * row, scatter};
  CheckCuda(Launch(CopyRowsKernel<Bits>, GridFor(c.n), kBlockThreads, 0, StreamOf(context), table, ids, x, c),
            scatter ? "scatter_rows" : "gather_rows");
}

// Bits are copied, whatever they mean: 16 bytes at once where every row allows it.
void CopyRows(const View& table, const View& ids, const View& x, bool scatter, LaunchContext context) {
  if (x.size() == 0) return;
  if (Vectorisable(table) && Vectorisable(x)) return CopyRows<uint4>(table, ids, x, scatter, context);
  switch (SizeOf(table.dtype)) {
    case 1:
      return CopyRows<uint8_t>(table, ids, x, scatter, context);
    case 2:
      return CopyRows<uint16_t>(table, ids, x, scatter, context);
    case 4:
      return CopyRows<uint32_t>(table, ids, x, scatter, context);
    default:
      return CopyRows<uint64_t>(table, ids, x, scatter, context);
  }
}

void GatherRows(View table, View ids, View y, LaunchContext context) { CopyRows(table, ids, y, false, context); }
void ScatterRows(View x, View ids, View table, LaunchContext context) { CopyRows(table, ids, x, true, context); }

constexpr int kIdsAThread = 4;
constexpr int kIdsAtOnce = kIdsAThread * kBlockThreads;
constexpr int kWords = kIdsAtOnce / 32;

// Bit b of masks[w] becomes whether ids[first + 32 w + b] is `id`. Every thread of the block calls it.
__device__ void FindEqual(const int32_t* ids, int64_t n, int64_t first, int32_t id, unsigned* masks) {
  for (int r = 0; r < kIdsAThread; ++r) {
    const int in_chunk = r * kBlockThreads + static_cast<int>(threadIdx.x);
    const int64_t i = first + in_chunk;
    const unsigned found = __ballot_sync(kWholeWarp, i < n && ids[i] == id);
    if (in_chunk % 32 == 0) masks[in_chunk / 32] = found;
  }
  __syncthreads();
}

// Block (i, tile) owns a tile of row ids[i] if no earlier position has that id, and then adds the rows of all equal ids
// in their order, kCount columns a thread: no atomics, no sorting. Finding them reads all ids before and after i, from
// L2 mostly: n^2 / 1024 warp-wide loads a tile, which is little beside the rows themselves up to some 10,000 ids.
template <typename T, int kCount>
__global__ void ScatterAddKernel(View dy, View ids, View dtable) {
  CUDA_SHARED(unsigned[2 * kWords], masks);
  const int64_t n = ids.dims[0], self = blockIdx.x, columns = dy.dims[1];
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * kBlockThreads + threadIdx.x) * kCount;
  const int32_t id = Data<int32_t>(ids)[self];
  if (id < 0 || id >= dtable.dims[0]) BadId("ScatterAddRows", self, id, dtable.dims[0]);
  const bool active = column < columns;
  float* const to = Data<float>(dtable) + id * dtable.strides[0] + column;
  float sum[kCount] = {};
  for (int64_t first = 0; first < n; first += kIdsAtOnce) {
    unsigned* const found = masks + first / kIdsAtOnce % 2 * kWords;  // the other half may still be read
    FindEqual(Data<int32_t>(ids), n, first, id, found);
    for (int w = 0; w < kWords; ++w) {
      for (unsigned bits = found[w]; bits != 0; bits &= bits - 1) {
        const int64_t i = first + 32 * w + __ffs(static_cast<int>(bits)) - 1;
        if (i < self) return;  // for the whole block: another one owns the row
        if (!active) continue;
        for (int j = 0; j < kCount && i == self; ++j) sum[j] = to[j];
        const T* const from = Data<T>(dy) + i * dy.strides[0] + column;
        if constexpr (kCount == 1) {
          sum[0] += static_cast<float>(*from);
        } else {
          const auto pack = Load<Pack<T>>(from);
          for (int j = 0; j < kCount; ++j) sum[j] += static_cast<float>(pack.v[j]);
        }
      }
    }
  }
  for (int j = 0; j < kCount && active; ++j) to[j] = sum[j];
}

void ScatterAddRows(View dy, View ids, View dtable, LaunchContext context) {
  if (dy.size() == 0) return;
  if (dtable.dtype != DType::kF32) {
    std::fprintf(stderr, "CUDA scatter_add_rows: expected an f32 dtable, got %s\n", Name(dtable.dtype));
    std::abort();
  }
  DispatchFloat(dy.dtype, "scatter_add_rows", [&](auto type) {
    using T = decltype(type);
    const auto launch = [&](auto* kernel, int64_t columns_a_thread) {
      const int64_t columns_a_block = kBlockThreads * columns_a_thread;
      const dim3 grid(static_cast<unsigned>(ids.dims[0]),
                      static_cast<unsigned>((dy.dims[1] + columns_a_block - 1) / columns_a_block));
      CheckCuda(Launch(kernel, grid, kBlockThreads, 0, StreamOf(context), dy, ids, dtable), "scatter_add_rows");
    };
    if (Vectorisable(dy) && Vectorisable(dtable)) {
      launch(ScatterAddKernel<T, Pack<T>::kCount>, Pack<T>::kCount);
    } else {
      launch(ScatterAddKernel<T, 1>, 1);
    }
  });
}

}  // namespace

extern const GatherKernels kCudaGather = {
    .gather_rows = GatherRows, .scatter_rows = ScatterRows, .scatter_add_rows = ScatterAddRows};

}  // namespace lorikeet
