// A few neighbouring elements as a thread of a row-wise or elementwise kernel has them: as they lie in memory, or as
// floats. Conversions are the hardware's instructions, which memory-bound kernels have no time to do without.
//
//   float v[8];
//   Widen(LoadChunk<8>(row + 8 * c), v);          // one access of 16 bytes for bf16
//   StoreChunk(Narrow<bf16>(v), out + 8 * c);     // rounds to nearest even
//
// A chunk lies at a multiple of its size, or of 16 bytes if that is less. Only for .cu files; nvcc and the simulator
// both take it.
#ifndef LORIKEET_TENSOR_KERNELS_CUDA_CHUNK_H_
#define LORIKEET_TENSOR_KERNELS_CUDA_CHUNK_H_

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "tensor/dtype.h"
#include "tensor/kernels/cuda_vector.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {

template <typename T, int kCount>
struct alignas(sizeof(T) * kCount < 16 ? sizeof(T) * kCount : 16) Chunk {
  T v[kCount];
};

__device__ inline float ToFloat(float x) { return x; }
__device__ inline float ToFloat(bf16 x) { return x; }
__device__ inline float ToFloat(f16 x) { return CvtF32(x.bits); }

__device__ inline bool IsFinite(float x) { return fabsf(x) <= std::numeric_limits<float>::max(); }

template <int kCount, bool kOnce = false, typename T>
__device__ inline Chunk<T, kCount> LoadChunk(const T* at) {
  if constexpr (kCount == 1) {
    return {{*at}};
  } else {
    return Load<Chunk<T, kCount>, kOnce>(at);
  }
}

template <bool kOnce = false, typename T, int kCount>
__device__ inline void StoreChunk(const Chunk<T, kCount>& chunk, T* at) {
  if constexpr (kCount == 1) {
    *at = chunk.v[0];
  } else {
    Store<kOnce>(at, chunk);
  }
}

// A chunk that is kept in the registers that it was loaded into: halves of them would be taken apart at once, which
// waits for the load.
template <typename T, int kCount>
struct RawChunk {
  using C = Chunk<T, kCount>;
  WordsOf<C> words;

  RawChunk() = default;
  __device__ RawChunk(const C& chunk) : words(std::bit_cast<WordsOf<C>>(chunk)) {}
  __device__ operator C() const { return std::bit_cast<C>(words); }
};
template <int kCount, bool kOnce = false, typename T>
__device__ inline RawChunk<T, kCount> LoadRaw(const T* at) {
  RawChunk<T, kCount> raw;
  raw.words = LoadWords<Chunk<T, kCount>, kOnce>(at);
  return raw;
}

template <typename T, int kCount>
__device__ inline void Widen(const Chunk<T, kCount>& chunk, float (&out)[kCount]) {
  if constexpr (std::is_same_v<T, bf16> && kCount % 2 == 0) {
    const auto pairs = std::bit_cast<Chunk<uint32_t, kCount / 2>>(chunk);
    for (int j = 0; j < kCount; ++j) {
      const uint32_t pair = pairs.v[j / 2];
      out[j] = std::bit_cast<float>(j % 2 == 0 ? pair << 16 : pair & 0xffff0000u);
    }
  } else {
    for (int j = 0; j < kCount; ++j) out[j] = ToFloat(chunk.v[j]);
  }
}

template <typename T, int kCount>
__device__ inline void Widen(const RawChunk<T, kCount>& raw, float (&out)[kCount]) {
  Widen(static_cast<Chunk<T, kCount>>(raw), out);
}

template <int kCount>
__device__ inline void NarrowInto(const float (&x)[kCount], Chunk<float, kCount>& out) {
  for (int j = 0; j < kCount; ++j) out.v[j] = x[j];
}
template <int kCount>
__device__ inline void NarrowInto(const float (&x)[kCount], Chunk<f16, kCount>& out) {
  for (int j = 0; j < kCount; ++j) out.v[j].bits = CvtF16(x[j]);
}
template <int kCount>
__device__ inline void NarrowInto(const float (&x)[kCount], Chunk<bf16, kCount>& out) {
  if constexpr (kCount % 2 == 0) {
    Chunk<uint32_t, kCount / 2> pairs;
    for (int j = 0; j < kCount / 2; ++j) pairs.v[j] = CvtBF16x2(x[2 * j], x[2 * j + 1]);
    out = std::bit_cast<Chunk<bf16, kCount>>(pairs);
  } else {
    for (int j = 0; j < kCount; ++j) out.v[j].bits = CvtBF16(x[j]);
  }
}
template <typename T, int kCount>
__device__ inline Chunk<T, kCount> Narrow(const float (&x)[kCount]) {
  Chunk<T, kCount> out;
  NarrowInto(x, out);
  return out;
}

// One element of a dtype known at run time, for paths that are not in a hurry.
__device__ inline float ReadFloat(const void* data, DType dtype, int64_t at) {
  switch (dtype) {
    case DType::kBF16:
      return static_cast<const bf16*>(data)[at];
    case DType::kF16:
      return ToFloat(static_cast<const f16*>(data)[at]);
    default:
      return static_cast<const float*>(data)[at];
  }
}
__device__ inline void WriteFloat(float x, void* data, DType dtype, int64_t at) {
  switch (dtype) {
    case DType::kBF16:
      static_cast<bf16*>(data)[at].bits = CvtBF16(x);
      break;
    case DType::kF16:
      static_cast<f16*>(data)[at].bits = CvtF16(x);
      break;
    default:
      static_cast<float*>(data)[at] = x;
  }
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_CUDA_CHUNK_H_
