#include <bit>
#include <cstdint>
#include <limits>

#include "tensor/dtype.h"
#include "tensor/kernels/cuda_chunk.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_map.h"
#include "tensor/kernels/cuda_row.h"
#include "tensor/kernels/cuda_scratch.h"
#include "tensor/kernels/cuda_vector.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/reduce.h"
#include "tensor/kernels/sum_squares_cuda.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet {
namespace {

using internal::CheckCuda;
using internal::CudaScratch;
using internal::Data;
using internal::DispatchFloat;
using internal::DispatchRow;
using internal::ForEachChunk;
using internal::GroupReduce;
using internal::GroupSum;
using internal::InChunks;
using internal::IsFinite;
using internal::kBlockThreads;
using internal::kCudaScratchPartials;
using internal::kMaxRowThreads;
using internal::kPackBytes;
using internal::LoadChunk;
using internal::LoadRaw;
using internal::MergeDims;
using internal::Offset;
using internal::PlanRows;
using internal::RawChunk;
using internal::ReadFloat;
using internal::RowGrid;
using internal::RowLoop;
using internal::RowPlan;
using internal::RowReader;
using internal::Rows;
using internal::RowsOf;
using internal::StreamOf;
using internal::Widen;
using internal::WriteFloat;

// What an element contributes, and how contributions are taken together: in f64. Conversions to f64 are slow, so a few
// elements are taken together in f32 first, where Sure() says of the result that nothing was lost but its last bits.
struct Sum {
  static constexpr double kIdentity = 0;
  static constexpr float kFew = 0;
  __device__ static double Term(float x) { return static_cast<double>(x); }
  __device__ static double Take(double a, double b) { return a + b; }
  __device__ static float Few(float few, float x) { return few + x; }
  __device__ static bool Sure(float few) { return IsFinite(few); }
};
struct Max {
  static constexpr double kIdentity = -std::numeric_limits<double>::infinity();
  static constexpr float kFew = -std::numeric_limits<float>::infinity();
  __device__ static double Term(float x) { return static_cast<double>(x); }
  __device__ static double Take(double a, double b) { return a != a || a > b ? a : b; }  // keeps a NaN
  __device__ static float Few(float few, float x) { return few != few || few > x ? few : x; }
  __device__ static bool Sure(float) { return true; }
};
struct SquareSum : Sum {
  __device__ static double Term(float x) { return static_cast<double>(x) * static_cast<double>(x); }
  __device__ static bool Sure(float) { return false; }  // the result is f64
};
struct Finite {
  static constexpr double kIdentity = 1;
  static constexpr float kFew = 1;
  __device__ static double Term(float x) { return IsFinite(x) ? 1 : 0; }
  __device__ static double Take(double a, double b) { return a < b ? a : b; }
  __device__ static float Few(float few, float x) { return IsFinite(x) ? few : 0.0f; }
  __device__ static bool Sure(float) { return true; }
};

template <typename Op, int kN>
__device__ inline double TakeAll(double value, const float (&v)[kN]) {
  float few = Op::kFew;
  for (float x : v) few = Op::Few(few, x);
  if (Op::Sure(few)) return Op::Take(value, static_cast<double>(few));
  for (float x : v) value = Op::Take(value, Op::Term(x));
  return value;
}

constexpr int kAhead = 4;  // chunks that a thread asks for before it looks at the first

__device__ inline void WriteResult(double x, const View& y, int64_t i) {
  const int64_t at = Offset(y, i);
  if (y.dtype == DType::kF64) {
    Data<double>(y)[at] = x;
  } else if (y.dtype == DType::kI32) {
    Data<int32_t>(y)[at] = static_cast<int32_t>(x);
  } else {
    WriteFloat(static_cast<float>(x), y.data, y.dtype, at);
  }
}

// x[k, r] is at kept's element k plus reduced's element r. Where an output has several pieces they go to partials,
// [pieces, outputs], and are taken together, in order, by a second kernel.
struct ReduceArgs {
  View kept, reduced, y;
  double scale;
  int64_t outputs, elements, pieces, piece;  // elements of an output, of one of its pieces
  double* partials;                          // null: one piece
};

__device__ inline void Deliver(const ReduceArgs& a, int64_t piece, int64_t output, double value) {
  if (a.partials == nullptr) {
    WriteResult(value * a.scale, a.y, output);
  } else {
    a.partials[piece * a.outputs + output] = value;
  }
}

// A group of threads has one piece of one output: neighbours in memory, where the reduced elements are.
template <typename Op, typename T, int kCount>
__global__ void __launch_bounds__(kBlockThreads) ReduceRowsKernel(ReduceArgs a) {
  const int64_t tasks = a.outputs * a.pieces;
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.y; first < tasks;
       first += static_cast<int64_t>(gridDim.x) * blockDim.y) {
    const int64_t task = first + threadIdx.y, piece = task / a.outputs, output = task % a.outputs;
    double value = Op::kIdentity;
    if (task < tasks) {
      const T* x = Data<T>(a.kept) + Offset(a.kept, output);
      const int64_t begin = piece * a.piece, end = min(a.elements, begin + a.piece);
      const auto chunk = [&](int64_t i) { return LoadRaw<kCount>(x + (kCount == 1 ? Offset(a.reduced, i) : i)); };
      const int64_t step = static_cast<int64_t>(blockDim.x) * kCount;
      int64_t i = begin + threadIdx.x * kCount;
      for (; i + (kAhead - 1) * step < end; i += kAhead * step) {
        RawChunk<T, kCount> ahead[kAhead];
        float v[kAhead * kCount];
        CUDA_UNROLL
        for (int k = 0; k < kAhead; ++k) ahead[k] = chunk(i + k * step);
        CUDA_UNROLL
        for (int k = 0; k < kAhead; ++k) {
          float few[kCount];
          Widen(ahead[k], few);
          for (int j = 0; j < kCount; ++j) v[k * kCount + j] = few[j];
        }
        value = TakeAll<Op>(value, v);
      }
      for (; i < end; i += step) {
        float v[kCount];
        Widen(chunk(i), v);
        value = TakeAll<Op>(value, v);
      }
    }
    value = GroupReduce(value, Op::kIdentity, Op::Take);
    if (task < tasks && threadIdx.x == 0) Deliver(a, piece, output, value);
  }
}

constexpr int kLanes = 32, kGroups = 8;

// Neighbouring outputs lie side by side in memory: a lane has kCount of them, and the groups of a block share a piece.
template <typename Op, typename T, int kCount>
__global__ void ReduceColumnsKernel(ReduceArgs a) {
  CUDA_SHARED(double[kGroups][kCount][kLanes], parts);
  const int64_t width = a.kept.dims[a.kept.rank - 1], lanes_per_row = width / kCount;
  const int64_t tiles_per_row = (lanes_per_row + kLanes - 1) / kLanes, tiles = a.outputs / width * tiles_per_row;
  for (int64_t task = blockIdx.x; task < tiles * a.pieces; task += gridDim.x) {
    const int64_t piece = task / tiles, tile = task % tiles, lane = tile % tiles_per_row * kLanes + threadIdx.x;
    const int64_t output = tile / tiles_per_row * width + lane * kCount;
    double value[kCount];
    for (double& v : value) v = Op::kIdentity;
    if (lane < lanes_per_row) {
      const T* x = Data<T>(a.kept) + Offset(a.kept, output);
      const int64_t begin = piece * a.piece, end = min(a.elements, begin + a.piece);
      int64_t i = begin + threadIdx.y;
      for (; i + (kAhead - 1) * kGroups < end; i += kAhead * kGroups) {
        RawChunk<T, kCount> ahead[kAhead];
        float v[kCount][kAhead];
        CUDA_UNROLL
        for (int k = 0; k < kAhead; ++k) ahead[k] = LoadRaw<kCount>(x + Offset(a.reduced, i + k * kGroups));
        CUDA_UNROLL
        for (int k = 0; k < kAhead; ++k) {
          float row[kCount];
          Widen(ahead[k], row);
          for (int j = 0; j < kCount; ++j) v[j][k] = row[j];
        }
        for (int j = 0; j < kCount; ++j) value[j] = TakeAll<Op>(value[j], v[j]);
      }
      for (; i < end; i += kGroups) {
        float v[kCount];
        Widen(LoadChunk<kCount>(x + Offset(a.reduced, i)), v);
        for (int j = 0; j < kCount; ++j) value[j] = Op::Take(value[j], Op::Term(v[j]));
      }
    }
    for (int j = 0; j < kCount; ++j) parts[threadIdx.y][j][threadIdx.x] = value[j];
    __syncthreads();
    if (threadIdx.y == 0 && lane < lanes_per_row) {
      for (int j = 0; j < kCount; ++j) {
        for (int g = 1; g < kGroups; ++g) value[j] = Op::Take(value[j], parts[g][j][threadIdx.x]);
        Deliver(a, piece, output + j, value[j]);
      }
    }
    __syncthreads();  // parts may be written again
  }
}

// blockDim.x threads for an output.
template <typename Op>
__global__ void ReducePiecesKernel(ReduceArgs a) {
  const int64_t output = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  double value = Op::kIdentity;
  if (output < a.outputs) {
    for (int64_t p = threadIdx.x; p < a.pieces; p += blockDim.x) {
      value = Op::Take(value, a.partials[p * a.outputs + output]);
    }
  }
  value = GroupReduce(value, Op::kIdentity, Op::Take);
  if (output < a.outputs && threadIdx.x == 0) WriteResult(value * a.scale, a.y, output);
}

// The dims [begin, end) of x.
View Take(const View& x, int begin, int end) {
  View v = x;
  v.rank = end - begin;
  for (int d = begin; d < end; ++d) {
    v.dims[d - begin] = x.dims[d];
    v.strides[d - begin] = x.strides[d];
  }
  return v;
}

// Whether kept's rows of outputs can be taken `count` at once.
bool ColumnsInChunks(const ReduceArgs& a, int64_t count) {
  if (!InChunks(a.kept, count) || a.kept.dims[a.kept.rank - 1] % count != 0) return false;
  for (int d = 0; d < a.reduced.rank; ++d) {
    if (a.reduced.strides[d] % count != 0) return false;
  }
  return true;
}

// Whether the reduced elements can: those of an output are one run, at a multiple of 16 bytes.
bool ElementsInChunks(const ReduceArgs& a, int64_t count) {
  if (a.reduced.rank != 1 || !InChunks(a.reduced, count) || a.reduced.strides[0] != 1) return false;
  if (a.elements % count != 0) return false;
  for (int d = 0; d < a.kept.rank; ++d) {
    if (a.kept.dims[d] > 1 && a.kept.strides[d] % count != 0) return false;  // a single output has a stride, too
  }
  return true;
}

// Enough pieces to occupy a device, none of less than min_piece elements, each but the last of a multiple of `unit`; a
// matter of the shape alone.
void SetPieces(ReduceArgs& a, int64_t groups, int64_t min_piece, int64_t unit) {
  constexpr int64_t kGroupsWanted = 2048;
  const int64_t most = (a.elements + min_piece - 1) / min_piece, wanted = kGroupsWanted / groups;
  const int64_t pieces = wanted < 1 ? 1 : wanted > most ? most : wanted;
  a.piece = pieces < 2 ? a.elements : ((a.elements + pieces - 1) / pieces + unit - 1) / unit * unit;
  a.pieces = pieces < 2 ? 1 : (a.elements + a.piece - 1) / a.piece;
}

unsigned BlocksFor(int64_t n) { return static_cast<unsigned>(n < (1 << 30) ? n : 1 << 30); }

template <typename Op, typename T>
void LaunchRows(const ReduceArgs& a, bool packs, cudaStream_t stream) {
  constexpr int kCount = static_cast<int>(kPackBytes / sizeof(T));
  const int64_t steps = (a.piece < a.elements ? a.piece : a.elements) / (packs ? kCount : 1);
  unsigned threads = 8;
  while (threads < kBlockThreads && threads < steps) threads *= 2;
  const unsigned groups = threads > 32 ? 1 : 128 / threads;
  CheckCuda(Launch(packs ? ReduceRowsKernel<Op, T, kCount> : ReduceRowsKernel<Op, T, 1>,
                   BlocksFor((a.outputs * a.pieces + groups - 1) / groups), dim3(threads, groups), 0, stream, a),
            "reduce");
}

template <typename Op, typename T>
void LaunchColumns(const ReduceArgs& a, bool packs, cudaStream_t stream) {
  constexpr int kCount = static_cast<int>(kPackBytes / sizeof(T));
  const int64_t lanes = a.kept.dims[a.kept.rank - 1] / (packs ? kCount : 1);
  const int64_t tiles = a.outputs / a.kept.dims[a.kept.rank - 1] * ((lanes + kLanes - 1) / kLanes);
  CheckCuda(Launch(packs ? ReduceColumnsKernel<Op, T, kCount> : ReduceColumnsKernel<Op, T, 1>,
                   BlocksFor(tiles * a.pieces), dim3(kLanes, kGroups), 0, stream, a),
            "reduce columns");
}

template <typename Op>
void ReduceTo(const View& x, double scale, const View& y, cudaStream_t stream) {
  View outer[] = {Take(x, 0, y.rank), y}, inner[] = {Take(x, y.rank, x.rank)};
  MergeDims(outer);
  MergeDims(inner);
  ReduceArgs a = {outer[0], inner[0], outer[1], scale, y.size(), inner[0].size(), 1, 0, nullptr};
  const int64_t count = kPackBytes / static_cast<int64_t>(SizeOf(x.dtype));
  const bool columns =
      a.outputs > 1 && a.kept.strides[a.kept.rank - 1] == 1 && a.reduced.strides[a.reduced.rank - 1] != 1;
  const bool packs = columns ? ColumnsInChunks(a, count) : ElementsInChunks(a, count);
  if (columns) {
    SetPieces(a, (a.outputs + kLanes * count - 1) / (kLanes * count), 64, 8);
  } else {
    SetPieces(a, a.outputs, 8192, 8192);  // rounds of kAhead chunks for every thread
  }
  if (a.pieces > 1) {
    const size_t bytes = static_cast<size_t>(a.pieces * a.outputs) * sizeof(double);
    a.partials = static_cast<double*>(CudaScratch(kCudaScratchPartials, bytes));
  }
  DispatchFloat(x.dtype, "reduce", [&]<typename T>(T) {
    columns ? LaunchColumns<Op, T>(a, packs, stream) : LaunchRows<Op, T>(a, packs, stream);
  });
  if (a.pieces > 1) {
    const unsigned threads = a.pieces < 32 ? 1 : kBlockThreads, outputs = kBlockThreads / threads;
    CheckCuda(Launch(ReducePiecesKernel<Op>, BlocksFor((a.outputs + outputs - 1) / outputs), dim3(threads, outputs), 0,
                     stream, a),
              "reduce pieces");
  }
}

void Reduce(ReduceOp op, View x, double scale, View y, LaunchContext context) {
  if (y.size() == 0) return;
  if (op == ReduceOp::kSum) {
    ReduceTo<Sum>(x, scale, y, StreamOf(context));
  } else {
    ReduceTo<Max>(x, 1, y, StreamOf(context));
  }
}

// The one element of y.
View Scalar(View y) {
  y.rank = 0;
  return y;
}

void SumSquares(View x, View y, LaunchContext context) { ReduceTo<SquareSum>(x, 1, Scalar(y), StreamOf(context)); }

void AllFinite(View x, View y, LaunchContext context) { ReduceTo<Finite>(x, 1, Scalar(y), StreamOf(context)); }

template <typename T, int kCount, int kKept>
__global__ void __launch_bounds__(kMaxRowThreads) RowDotKernel(Rows<T> a, Rows<T> b, View y, RowGrid grid) {
  for (RowLoop loop(grid); loop.More(); loop.Next()) {
    const RowReader<T, kCount, kKept> a_row(a, loop), b_row(b, loop);
    double sum = 0;
    ForEachChunk<kKept>(loop, [&](int k, auto c) {
      float u[kCount], v[kCount];
      Widen(a_row.Get(k, c), u);
      Widen(b_row.Get(k, c), v);
      for (int j = 0; j < kCount; ++j) sum += static_cast<double>(u[j]) * static_cast<double>(v[j]);
    });
    sum = GroupSum(sum);
    if (loop.leads()) WriteResult(sum, y, loop.row());
  }
}

// Of two dtypes.
__global__ void MixedRowDotKernel(View a, View b, View y) {
  for (int64_t i = blockIdx.x; i < a.dims[0]; i += gridDim.x) {
    double sum = 0;
    for (int64_t j = threadIdx.x; j < a.dims[1]; j += blockDim.x) {
      sum += static_cast<double>(ReadFloat(a.data, a.dtype, i * a.strides[0] + j * a.strides[1])) *
             static_cast<double>(ReadFloat(b.data, b.dtype, i * b.strides[0] + j * b.strides[1]));
    }
    sum = GroupSum(sum);
    if (threadIdx.x == 0) WriteResult(sum, y, i);
  }
}

void RowDot(View a, View b, View y, LaunchContext context) {
  if (y.size() == 0) return;
  if (a.dtype != b.dtype) {
    for (const View& v : {a, b}) DispatchFloat(v.dtype, "row_dot", [](auto) {});
    CheckCuda(Launch(MixedRowDotKernel, BlocksFor(a.dims[0]), kBlockThreads, 0, StreamOf(context), a, b, y), "row_dot");
    return;
  }
  const RowPlan plan = PlanRows({a, b});
  DispatchFloat(a.dtype, "row_dot", [&]<typename T>(T) {
    DispatchRow<T>(plan, [&](auto count, auto kept) {
      CheckCuda(Launch(RowDotKernel<T, count(), kept()>, plan.blocks, plan.block, 0, StreamOf(context), RowsOf<T>(a),
                       RowsOf<T>(b), y, plan.grid),
                "row_dot");
    });
  });
}

// Larger for larger numbers, largest for a NaN, and among equals larger for the first: its maximum tells the index.
__device__ inline uint64_t ArgMaxKey(float x, int64_t i) {
  const uint32_t bits = std::bit_cast<uint32_t>(x + 0.0f);  // -0 becomes 0
  const uint32_t order = x != x ? 0xffffffffu : (bits >> 31 ? ~bits : bits | 0x80000000u);
  return static_cast<uint64_t>(order) << 32 | (0xffffffffu - static_cast<uint32_t>(i));
}

template <typename T, int kCount, int kKept>
__global__ void __launch_bounds__(kMaxRowThreads) ArgMaxKernel(Rows<T> x, View y, RowGrid grid) {
  for (RowLoop loop(grid); loop.More(); loop.Next()) {
    const RowReader<T, kCount, kKept> row(x, loop);
    uint64_t best = 0;
    ForEachChunk<kKept>(loop, [&](int k, auto c) {
      float v[kCount];
      Widen(row.Get(k, c), v);
      for (int j = 0; j < kCount; ++j) best = max(best, ArgMaxKey(v[j], static_cast<int64_t>(c) * kCount + j));
    });
    best = GroupReduce(best, uint64_t{0}, [](uint64_t a, uint64_t b) { return a > b ? a : b; });
    if (loop.leads())
      Data<int32_t>(y)[Offset(y, loop.row())] = static_cast<int32_t>(0xffffffffu - (best & 0xffffffffu));
  }
}

void ArgMax(View x, View y, LaunchContext context) {
  if (y.size() == 0) return;
  const RowPlan plan = PlanRows({x});
  DispatchFloat(x.dtype, "arg_max", [&]<typename T>(T) {
    DispatchRow<T>(plan, [&](auto count, auto kept) {
      CheckCuda(Launch(ArgMaxKernel<T, count(), kept()>, plan.blocks, plan.block, 0, StreamOf(context), RowsOf<T>(x), y,
                       plan.grid),
                "arg_max");
    });
  });
}

}  // namespace

extern const ReduceKernels kCudaReduce = {.reduce = Reduce,
                                          .row_dot = RowDot,
                                          .sum_squares = SumSquares,
                                          .sum_squares_each = internal::CudaSumSquaresEach,
                                          .all_finite = AllFinite,
                                          .arg_max = ArgMax};

}  // namespace lorikeet
