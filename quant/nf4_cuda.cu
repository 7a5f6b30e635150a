// Encoding and decoding. One float32 product and one rounding a weight: compiled without fused multiply-adds.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>

#include "quant/blockwise8_cuda.h"
#include "quant/code_maps.h"
#include "quant/nf4_cuda.h"
#include "quant/nf4_kernels.h"
#include "tensor/dtype.h"
#include "tensor/kernels/cuda_chunk.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_reduce.h"
#include "tensor/kernels/cuda_vector.h"
#include "tensor/kernels/launch.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet {
namespace {

using internal::BlockReduce;
using internal::CheckCuda;
using internal::Chunk;
using internal::Codes;
using internal::CodesOf;
using internal::Data;
using internal::DispatchFloat;
using internal::FirstIndex;
using internal::GridFor;
using internal::IndexStride;
using internal::kBlockThreads;
using internal::kMaxBlocks;
using internal::kPackBytes;
using internal::kWholeWarp;
using internal::LoadCodeMap;
using internal::LoadThresholds;
using internal::MagnitudeBits;
using internal::Map8Values;
using internal::Narrow;
using internal::NearestCode;
using internal::Nf4Device;
using internal::Pack;
using internal::ScaleOf;
using internal::StoreChunk;
using internal::StreamOf;

template <typename T>
__device__ T DecodeOne(const Nf4Device& w, const float* map, int64_t i) {
  return T(map[w.Code(i)] * w.Scale(i));
}

// As many weights as are stored at once; `first` is a multiple of their number, so that they share a block.
template <typename T, int kCount = Pack<T>::kCount>
__device__ Chunk<T, kCount> DecodeChunk(Codes<kCount> codes, const float* map, float scale) {
  float y[kCount];
  for (int j = 0; j < kCount; ++j) y[j] = map[codes.At(j)] * scale;
  return Narrow<T>(y);
}
template <typename T>
__device__ auto DecodePack(const Nf4Device& w, const float* map, int64_t first) {
  return DecodeChunk<T>(CodesOf<Pack<T>::kCount>(w.view.codes, first), map, w.Scale(first));
}

// What a warp decodes at once: a lane kSpanSteps chunks, whose neighbours its neighbours have, so that the lanes'
// stores are one run. A block of weights is no shorter than what falls to one lane, and so every lane looks up one
// scale, and gets those of its chunks from the others.
constexpr int kSpanSteps = 4, kSpansAWarp = 2;
template <typename T>
constexpr int kSpan = 32 * kSpanSteps* Pack<T>::kCount;

template <typename T>
__device__ void DecodeSpan(const Nf4Device& w, const float* map, int64_t first, T* y) {
  constexpr int kCount = Pack<T>::kCount;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  Codes<kCount> codes[kSpanSteps];
  CUDA_UNROLL
  for (int k = 0; k < kSpanSteps; ++k) codes[k] = CodesOf<kCount>(w.view.codes, first + (k * 32 + lane) * kCount);
  const float scale = w.Scale(first + lane * kSpanSteps * kCount);
  CUDA_UNROLL
  for (int k = 0; k < kSpanSteps; ++k) {
    const float mine = __shfl_sync(kWholeWarp, scale, (k * 32 + lane) / kSpanSteps);
    StoreChunk(DecodeChunk<T>(codes[k], map, mine), y + first + (k * 32 + lane) * kCount);
  }
}

// Reads half a byte a weight and writes 2 or 4: bound by the writes, 16 bytes a thread.
template <typename T>
__global__ void __launch_bounds__(kBlockThreads) DecodeKernel(Nf4Device w, T* y, int64_t n, int64_t spans) {
  CUDA_SHARED(float[16], map);
  LoadCodeMap(w, map);
  for (int64_t i = FirstIndex() / 32; i < spans; i += IndexStride() / 32) DecodeSpan(w, map, i * kSpan<T>, y);
  for (int64_t i = spans * kSpan<T> + FirstIndex(); i < n; i += IndexStride()) y[i] = DecodeOne<T>(w, map, i);
}

// Units of y: packs where rows consist of whole ones, else single weights.
template <typename T, bool packs>
__global__ void GatherKernel(Nf4Device w, int64_t rows, const int32_t* ids, T* y, int64_t d, int64_t n) {
  CUDA_SHARED(float[16], map);
  LoadCodeMap(w, map);
  constexpr int kCount = packs ? Pack<T>::kCount : 1;
  for (int64_t at = FirstIndex() * kCount; at < n; at += IndexStride() * kCount) {
    const int64_t i = at / d;
    const int32_t id = ids[i];
    if (id < 0 || id >= rows) {
      printf("Nf4 gather_rows: row %d of %lld\n", id, static_cast<long long>(rows));
      __trap();
    }
    const int64_t from = id * d + (at - i * d);
    if constexpr (packs) {
      StoreChunk(DecodePack<T>(w, map, from), y + at);
    } else {
      y[at] = DecodeOne<T>(w, map, from);
    }
  }
}

__global__ void DecodeScalesKernel(Nf4Device w, float* scales, int64_t n) {
  for (int64_t b = FirstIndex(); b < n; b += IndexStride()) scales[b] = w.ScaleOfBlock(b);
}

bool Aligned(const void* p, int64_t bytes) {
  return reinterpret_cast<uintptr_t>(p) % static_cast<uintptr_t>(bytes) == 0;
}

void Decode(const Nf4View& w, View y, LaunchContext context) {
  const int64_t n = y.size();
  if (n == 0) return;
  DispatchFloat(y.dtype, "nf4 decode", [&](auto type) {
    using T = decltype(type);
    const bool whole = Aligned(w.codes, 4) && Aligned(y.data, kPackBytes) && w.block >= kSpanSteps * Pack<T>::kCount;
    const int64_t spans = whole ? n / kSpan<T> : 0, rest = n - spans * kSpan<T>;
    constexpr int64_t kSpansABlock = kSpansAWarp * kBlockThreads / 32;
    const int64_t blocks = std::max((spans + kSpansABlock - 1) / kSpansABlock, static_cast<int64_t>(GridFor(rest)));
    CheckCuda(Launch(DecodeKernel<T>, static_cast<unsigned>(std::min(blocks, int64_t{1} << 30)), kBlockThreads, 0,
                     StreamOf(context), Nf4Device(w), y.ptr<T>(), n, spans),
              "nf4 decode");
  });
}

void DecodeScales(const Nf4View& w, View scales, LaunchContext context) {
  const int64_t n = scales.size();
  if (n == 0) return;
  CheckCuda(
      Launch(DecodeScalesKernel, GridFor(n), kBlockThreads, 0, StreamOf(context), Nf4Device(w), scales.ptr<float>(), n),
      "nf4 decode_scales");
}

void GatherRows(const Nf4View& w, int64_t rows, View ids, View y, LaunchContext context) {
  const int64_t n = y.size(), d = y.dims[1];
  if (n == 0) return;
  DispatchFloat(y.dtype, "nf4 gather_rows", [&](auto type) {
    using T = decltype(type);
    const bool packs = Aligned(w.codes, 4) && Aligned(y.data, kPackBytes) && d % Pack<T>::kCount == 0;
    const auto kernel = packs ? GatherKernel<T, true> : GatherKernel<T, false>;
    CheckCuda(Launch(kernel, GridFor(packs ? n / Pack<T>::kCount : n), kBlockThreads, 0, StreamOf(context),
                     Nf4Device(w), rows, ids.ptr<const int32_t>(), y.ptr<T>(), d, n),
              "nf4 gather_rows");
  });
}

// The decision thresholds of a format: a number, or for FP4 its magnitude, above k of them gets the pattern k.
struct CodeTable {
  int thresholds;
  float threshold[15];
  uint8_t pattern[16];
  bool sign_bit;
};

CodeTable TableOf(Nf4Kind kind) {
  CodeTable t = {};
  t.sign_bit = kind == Nf4Kind::kFp4;
  t.thresholds = t.sign_bit ? 7 : 15;
  for (int k = 0; k < t.thresholds; ++k) t.threshold[k] = t.sign_bit ? kFp4Thresholds[k] : kNf4Thresholds[k];
  for (int k = 0; k <= t.thresholds; ++k) t.pattern[k] = static_cast<uint8_t>(t.sign_bit ? kFp4Patterns[k] : k);
  return t;
}

__device__ int CodeOf(const CodeTable& table, float t) {
  const float x = table.sign_bit ? fabsf(t) : t;
  int above = 0;
  for (int k = 0; k < table.thresholds; ++k) above += x > table.threshold[k];
  return table.pattern[above] | (table.sign_bit && t < 0 ? 8 : 0);
}

// A warp to a block of weights: the largest magnitude, then the codes, two weights to a lane and byte. What is read a
// second time comes from the cache.
template <typename T>
__global__ void EncodeKernel(const T* w, int64_t n, const __grid_constant__ CodeTable table, int32_t block,
                             uint8_t* codes, float* scales, int64_t blocks) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t warps = IndexStride() / 32;
  for (int64_t b = FirstIndex() / 32; b < blocks; b += warps) {
    const int64_t first = b * block, end = min(first + block, n);
    uint32_t most = 0;
    for (int64_t i = first + lane; i < end; i += 32) most = max(most, MagnitudeBits(static_cast<float>(w[i])));
    most = __reduce_max_sync(kWholeWarp, most);
    const float absmax = std::bit_cast<float>(most);
    if (lane == 0) scales[b] = absmax;
    const float inv = 1.0f / fmaxf(absmax, 1e-38f);  // finite: a block of zeros gets the code of zero
    for (int64_t i = first + 2 * lane; i < end; i += 64) {
      const float next = i + 1 < end ? static_cast<float>(w[i + 1]) : 0.0f;  // pads the last byte
      const int high = CodeOf(table, static_cast<float>(w[i]) * inv), low = CodeOf(table, next * inv);
      codes[i / 2] = static_cast<uint8_t>(high << 4 | low);
    }
  }
}

void Encode(View w, Nf4Kind kind, int32_t block, View codes, View scales, LaunchContext context) {
  const int64_t n = w.size(), blocks = scales.size();
  if (n == 0) return;
  DispatchFloat(w.dtype, "nf4 encode", [&](auto type) {
    using T = decltype(type);
    CheckCuda(Launch(EncodeKernel<T>, GridFor(blocks * 32), kBlockThreads, 0, StreamOf(context), w.ptr<const T>(), n,
                     TableOf(kind), block, codes.ptr<uint8_t>(), scales.ptr<float>(), blocks),
              "nf4 encode");
  });
}

__global__ void EncodeScalesKernel(const float* absmax, float mean, const __grid_constant__ Map8Values map,
                                   int32_t block, uint8_t* codes, float* scales, int64_t n) {
  CUDA_SHARED(float[256], thresholds);
  LoadThresholds(map, thresholds);
  __syncthreads();
  const int64_t blocks = (n + block - 1) / block;
  for (int64_t b = blockIdx.x; b < blocks; b += gridDim.x) {
    const int64_t first = b * block, end = min(first + block, n);
    uint32_t most = 0;
    for (int64_t i = first + threadIdx.x; i < end; i += blockDim.x) most = max(most, MagnitudeBits(absmax[i] - mean));
    const float scale = ScaleOf(BlockReduce(most, 0u, [](uint32_t x, uint32_t y) { return max(x, y); }));
    if (threadIdx.x == 0) scales[b] = scale;
    for (int64_t i = first + threadIdx.x; i < end; i += blockDim.x) {
      codes[i] = scale > 0 ? NearestCode(thresholds, (absmax[i] - mean) / scale) : uint8_t{0};
    }
  }
}

void EncodeScales(View absmax, float mean, int32_t scale_block, View codes, View scale_scales, LaunchContext context) {
  const int64_t n = absmax.size();
  if (n == 0) return;
  const auto grid = static_cast<unsigned>(std::min(scale_scales.size(), kMaxBlocks));
  CheckCuda(Launch(EncodeScalesKernel, grid, kBlockThreads, 0, StreamOf(context), absmax.ptr<const float>(), mean,
                   Map8Values(SignedDynamicMap()), scale_block, codes.ptr<uint8_t>(), scale_scales.ptr<float>(), n),
            "nf4 encode_scales");
}

}  // namespace

extern const Nf4Kernels kCudaNf4 = {.decode = Decode,
                                    .decode_scales = DecodeScales,
                                    .gather_rows = GatherRows,
                                    .encode = Encode,
                                    .encode_scales = EncodeScales,
                                    .matvec = internal::Nf4MatVec};

}  // namespace lorikeet
