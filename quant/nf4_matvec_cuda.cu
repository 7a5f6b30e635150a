// y = x*W^T for a few rows of x: what generating a token is made of. Reading the codes bounds it only if next to
// nothing is done for each: two weights, a byte of codes, are one look-up of two floats in shared memory, and scales
// are applied to sums of 32. Blocks stay on their multiprocessors, so that the table is made once for each.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "quant/nf4_cuda.h"
#include "quant/nf4_kernels.h"
#include "tensor/dtype.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_reduce.h"
#include "tensor/kernels/cuda_vector.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/matmul.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {
namespace {

constexpr int kRows = 4;         // of W at a time: x is read and unpacked once for them
constexpr int kWordWeights = 8;  // a word of codes
constexpr int kWordShift = 3;
constexpr int kCopies = 16;       // of the table: half a warp's look-ups, 8 bytes each, meet no conflict
constexpr int kMostWarps = 32;    // of a block
constexpr int64_t kBlocks = 132;  // the multiprocessors of the devices this is for
constexpr int64_t kWarps = kBlocks * kMostWarps;  // that work side by side

// More rows of x than one take the registers of half the warps.
template <int kM>
constexpr int kThreads = kM == 1 ? 32 * kMostWarps : 16 * kMostWarps;

struct alignas(16) Shared {
  float2 pairs[256][kCopies];
  float scale_map[256];
  float sums[kMostWarps][kDotRows * kRows];
};

// How the work is shared out, in rows of W and words along them. A group is kRows rows; each of `parts` warps has every
// parts-th step along them. All of W is less than 2^32 words.
struct Shares {
  int32_t rows, words, groups, parts;
  int32_t x_row;  // elements from row to row of x in shared memory: whole steps
};

// A lane's weights of a step: kWords words of each row, and what the scale of the row's words is made of.
template <int kWords>
struct Tile {
  struct alignas(4 * kWords) Words {
    uint32_t v[kWords];
  };
  Words codes[kRows];
  float scale[kRows];  // the scale, or its own scale
  int scale_code[kRows];
};

__device__ float LoadAny(const View& v, int64_t at) {
  return v.dtype == DType::kF32    ? Data<float>(v)[at]
         : v.dtype == DType::kBF16 ? static_cast<float>(Data<bf16>(v)[at])
                                   : static_cast<float>(Data<f16>(v)[at]);
}

__device__ void StoreAny(const View& v, int64_t at, float x) {
  if (v.dtype == DType::kF32) {
    Data<float>(v)[at] = x;
  } else if (v.dtype == DType::kBF16) {
    Data<bf16>(v)[at] = bf16(x);
  } else {
    Data<f16>(v)[at] = f16(x);
  }
}

// A pack of two copies a thread at a time.
__device__ __forceinline__ void FillShared(const Nf4Device& w, Shared& s) {
  constexpr unsigned kPacks = kCopies / 2;
  const float code = w.view.code_map[threadIdx.x % 16];
  for (unsigned i = threadIdx.x; i < 256 * kPacks; i += blockDim.x) {
    const float high = __shfl_sync(kWholeWarp, code, static_cast<int>(i / kPacks / 16));  // the first weight
    const float low = __shfl_sync(kWholeWarp, code, static_cast<int>(i / kPacks % 16));
    Store(&s.pairs[i / kPacks][i % kPacks * 2], Pack<float>{{high, low, high, low}});
  }
  if (w.view.scale_map != nullptr && threadIdx.x < 256) s.scale_map[threadIdx.x] = w.view.scale_map[threadIdx.x];
}

// From word c of a group's rows on; past W's end nothing is read.
template <int kWords>
__device__ __forceinline__ void LoadTile(Tile<kWords>& tile, const Nf4Device& w, const Shares& s, int group, int c) {
  if (group >= s.groups || c >= s.words) return;
  const uint32_t* codes = reinterpret_cast<const uint32_t*>(w.view.codes);
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const uint32_t row = static_cast<uint32_t>(min(group * kRows + r, s.rows - 1));
    const uint32_t at = row * static_cast<uint32_t>(s.words) + static_cast<uint32_t>(c);
    const uint32_t block = at >> (w.block_shift - kWordShift);
    tile.codes[r] = Load<typename Tile<kWords>::Words>(codes + at);
    if (w.view.scales_f32 != nullptr) {
      tile.scale[r] = w.view.scales_f32[block];
    } else {
      tile.scale[r] = w.view.scale_scales[block >> w.scale_block_shift];
      tile.scale_code[r] = w.view.scales_u8[block];
    }
  }
}

template <typename T>
__device__ __forceinline__ void LoadFloats(const T* from, float (&to)[kWordWeights]) {
  if constexpr (std::is_same_v<T, bf16>) {  // an instruction each: both halves of a word are the upper half of a float
    const auto pairs = Load<Pack<uint32_t>>(from);
#pragma unroll
    for (int j = 0; j < kWordWeights; ++j) {
      to[j] = std::bit_cast<float>(j % 2 == 0 ? pairs.v[j / 2] << 16 : pairs.v[j / 2] & 0xffff0000u);
    }
    return;
  }
  constexpr int kCount = Pack<T>::kCount;
#pragma unroll
  for (int part = 0; part < kWordWeights; part += kCount) {
    const auto pack = Load<Pack<T>>(from + part);
#pragma unroll
    for (int j = 0; j < kCount; ++j) to[part + j] = static_cast<float>(pack.v[j]);
  }
}

// Two weights for byte `i` of a word. The address is made of bits in place, one shift and one logical operation.
__device__ __forceinline__ float2 Pair(const Shared& s, uint32_t word, int i, uint32_t copy) {
  constexpr int kShift = 7;
  static_assert(sizeof(s.pairs[0]) == 1 << kShift);
  const uint32_t entry = (i == 0 ? word << kShift : word >> (8 * i - kShift)) & 0xff << kShift;
  return *reinterpret_cast<const float2*>(reinterpret_cast<const char*>(s.pairs) + (entry | copy));
}

// x to shared memory. There the lanes' first words of a step lie side by side, then their second ones: as they are
// read, without conflicts. Rows that x has not are its last one.
template <typename T, int kM, int kWords>
__device__ __forceinline__ void LoadX(const View& x, const Shares& s, T* near_x) {
  for (int m = 0; m < kM; ++m) {
    const T* from = Data<T>(x) + min(int64_t{m}, x.dims[0] - 1) * x.strides[0];
    T* to = near_x + m * s.x_row;
    for (int i = static_cast<int>(threadIdx.x); i < s.words; i += kThreads<kM>) {
      const int at = i - i % (32 * kWords) + i % kWords * 32 + i / kWords % 32;
      for (int j = 0; j < kWordWeights; j += Pack<T>::kCount) {
        Store(to + at * kWordWeights + j, Load<Pack<T>>(from + i * kWordWeights + j));
      }
    }
  }
}

// sum[m][r] += a tile's row r . row m of x, whose first word for the tile is at `x`; the next row is x_row further.
template <typename T, int kM, int kWords>
__device__ __forceinline__ void AddTile(const Tile<kWords>& tile, const Nf4Device& w, const Shared& s, const T* x,
                                        int x_row, float (&sum)[kM][kRows]) {
  const auto copy = static_cast<uint32_t>(threadIdx.x % kCopies * sizeof(float2));
  float part[kM][kRows] = {};
#pragma unroll
  for (int word = 0; word < kWords; ++word) {
    float xs[kM][kWordWeights];
#pragma unroll
    for (int m = 0; m < kM; ++m) LoadFloats(x + m * x_row + word * 32 * kWordWeights, xs[m]);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
      for (int j = 0; j < kWordWeights; j += 2) {
        const float2 pair = Pair(s, tile.codes[r].v[word], j / 2, copy);
#pragma unroll
        for (int m = 0; m < kM; ++m) {
          part[m][r] = fmaf(pair.x, xs[m][j], part[m][r]);
          part[m][r] = fmaf(pair.y, xs[m][j + 1], part[m][r]);
        }
      }
    }
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    float scale = tile.scale[r];
    if (w.view.scales_f32 == nullptr) scale = s.scale_map[tile.scale_code[r]] * scale + w.view.scale_mean;
#pragma unroll
    for (int m = 0; m < kM; ++m) sum[m][r] = fmaf(scale, part[m][r], sum[m][r]);
  }
}

// sum += u[m, :] . v[:, n], a lane's share.
template <typename T, int kM>
__device__ __forceinline__ void AddLowRank(const MatMulEpilogue& e, const Shares& s, int group,
                                           float (&sum)[kM][kRows]) {
#pragma unroll 1
  for (int64_t k = threadIdx.x % 32; k < e.u.dims[1]; k += 32) {
    T u[kM], v[kRows];
#pragma unroll
    for (int m = 0; m < kM; ++m) {
      u[m] = Data<T>(e.u)[min(int64_t{m}, e.u.dims[0] - 1) * e.u.strides[0] + k * e.u.strides[1]];
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      v[r] = Data<T>(e.v)[k * e.v.strides[0] + min(group * kRows + r, s.rows - 1) * e.v.strides[1]];
    }
#pragma unroll
    for (int i = 0; i < kM * kRows; ++i) {
      float& to = sum[i / kRows][i % kRows];
      to = fmaf(static_cast<float>(u[i / kRows]), static_cast<float>(v[i % kRows]), to);
    }
  }
}

// The warp's sum of x[l / 8], to lane l: lanes hand over the half they do not keep, which is fewer exchanges than a sum
// of each for every lane.
__device__ __forceinline__ float SumOfFour(const float (&x)[4]) {
  const bool second = threadIdx.x % 32 >= 16, odd = threadIdx.x % 16 >= 8;
  const float a = (second ? x[2] : x[0]) + __shfl_xor_sync(kWholeWarp, second ? x[0] : x[2], 16);
  const float b = (second ? x[3] : x[1]) + __shfl_xor_sync(kWholeWarp, second ? x[1] : x[3], 16);
  float sum = (odd ? b : a) + __shfl_xor_sync(kWholeWarp, odd ? a : b, 8);
  for (int distance = 4; distance > 0; distance /= 2) sum += __shfl_xor_sync(kWholeWarp, sum, distance);
  return sum;
}

// The parts' sums, in order, become elements of y. Groups are gridDim.x apart from slot to slot.
template <int kM>
__device__ void Finish(const Shared& s, const Shares& shares, int first_group, const View& y, const MatMulEpilogue& e) {
  const int slots = kThreads<kM> / 32 / shares.parts;
  for (int i = static_cast<int>(threadIdx.x); i < slots * kM * kRows; i += kThreads<kM>) {
    const int slot = i / (kM * kRows), m = i / kRows % kM;
    const int n = (first_group + slot * static_cast<int>(gridDim.x)) * kRows + i % kRows;
    if (n >= shares.rows || m >= y.dims[0]) continue;
    float total = 0;
    for (int p = 0; p < shares.parts; ++p) total += s.sums[slot * shares.parts + p][i % (kM * kRows)];
    const float gain = e.gain.data == nullptr ? 1.0f : Data<float>(e.gain)[n];
    const int64_t at = m * y.strides[0] + n * y.strides[1];
    const float before = e.beta == 0 ? 0.0f : e.beta * LoadAny(y, at);
    StoreAny(y, at, fmaf(e.alpha * gain, total, before));
  }
}

// Warps of a block: `parts` of them to a group, slot after slot. The first tile is under way while the tables are made.
// Sums run over lanes, columns and parts in an order that depends on the shapes alone.
template <typename T, int kM, int kWords>
__global__ void __launch_bounds__(kThreads<kM>)
    MatVecKernel(Nf4Device w, Shares shares, View x, View y, const __grid_constant__ MatMulEpilogue e) {
  CUDA_SHARED(Shared, s);
  CUDA_DYNAMIC_SHARED(T, near_x);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int part = warp % shares.parts, slot = warp / shares.parts, slots = kThreads<kM> / 32 / shares.parts;
  const int first = (part * 32 + lane) * kWords, step = shares.parts * 32 * kWords;
  const int grid = static_cast<int>(gridDim.x);
  Tile<kWords> tile = {};
  LoadTile(tile, w, shares, static_cast<int>(blockIdx.x) + slot * grid, first);
  FillShared(w, s);
  LoadX<T, kM, kWords>(x, shares, near_x);
  __syncthreads();
  for (int group0 = static_cast<int>(blockIdx.x); group0 < shares.groups; group0 += grid * slots) {
    const int group = group0 + slot * grid, words = group < shares.groups ? shares.words : 0;
    float sum[kM][kRows] = {};
    if (part == 0 && words > 0 && e.u.data != nullptr) AddLowRank<T, kM>(e, shares, group, sum);
    for (int c = first; c < words; c += step) {
      const T* at = near_x + (c - lane * (kWords - 1)) * kWordWeights;
      AddTile<T, kM>(tile, w, s, at, shares.x_row, sum);
      LoadTile(tile, w, shares, group, c + step);
    }
    LoadTile(tile, w, shares, group + grid * slots, first);
    for (int m = 0; m < kM; ++m) {
      const float total = SumOfFour(sum[m]);
      if (lane % 8 == 0) s.sums[warp][m * kRows + lane / 8] = total;
    }
    __syncthreads();
    Finish<kM>(s, shares, group0, y, e);
    __syncthreads();
  }
}

// As many parts as have a step each and find free warps, whatever the number of rows of x.
Shares SharesOf(int64_t rows, int64_t words, int64_t step) {
  const int64_t groups = (rows + kRows - 1) / kRows, steps = (words + step - 1) / step;
  int32_t parts = 1;
  while (2 * parts <= std::min<int64_t>(steps, kMostWarps / 2) && 2 * parts * groups <= kWarps) parts *= 2;
  return {.rows = static_cast<int32_t>(rows),
          .words = static_cast<int32_t>(words),
          .groups = static_cast<int32_t>(groups),
          .parts = parts,
          .x_row = static_cast<int32_t>(steps * step * kWordWeights)};
}

constexpr int64_t kLongestStep = int64_t{32} * 4 * kWordWeights;  // columns
static_assert(kNf4MatVecRowBytes % (kLongestStep * sizeof(float)) == 0);

template <typename T, int kM, int kWords>
void Run(const Nf4View& w, const View& x, const View& y, const MatMulEpilogue& e, LaunchContext context) {
  const Shares shares = SharesOf(y.dims[1], x.dims[1] / kWordWeights, 32 * kWords);
  const auto kernel = MatVecKernel<T, kM, kWords>;
  CheckCuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kNf4MatVecRowBytes),
            "nf4 matvec");
  CheckCuda(
      Launch(kernel, static_cast<unsigned>(std::min<int64_t>(shares.groups, kBlocks)), kThreads<kM>,
             kM * static_cast<size_t>(shares.x_row) * sizeof(T), StreamOf(context), Nf4Device(w), shares, x, y, e),
      "nf4 matvec");
}

// Whole packs of codes in every row, each within a block, or single words.
bool HasPacks(const Nf4View& w, const View& x) {
  return x.dims[1] % 32 == 0 && reinterpret_cast<uintptr_t>(w.codes) % kPackBytes == 0;
}

template <typename T, int kM>
void RunM(const Nf4View& w, const View& x, const View& y, const MatMulEpilogue& e, LaunchContext context) {
  HasPacks(w, x) ? Run<T, kM, 4>(w, x, y, e, context) : Run<T, kM, 1>(w, x, y, e, context);
}

View RowsOf(View v, int64_t first, int64_t count) {
  if (v.data == nullptr) return v;
  v.data = v.ptr<char>() + first * v.strides[0] * static_cast<int64_t>(SizeOf(v.dtype));
  v.dims[0] = count;
  return v;
}

// As many rows at a time as fit.
template <typename T>
void RunRows(const Nf4View& w, const View& x, const View& y, MatMulEpilogue e, LaunchContext context) {
  const int64_t steps = (x.dims[1] + kLongestStep - 1) / kLongestStep;
  const int64_t fit = kNf4MatVecRowBytes / std::max<int64_t>(steps * kLongestStep * sizeof(T), 1);
  const int64_t at_once = fit >= 4 ? 4 : fit >= 2 ? 2 : 1;
  const View u = e.u;
  for (int64_t m = 0; m < x.dims[0]; m += at_once) {
    const int64_t count = std::min(at_once, x.dims[0] - m);
    const View xs = RowsOf(x, m, count), ys = RowsOf(y, m, count);
    e.u = RowsOf(u, m, count);
    count == 1   ? RunM<T, 1>(w, xs, ys, e, context)
    : count == 2 ? RunM<T, 2>(w, xs, ys, e, context)
                 : RunM<T, 4>(w, xs, ys, e, context);
  }
}

}  // namespace

void Nf4MatVec(const Nf4View& w, View x, View y, const MatMulEpilogue& e, LaunchContext context) {
  if (y.size() == 0) return;
  static_assert(kDotRows == 4);
  DispatchFloat(x.dtype, "nf4 matvec", [&](auto type) {
    DispatchFloat(y.dtype, "nf4 matvec", [](auto) {});
    RunRows<decltype(type)>(w, x, y, e, context);
  });
}

}  // namespace lorikeet::internal
