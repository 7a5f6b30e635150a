#include <cmath>
#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/copy.h"
#include "tensor/kernels/cuda_chunk.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_map.h"
#include "tensor/kernels/cuda_vector.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/segment_table_cuda.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet {
namespace {

using internal::CheckCuda;
using internal::Chunk;
using internal::Data;
using internal::DispatchFloat;
using internal::FirstIndex;
using internal::Flattened;
using internal::GridFor;
using internal::IndexStride;
using internal::kBlockThreads;
using internal::kPackBytes;
using internal::LaunchMap;
using internal::Load;
using internal::LoadRaw;
using internal::MapGrid;
using internal::MapGridFor;
using internal::MergeDims;
using internal::Offset;
using internal::Pack;
using internal::RawChunk;
using internal::SegmentTable;
using internal::StoreChunk;
using internal::StreamOf;

// The 16-bit floats convert from and to float only.
__device__ inline double Widen(double x) { return x; }
__device__ inline float Widen(float x) { return x; }
__device__ inline float Widen(bf16 x) { return x; }
__device__ inline float Widen(f16 x) { return x; }
__device__ inline int32_t Widen(int32_t x) { return x; }
__device__ inline int64_t Widen(int64_t x) { return x; }
__device__ inline uint8_t Widen(uint8_t x) { return x; }

// The target's dtype is a value, not a template parameter: 7 kernels rather than 49, and every thread takes one branch.
template <typename T>
__device__ inline void Store(const View& y, int64_t at, T x) {
  switch (y.dtype) {
    case DType::kF64:
      Data<double>(y)[at] = static_cast<double>(x);
      break;
    case DType::kF32:
      Data<float>(y)[at] = static_cast<float>(x);
      break;
    case DType::kBF16:
      Data<bf16>(y)[at] = bf16(static_cast<float>(x));
      break;
    case DType::kF16:
      Data<f16>(y)[at] = f16(static_cast<float>(x));
      break;
    case DType::kI32:
      Data<int32_t>(y)[at] = static_cast<int32_t>(x);
      break;
    case DType::kI64:
      Data<int64_t>(y)[at] = static_cast<int64_t>(x);
      break;
    case DType::kU8:
      Data<uint8_t>(y)[at] = static_cast<uint8_t>(x);
      break;
  }
}

template <typename From>
__global__ void ConvertKernel(const __grid_constant__ View x, const __grid_constant__ View y, int64_t n) {
  for (int64_t i = FirstIndex(); i < n; i += IndexStride()) Store(y, Offset(y, i), Widen(Data<From>(x)[Offset(x, i)]));
}

// The same dtype on both sides: bits, whatever they mean.
template <typename Bits>
__global__ void CopyKernel(const __grid_constant__ View x, const __grid_constant__ View y, int64_t n) {
  for (int64_t i = FirstIndex(); i < n; i += IndexStride()) Data<Bits>(y)[Offset(y, i)] = Data<Bits>(x)[Offset(x, i)];
}

// Rows that are runs of Bits on both sides.
template <typename Bits>
__global__ void CopyRowsKernel(const __grid_constant__ View x, const __grid_constant__ View y, int64_t rows,
                               int64_t columns) {
  for (int64_t row = static_cast<int64_t>(blockIdx.y) * blockDim.y + threadIdx.y; row < rows;
       row += static_cast<int64_t>(gridDim.y) * blockDim.y) {
    const Bits* from = Data<Bits>(x) + Offset(x, row);
    Bits* to = Data<Bits>(y) + Offset(y, row);
    for (int64_t c = FirstIndex(); c < columns; c += IndexStride()) to[c] = from[c];
  }
}

constexpr int kTile = 32, kTileRows = 8;

// A matrix whose rows are y's runs and whose columns are x's: through a tile in shared memory, so that both sides are
// walked along their runs. x_stride is x's between columns, y_stride y's between rows; `x` and `y` have the other dims.
struct TransposeArgs {
  View x, y;
  int64_t batch, rows, columns, x_stride, y_stride;
};
template <typename Bits>
__global__ void TransposeKernel(TransposeArgs a) {
  CUDA_SHARED(Bits[kTile][kTile + 1], tile);  // one more, so that a column's elements lie in different banks
  const int64_t tiles = (a.columns + kTile - 1) / kTile * ((a.rows + kTile - 1) / kTile);
  for (int64_t task = blockIdx.x; task < tiles * a.batch; task += gridDim.x) {
    const int64_t b = task / tiles, t = task % tiles, tiles_across = (a.columns + kTile - 1) / kTile;
    const int64_t row = t / tiles_across * kTile, column = t % tiles_across * kTile;
    const int64_t x_row = row + threadIdx.x, y_column = column + threadIdx.x;
    const Bits* from = Data<Bits>(a.x) + Offset(a.x, b);
    Bits* to = Data<Bits>(a.y) + Offset(a.y, b);
    for (int64_t j = threadIdx.y; j < kTile; j += kTileRows) {
      if (x_row < a.rows && column + j < a.columns) tile[j][threadIdx.x] = from[(column + j) * a.x_stride + x_row];
    }
    __syncthreads();
    for (int64_t j = threadIdx.y; j < kTile; j += kTileRows) {
      if (row + j < a.rows && y_column < a.columns) to[(row + j) * a.y_stride + y_column] = tile[threadIdx.x][j];
    }
    __syncthreads();  // the tile may be written again
  }
}

constexpr int kWideThreads = 128, kTileChunks = 8;

// The same in chunks of 16 bytes on both sides, where those fit: tiles of 128 bytes across, kTileChunks chunks. Chunk c
// of the tile's line j lies at c ^ (j / chunk length): the elements of a chunk of the other side, which come from as
// many lines, and those of its neighbours then lie in different banks.
template <typename Bits>
__global__ void __launch_bounds__(kWideThreads) TransposeChunksKernel(const __grid_constant__ TransposeArgs a) {
  constexpr int kCount = static_cast<int>(kPackBytes / sizeof(Bits)), kSide = kCount * kTileChunks;
  constexpr int kEach = kSide * kTileChunks / kWideThreads;  // chunks of a thread
  using C = Chunk<Bits, kCount>;
  CUDA_SHARED(C[kSide][kTileChunks], tile);
  const int64_t across = (a.columns + kSide - 1) / kSide, tiles = across * ((a.rows + kSide - 1) / kSide);
  const int line = static_cast<int>(threadIdx.x) / kTileChunks, c = static_cast<int>(threadIdx.x) % kTileChunks;
  constexpr int kLines = kWideThreads / kTileChunks;
  for (int64_t task = blockIdx.x; task < tiles * a.batch; task += gridDim.x) {
    const int64_t b = task / tiles, t = task % tiles, row = t / across * kSide, column = t % across * kSide;
    const Bits* from = Data<Bits>(a.x) + Offset(a.x, b) + row + c * kCount;
    Bits* to = Data<Bits>(a.y) + Offset(a.y, b) + column + c * kCount;
    RawChunk<Bits, kCount> ahead[kEach] = {};
    CUDA_UNROLL
    for (int k = 0; k < kEach; ++k) {
      const int64_t j = column + line + k * kLines;
      if (j < a.columns && row + c * kCount < a.rows) ahead[k] = LoadRaw<kCount>(from + j * a.x_stride);
    }
    CUDA_UNROLL
    for (int k = 0; k < kEach; ++k) {
      const int j = line + k * kLines;
      StoreChunk<false, Bits, kCount>(ahead[k], tile[j][c ^ j / kCount % kTileChunks].v);
    }
    __syncthreads();
    CUDA_UNROLL
    for (int k = 0; k < kEach; ++k) {
      const int i = line + k * kLines;
      C y;
      CUDA_UNROLL
      for (int e = 0; e < kCount; ++e) y.v[e] = tile[c * kCount + e][i / kCount ^ c].v[i % kCount];
      if (row + i < a.rows && column + c * kCount < a.columns) StoreChunk(y, to + (row + i) * a.y_stride);
    }
    __syncthreads();  // the tile may be written again
  }
}

__global__ void FillKernel(const __grid_constant__ View y, double value, int64_t n) {
  for (int64_t i = FirstIndex(); i < n; i += IndexStride()) Store(y, Offset(y, i), value);
}

// f with unsigned integers, or for 16 bytes a struct, of that many bytes.
template <typename F>
void DispatchBits(int64_t bytes, F f) {
  switch (bytes) {
    case 1:
      return f(uint8_t{});
    case 2:
      return f(uint16_t{});
    case 4:
      return f(uint32_t{});
    case 8:
      return f(uint64_t{});
    default:
      return f(Chunk<uint32_t, 4>{});
  }
}

// Without dimension d.
View Without(View v, int d) {
  for (int i = d; i + 1 < v.rank; ++i) {
    v.dims[i] = v.dims[i + 1];
    v.strides[i] = v.strides[i + 1];
  }
  if (--v.rank == 0) v.strides[0] = 0;
  return v;
}

// The most bytes, 16 at most, in which both views' rows can be copied.
int64_t UnitOf(const View& x, const View& y) {
  int64_t size = static_cast<int64_t>(SizeOf(x.dtype)), unit = kPackBytes;
  const auto fits = [&](const View& v) {
    if (reinterpret_cast<uintptr_t>(v.data) % unit != 0 || v.dims[v.rank - 1] * size % unit != 0) return false;
    for (int d = 0; d + 1 < v.rank; ++d) {
      if (v.strides[d] * size % unit != 0) return false;
    }
    return true;
  };
  while (unit > size && !(fits(x) && fits(y))) unit /= 2;
  return unit;
}

void CopyRows(View x, View y, cudaStream_t stream) {
  if (x.rank == 1) {
    const size_t bytes = static_cast<size_t>(x.size()) * SizeOf(x.dtype);
    CheckCuda(cudaMemcpyAsync(y.data, x.data, bytes, cudaMemcpyDeviceToDevice, stream), "copy");
    return;
  }
  const int64_t unit = UnitOf(x, y), size = static_cast<int64_t>(SizeOf(x.dtype));
  const int64_t columns = x.dims[x.rank - 1], rows = x.size() / columns, units = columns * size / unit;
  const MapGrid grid = MapGridFor(rows, units);
  x = Without(x, x.rank - 1);
  y = Without(y, y.rank - 1);
  for (View* v : {&x, &y}) {
    for (int d = 0; d < v->rank; ++d) v->strides[d] = v->strides[d] * size / unit;
  }
  DispatchBits(unit, [&]<typename Bits>(Bits) {
    CheckCuda(Launch(CopyRowsKernel<Bits>, grid.grid, grid.block, 0, stream, x, y, rows, units), "copy");
  });
}

// Whether runs of `length`, `stride` apart in each of v's elements, consist of chunks at multiples of 16 bytes.
bool RunsInChunks(const View& v, int64_t length, int64_t stride, int64_t count) {
  bool fits = reinterpret_cast<uintptr_t>(v.data) % kPackBytes == 0 && length % count == 0 && stride % count == 0;
  for (int d = 0; d < v.rank; ++d) fits = fits && v.strides[d] % count == 0;
  return fits;
}

template <typename Bits>
void LaunchTranspose(const TransposeArgs& a, cudaStream_t stream) {
  constexpr int64_t kCount = kPackBytes / static_cast<int64_t>(sizeof(Bits));
  const bool chunks = RunsInChunks(a.x, a.rows, a.x_stride, kCount) && RunsInChunks(a.y, a.columns, a.y_stride, kCount);
  const int64_t side = chunks ? kCount * kTileChunks : kTile;
  const int64_t tasks = (a.rows + side - 1) / side * ((a.columns + side - 1) / side) * a.batch;
  CheckCuda(Launch(chunks ? TransposeChunksKernel<Bits> : TransposeKernel<Bits>,
                   static_cast<unsigned>(tasks < (1 << 30) ? tasks : 1 << 30),
                   chunks ? dim3(kWideThreads) : dim3(kTile, kTileRows), 0, stream, a),
            "transpose");
}

// y's innermost dimension is a run there, and x's dimension `run` is one in x.
void CopyTransposed(const View& x, const View& y, int run, cudaStream_t stream) {
  const int last = x.rank - 1;
  TransposeArgs a = {Without(Without(x, last), run),
                     Without(Without(y, last), run),
                     1,
                     x.dims[run],
                     x.dims[last],
                     x.strides[last],
                     y.strides[run]};
  a.batch = x.size() / (a.rows * a.columns);
  DispatchBits(static_cast<int64_t>(SizeOf(x.dtype)), [&]<typename Bits>(Bits) {
    if constexpr (sizeof(Bits) < kPackBytes) LaunchTranspose<Bits>(a, stream);
  });
}

void CopyBits(View x, View y, cudaStream_t stream) {
  View both[] = {x, y};
  MergeDims(both);
  x = both[0];
  y = both[1];
  const int last = x.rank - 1;
  constexpr int64_t kWorthATile = 8;
  int run = -1;  // the dimension in which x's neighbours lie
  for (int d = 0; d <= last; ++d) {
    if (x.strides[d] == 1) run = d;
  }
  const bool thin = run != last && (run < 0 || x.dims[run] < kWorthATile || x.dims[last] < kWorthATile);
  if (y.strides[last] != 1 || thin) {
    DispatchBits(static_cast<int64_t>(SizeOf(x.dtype)), [&]<typename Bits>(Bits) {
      CheckCuda(Launch(CopyKernel<Bits>, GridFor(x.size()), kBlockThreads, 0, stream, x, y, x.size()), "copy");
    });
  } else if (run == last) {
    CopyRows(x, y, stream);
  } else {
    CopyTransposed(x, y, run, stream);
  }
}

bool IsMapped(DType dtype) { return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16; }

struct SameMap {
  template <int kCount>
  __device__ void operator()(const float (&in)[1][kCount], float (&out)[1][kCount]) const {
    for (int j = 0; j < kCount; ++j) out[0][j] = in[0][j];
  }
};

using ConvertKernelFunction = void (*)(View, View, int64_t);

ConvertKernelFunction ConvertKernelFor(DType from) {
  switch (from) {
    case DType::kF64:
      return ConvertKernel<double>;
    case DType::kF32:
      return ConvertKernel<float>;
    case DType::kBF16:
      return ConvertKernel<bf16>;
    case DType::kF16:
      return ConvertKernel<f16>;
    case DType::kI32:
      return ConvertKernel<int32_t>;
    case DType::kI64:
      return ConvertKernel<int64_t>;
    case DType::kU8:
      break;
  }
  return ConvertKernel<uint8_t>;
}

void Copy(View x, View y, LaunchContext context) {
  const int64_t n = x.size();
  if (n == 0) return;
  if (x.dtype == y.dtype) return CopyBits(x, y, StreamOf(context));
  if (IsMapped(x.dtype) && IsMapped(y.dtype)) {
    return DispatchFloat(x.dtype, "copy", [&]<typename X>(X) {
      DispatchFloat(y.dtype, "copy",
                    [&]<typename Y>(Y) { LaunchMap<X, Y>(SameMap(), {x}, {y}, StreamOf(context), "convert"); });
    });
  }
  CheckCuda(
      Launch(ConvertKernelFor(x.dtype), GridFor(n), kBlockThreads, 0, StreamOf(context), Flattened(x), Flattened(y), n),
      "convert");
}

struct Narrowing {
  const float* x;
  void* y;
  int64_t n;
  bool packs;  // both begin at a multiple of 16 bytes
};
using Narrowings = SegmentTable<Narrowing, 96>;

constexpr int kNarrowings = 8;  // elements a thread

template <typename T>
__global__ void NarrowKernel(const __grid_constant__ Narrowings table) {
  uint32_t block;
  const Narrowing& s = table.Find(blockIdx.x, &block);
  const int64_t first = (int64_t{block} * kBlockThreads + threadIdx.x) * kNarrowings;
  const float* x = s.x + first;
  T* y = static_cast<T*>(s.y) + first;
  if (!s.packs || first + kNarrowings > s.n) {
    for (int i = 0; i < kNarrowings && first + i < s.n; ++i) y[i] = T(x[i]);
    return;
  }
  constexpr int kHalf = Pack<float>::kCount;
  const auto low = Load<Pack<float>>(x), high = Load<Pack<float>>(x + kHalf);
  Pack<T> pack;
  for (int i = 0; i < kHalf; ++i) {
    pack.v[i] = T(low.v[i]);
    pack.v[kHalf + i] = T(high.v[i]);
  }
  internal::Store(y, pack);
}

template <typename T>
void NarrowAll(const View* xs, const View* ys, int64_t count, LaunchContext context) {
  Narrowings table;
  const auto launch = [&] {
    if (table.blocks() == 0) return;
    CheckCuda(Launch(NarrowKernel<T>, table.blocks(), kBlockThreads, 0, StreamOf(context), table), "copy_all");
    table.Clear();
  };
  for (int64_t j = 0; j < count; ++j) {
    if (xs[j].dtype != DType::kF32 || ys[j].dtype != ys[0].dtype || !xs[j].contiguous() || !ys[j].contiguous()) {
      Copy(xs[j], ys[j], context);
      continue;
    }
    if (table.Full()) launch();
    const int64_t n = xs[j].size(), a_block = kBlockThreads * kNarrowings;
    const auto aligned = [](const View& v) { return reinterpret_cast<uintptr_t>(v.data) % kPackBytes == 0; };
    table.Add({xs[j].ptr<const float>(), ys[j].data, n, aligned(xs[j]) && aligned(ys[j])}, (n + a_block - 1) / a_block);
  }
  launch();
}

void CopyAll(const View* xs, const View* ys, int64_t count, LaunchContext context) {
  if (count == 0) return;
  if (ys[0].dtype == DType::kBF16) return NarrowAll<bf16>(xs, ys, count, context);
  if (ys[0].dtype == DType::kF16) return NarrowAll<f16>(xs, ys, count, context);
  for (int64_t j = 0; j < count; ++j) Copy(xs[j], ys[j], context);
}

void Fill(View y, double value, LaunchContext context) {
  const int64_t n = y.size();
  if (n == 0) return;
  if (value == 0 && !std::signbit(value) && y.contiguous()) {
    const size_t bytes = static_cast<size_t>(n) * SizeOf(y.dtype);
    CheckCuda(cudaMemsetAsync(y.data, 0, bytes, StreamOf(context)), "fill");
    return;
  }
  CheckCuda(Launch(FillKernel, GridFor(n), kBlockThreads, 0, StreamOf(context), Flattened(y), value, n), "fill");
}

// From the device: waits, since the host reads next. To it: the host's memory may be reused right after, which for
// pageable memory CUDA sees to (it takes a copy, small ones without waiting); pinned memory is read when the copy runs.
// In captured work it would read the host's address at every launch, long after: that is a mistake, not a copy.
void Transfer(View x, bool x_on_device, View y, bool y_on_device, LaunchContext context) {
  const size_t bytes = static_cast<size_t>(x.size()) * SizeOf(x.dtype);
  if (bytes == 0) return;
  cudaStreamCaptureStatus capturing = cudaStreamCaptureStatusNone;
  CheckCuda(cudaStreamIsCapturing(StreamOf(context), &capturing), "transfer");
  if (capturing != cudaStreamCaptureStatusNone) {
    std::fprintf(stderr, "CUDA: a copy between host and device cannot be captured\n");
    std::abort();
  }
  cudaPointerAttributes from = {};
  CheckCuda(cudaPointerGetAttributes(&from, x.data), "transfer");
  CheckCuda(cudaMemcpyAsync(y.data, x.data, bytes, cudaMemcpyDefault, StreamOf(context)), "transfer");
  const bool pinned_source = !x_on_device && from.type == cudaMemoryTypeHost;
  if (!y_on_device || pinned_source) CheckCuda(cudaStreamSynchronize(StreamOf(context)), "transfer");
}

}  // namespace

extern const CopyKernels kCudaCopy = {.copy = Copy, .copy_all = CopyAll, .fill = Fill, .transfer = Transfer};

}  // namespace lorikeet
