#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tensor/dtype.h"
#include "tensor/kernels/cuda_chunk.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_vector.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/rope.h"
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
using internal::LoadChunk;
using internal::Narrow;
using internal::StoreChunk;
using internal::StreamOf;
using internal::Vectorisable;
using internal::Widen;

void RequireF32(const View& table) {
  if (table.dtype == DType::kF32) return;
  std::fprintf(stderr, "CUDA RoPE: expected f32 tables, got %s\n", Name(table.dtype));
  std::abort();
}

// The angle is rounded to f32, its sine and cosine are not: f32 argument reduction loses digits where angles are large.
__global__ void RopeTableKernel(View positions, View inv_freq, double factor, View cosines, View sines) {
  const int64_t half = inv_freq.dims[0], n = positions.dims[0] * half;
  for (int64_t at = FirstIndex(); at < n; at += IndexStride()) {
    const int64_t t = at / half, i = at % half;
    const float position = static_cast<float>(Data<int32_t>(positions)[t * positions.strides[0]]);
    const double angle = static_cast<double>(position * Data<float>(inv_freq)[i * inv_freq.strides[0]]);
    const double c = cos(angle), s = sin(angle);
    Data<float>(cosines)[t * cosines.strides[0] + i * cosines.strides[1]] = static_cast<float>(factor * c);
    Data<float>(sines)[t * sines.strides[0] + i * sines.strides[1]] = static_cast<float>(factor * s);
  }
}

struct RopeArgs {
  View x, cos, sin, y;
  float sign;  // of the angle
};

// Where a thread finds its elements of a head: x_stride and y_stride are 1 where kCount is not.
template <typename T>
struct Head {
  const T* x;
  T* y;
  const float *cos, *sin;
  int64_t x_stride, y_stride, cos_stride, sin_stride;
};

template <typename T>
__device__ Head<T> HeadOf(const RopeArgs& a, int64_t token, int64_t head) {
  return {Data<T>(a.x) + token * a.x.strides[0] + head * a.x.strides[1],
          Data<T>(a.y) + token * a.y.strides[0] + head * a.y.strides[1],
          Data<float>(a.cos) + token * a.cos.strides[0],
          Data<float>(a.sin) + token * a.sin.strides[0],
          a.x.strides[2],
          a.y.strides[2],
          a.cos.strides[1],
          a.sin.strides[1]};
}

// kCount neighbouring pairs from pair i on, whose elements lie `half` apart.
template <typename T, int kCount>
__device__ void RotateSplitHalf(const Head<T>& h, int64_t i, int64_t half, float sign) {
  const int64_t x_stride = kCount == 1 ? h.x_stride : 1, y_stride = kCount == 1 ? h.y_stride : 1;
  float a[kCount], b[kCount], c[kCount], s[kCount], y[kCount];
  Widen(LoadChunk<kCount>(h.x + i * x_stride), a);
  Widen(LoadChunk<kCount>(h.x + (i + half) * x_stride), b);
  Widen(LoadChunk<kCount>(h.cos + (kCount == 1 ? i * h.cos_stride : i)), c);
  Widen(LoadChunk<kCount>(h.sin + (kCount == 1 ? i * h.sin_stride : i)), s);
  for (int j = 0; j < kCount; ++j) s[j] *= sign;
  for (int j = 0; j < kCount; ++j) y[j] = a[j] * c[j] - b[j] * s[j];
  StoreChunk(Narrow<T>(y), h.y + i * y_stride);
  for (int j = 0; j < kCount; ++j) y[j] = b[j] * c[j] + a[j] * s[j];
  StoreChunk(Narrow<T>(y), h.y + (i + half) * y_stride);
}

// kCount neighbouring elements, kCount / 2 pairs from pair i on.
template <typename T, int kCount>
__device__ void RotateInterleaved(const Head<T>& h, int64_t i, float sign) {
  float x[kCount], c[kCount / 2], s[kCount / 2], y[kCount];
  Widen(LoadChunk<kCount>(h.x + 2 * i), x);
  Widen(LoadChunk<kCount / 2>(h.cos + i), c);
  Widen(LoadChunk<kCount / 2>(h.sin + i), s);
  for (int j = 0; j < kCount / 2; ++j) {
    const float a = x[2 * j], b = x[2 * j + 1];
    y[2 * j] = a * c[j] - b * (s[j] * sign);
    y[2 * j + 1] = b * c[j] + a * (s[j] * sign);
  }
  StoreChunk(Narrow<T>(y), h.y + 2 * i);
}

template <typename T>
__device__ void RotateStridedPair(const Head<T>& h, int64_t i, float sign) {
  const float a = h.x[2 * i * h.x_stride], b = h.x[(2 * i + 1) * h.x_stride];
  const float c = h.cos[i * h.cos_stride], s = h.sin[i * h.sin_stride] * sign;
  h.y[2 * i * h.y_stride] = T(a * c - b * s);
  h.y[(2 * i + 1) * h.y_stride] = T(b * c + a * s);
}

// A block has one token at a time: its heads share a row of the tables. Of a head there are first the chunks of pairs,
// then what is not rotated.
template <typename T, int kCount>
__global__ void RopeKernel(RopeArgs a, bool interleaved) {
  const int half = static_cast<int>(a.cos.dims[1]), pairs = interleaved && kCount > 1 ? kCount / 2 : kCount;
  const int rotated = half / pairs, rest = static_cast<int>(a.x.dims[2] - 2 * half) / kCount, all = rotated + rest;
  const int n = static_cast<int>(a.x.dims[1]) * all;
  for (int64_t token = blockIdx.x; token < a.x.dims[0]; token += gridDim.x) {
    for (int at = static_cast<int>(threadIdx.x); at < n; at += static_cast<int>(blockDim.x)) {
      const int chunk = at % all;
      const Head<T> h = HeadOf<T>(a, token, at / all);
      if (chunk >= rotated) {
        const int64_t i = 2 * half + static_cast<int64_t>(chunk - rotated) * kCount;
        StoreChunk(LoadChunk<kCount>(h.x + i * h.x_stride), h.y + i * h.y_stride);
      } else if (!interleaved) {
        RotateSplitHalf<T, kCount>(h, static_cast<int64_t>(chunk) * kCount, half, a.sign);
      } else if constexpr (kCount > 1) {
        RotateInterleaved<T, kCount>(h, static_cast<int64_t>(chunk) * (kCount / 2), a.sign);
      } else {
        RotateStridedPair(h, chunk, a.sign);
      }
    }
  }
}

void RopeTable(View positions, View inv_freq, double factor, View cos, View sin, LaunchContext context) {
  RequireF32(inv_freq);
  const int64_t n = cos.size();
  if (n == 0) return;
  CheckCuda(
      Launch(RopeTableKernel, GridFor(n), kBlockThreads, 0, StreamOf(context), positions, inv_freq, factor, cos, sin),
      "rope_table");
}

void Rope(View x, View cos, View sin, bool interleaved, bool inverse, View y, LaunchContext context) {
  RequireF32(cos);
  if (x.size() == 0) return;
  const int64_t pack = kPackBytes / static_cast<int64_t>(SizeOf(x.dtype));
  const bool packs =
      Vectorisable(x) && Vectorisable(y) && Vectorisable(cos) && Vectorisable(sin) && cos.dims[1] % pack == 0;
  const int64_t chunks = x.dims[1] * x.dims[2] / (packs ? 2 * pack : 2) + 1;
  const unsigned threads = chunks >= kBlockThreads ? kBlockThreads : static_cast<unsigned>((chunks + 31) / 32 * 32);
  const unsigned blocks = static_cast<unsigned>(x.dims[0] < (1 << 30) ? x.dims[0] : 1 << 30);
  const RopeArgs a = {x, cos, sin, y, inverse ? -1.0f : 1.0f};
  DispatchFloat(x.dtype, "RoPE", [&]<typename T>(T) {
    constexpr int kPack = static_cast<int>(kPackBytes / sizeof(T));
    CheckCuda(
        Launch(packs ? RopeKernel<T, kPack> : RopeKernel<T, 1>, blocks, threads, 0, StreamOf(context), a, interleaved),
        "rope");
  });
}

}  // namespace

extern const RopeKernels kCudaRope = {.rope_table = RopeTable, .rope = Rope};

}  // namespace lorikeet
