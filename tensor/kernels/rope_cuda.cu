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
using internal::LoadRaw;
using internal::Narrow;
using internal::RawChunk;
using internal::StoreChunk;
using internal::StreamOf;
using internal::Vectorisable;
using internal::Widen;

void RequireF32(const View& table) {
  if (table.dtype == DType::kF32) return;
  std::fprintf(stderr, "CUDA RoPE: expected f32 tables, got %s\n", Name(table.dtype));
  std::abort();
}

// The row of inv_freq that counts, alike in every thread: each block looks at all positions, which are few.
__device__ const float* FrequenciesFor(const View& positions, const View& inv_freq, int64_t long_from) {
  if (inv_freq.rank == 1) return Data<float>(inv_freq);
  __shared__ int any;
  if (threadIdx.x == 0) any = 0;
  __syncthreads();
  int mine = 0;
  for (int64_t t = threadIdx.x; t < positions.dims[0]; t += blockDim.x) {
    mine |= Data<int32_t>(positions)[t * positions.strides[0]] >= long_from;
  }
  if (mine != 0) atomicMax(&any, 1);
  __syncthreads();
  return Data<float>(inv_freq) + (any != 0 ? inv_freq.strides[0] : 0);
}

// The angle is rounded to f32, its sine and cosine are not: f32 argument reduction loses digits where angles are large.
__global__ void RopeTableKernel(View positions, View inv_freq, double factor, int64_t long_from, View cosines,
                                View sines) {
  const float* frequency = FrequenciesFor(positions, inv_freq, long_from);
  const int64_t half = cosines.dims[1], n = positions.dims[0] * half, apart = inv_freq.strides[inv_freq.rank - 1];
  for (int64_t at = FirstIndex(); at < n; at += IndexStride()) {
    const int64_t t = at / half, i = at % half;
    const float position = static_cast<float>(Data<int32_t>(positions)[t * positions.strides[0]]);
    const double angle = static_cast<double>(position * frequency[i * apart]);
    const double c = cos(angle), s = sin(angle);
    Data<float>(cosines)[t * cosines.strides[0] + i * cosines.strides[1]] = static_cast<float>(factor * c);
    Data<float>(sines)[t * sines.strides[0] + i * sines.strides[1]] = static_cast<float>(factor * s);
  }
}

struct RopeArgs {
  View x, cos, sin, y;
  float sign;  // of the angle
};

// Heads that a thread takes at once: they share a row of the tables, and enough bytes are on their way.
constexpr int kHeadsAtOnce = 4;

// The heads of a token that a thread has: `first` and every `step`th after it, kHeadsAtOnce of them at most.
struct HeadWalk {
  int64_t token;
  int first, step, heads;

  // f(k, head), k counting from 0.
  template <typename F>
  __device__ void Each(F f) const {
    CUDA_UNROLL
    for (int k = 0; k < kHeadsAtOnce; ++k) {
      const int head = first + k * step;
      if (head < heads) f(k, head);
    }
  }
};

template <typename T>
__device__ T* At(const View& v, const HeadWalk& walk, int head, int64_t i) {
  return Data<T>(v) + walk.token * v.strides[0] + head * v.strides[1] + i * v.strides[2];
}

// kCount of the token's numbers, from number i on.
template <int kCount>
__device__ void ReadTable(const View& table, int64_t token, int64_t i, float (&out)[kCount]) {
  Widen(LoadChunk<kCount>(Data<const float>(table) + token * table.strides[0] + i * table.strides[1]), out);
}

// kCount neighbouring pairs from pair i on, whose elements lie `half` apart.
template <typename T, int kCount>
__device__ void RotateSplitHalf(const RopeArgs& a, const HeadWalk& walk, int64_t i, int64_t half) {
  RawChunk<T, kCount> first[kHeadsAtOnce], second[kHeadsAtOnce];
  float c[kCount], s[kCount];
  walk.Each([&](int k, int head) {
    first[k] = LoadRaw<kCount>(At<const T>(a.x, walk, head, i));
    second[k] = LoadRaw<kCount>(At<const T>(a.x, walk, head, i + half));
  });
  ReadTable(a.cos, walk.token, i, c);
  ReadTable(a.sin, walk.token, i, s);
  for (int j = 0; j < kCount; ++j) s[j] *= a.sign;
  walk.Each([&](int k, int head) {
    float u[kCount], v[kCount], y[kCount];
    Widen(first[k], u);
    Widen(second[k], v);
    for (int j = 0; j < kCount; ++j) y[j] = u[j] * c[j] - v[j] * s[j];
    StoreChunk(Narrow<T>(y), At<T>(a.y, walk, head, i));
    for (int j = 0; j < kCount; ++j) y[j] = v[j] * c[j] + u[j] * s[j];
    StoreChunk(Narrow<T>(y), At<T>(a.y, walk, head, i + half));
  });
}

// kCount neighbouring elements, kCount / 2 pairs from pair i on.
template <typename T, int kCount>
__device__ void RotateInterleaved(const RopeArgs& a, const HeadWalk& walk, int64_t i) {
  RawChunk<T, kCount> x[kHeadsAtOnce];
  float c[kCount / 2], s[kCount / 2];
  walk.Each([&](int k, int head) { x[k] = LoadRaw<kCount>(At<const T>(a.x, walk, head, 2 * i)); });
  ReadTable(a.cos, walk.token, i, c);
  ReadTable(a.sin, walk.token, i, s);
  walk.Each([&](int k, int head) {
    float v[kCount], y[kCount];
    Widen(x[k], v);
    for (int j = 0; j < kCount / 2; ++j) {
      y[2 * j] = v[2 * j] * c[j] - v[2 * j + 1] * (s[j] * a.sign);
      y[2 * j + 1] = v[2 * j + 1] * c[j] + v[2 * j] * (s[j] * a.sign);
    }
    StoreChunk(Narrow<T>(y), At<T>(a.y, walk, head, 2 * i));
  });
}

template <typename T>
__device__ void RotateStridedPair(const RopeArgs& a, const HeadWalk& walk, int64_t i) {
  float c[1], s[1];
  ReadTable(a.cos, walk.token, i, c);
  ReadTable(a.sin, walk.token, i, s);
  walk.Each([&](int, int head) {
    const float u = *At<const T>(a.x, walk, head, 2 * i), v = *At<const T>(a.x, walk, head, 2 * i + 1);
    *At<T>(a.y, walk, head, 2 * i) = T(u * c[0] - v * (s[0] * a.sign));
    *At<T>(a.y, walk, head, 2 * i + 1) = T(v * c[0] + u * (s[0] * a.sign));
  });
}

template <typename T, int kCount>
__device__ void CopyChunk(const RopeArgs& a, const HeadWalk& walk, int64_t i) {
  walk.Each([&](int, int head) {
    StoreChunk(LoadChunk<kCount>(At<const T>(a.x, walk, head, i)), At<T>(a.y, walk, head, i));
  });
}

// What a head consists of: first the chunks of pairs, then what is not rotated.
struct HeadChunks {
  int rotated, all;

  __host__ __device__ HeadChunks(const RopeArgs& a, bool interleaved, int count) {
    const int half = static_cast<int>(a.cos.dims[1]), pairs = interleaved && count > 1 ? count / 2 : count;
    rotated = half / pairs;
    all = rotated + (static_cast<int>(a.x.dims[2]) - 2 * half) / count;
  }
};

inline __host__ __device__ int HeadGroups(const RopeArgs& a) {
  return (static_cast<int>(a.x.dims[1]) + kHeadsAtOnce - 1) / kHeadsAtOnce;
}

// blockDim.x threads have a token, and blockDim.y tokens are beside one another: a thread a chunk of some heads.
template <typename T, int kCount>
__global__ void __launch_bounds__(kBlockThreads) RopeKernel(const __grid_constant__ RopeArgs a, bool interleaved) {
  const HeadChunks chunks(a, interleaved, kCount);
  const int half = static_cast<int>(a.cos.dims[1]), groups = HeadGroups(a), n = groups * chunks.all;
  for (int64_t token = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y; token < a.x.dims[0];
       token += static_cast<int64_t>(gridDim.x) * blockDim.y) {
    for (int at = static_cast<int>(threadIdx.x); at < n; at += static_cast<int>(blockDim.x)) {
      const int chunk = at % chunks.all;
      const HeadWalk walk = {token, at / chunks.all, groups, static_cast<int>(a.x.dims[1])};
      if (chunk >= chunks.rotated) {
        CopyChunk<T, kCount>(a, walk, 2 * half + static_cast<int64_t>(chunk - chunks.rotated) * kCount);
      } else if (!interleaved) {
        RotateSplitHalf<T, kCount>(a, walk, static_cast<int64_t>(chunk) * kCount, half);
      } else if constexpr (kCount > 1) {
        RotateInterleaved<T, kCount>(a, walk, static_cast<int64_t>(chunk) * (kCount / 2));
      } else {
        RotateStridedPair<T>(a, walk, chunk);
      }
    }
  }
}

void RopeTable(View positions, View inv_freq, double factor, int64_t long_from, View cos, View sin,
               LaunchContext context) {
  RequireF32(inv_freq);
  const int64_t n = cos.size();
  if (n == 0) return;
  CheckCuda(Launch(RopeTableKernel, GridFor(n), kBlockThreads, 0, StreamOf(context), positions, inv_freq, factor,
                   long_from, cos, sin),
            "rope_table");
}

void Rope(View x, View cos, View sin, bool interleaved, bool inverse, View y, LaunchContext context) {
  RequireF32(cos);
  if (x.size() == 0) return;
  const int64_t pack = kPackBytes / static_cast<int64_t>(SizeOf(x.dtype));
  const bool packs =
      Vectorisable(x) && Vectorisable(y) && Vectorisable(cos) && Vectorisable(sin) && cos.dims[1] % pack == 0;
  const RopeArgs a = {x, cos, sin, y, inverse ? -1.0f : 1.0f};
  const int n = HeadGroups(a) * HeadChunks(a, interleaved, packs ? static_cast<int>(pack) : 1).all;
  unsigned across = 1;
  while (across < kBlockThreads && across < static_cast<unsigned>(n)) across *= 2;
  const dim3 block(across, kBlockThreads / across);
  const int64_t blocks = (x.dims[0] + block.y - 1) / block.y;
  DispatchFloat(x.dtype, "RoPE", [&]<typename T>(T) {
    constexpr int kPack = static_cast<int>(kPackBytes / sizeof(T));
    CheckCuda(Launch(packs ? RopeKernel<T, kPack> : RopeKernel<T, 1>,
                     static_cast<unsigned>(blocks < (1 << 30) ? blocks : 1 << 30), block, 0, StreamOf(context), a,
                     interleaved),
              "rope");
  });
}

}  // namespace

extern const RopeKernels kCudaRope = {.rope_table = RopeTable, .rope = Rope};

}  // namespace lorikeet
