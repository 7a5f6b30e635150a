// The CUDA runtime API and Launch(), of the build's CUDA backend (--//third_party/cuda:backend):
// nvcc's, the CPU simulator's, or, with backend none, nothing at all: then LORIKEET_CUDA is not defined.
//
//   Launch(kernel, grid, block, shared_bytes, stream, args...)   for <<<>>>
//   CUDA_SHARED(float[32], part);                                 for __shared__ float part[32]
//   CUDA_DYNAMIC_SHARED(float, buf);                              for extern __shared__ float buf[]
//   CUDA_UNROLL                                                    for #pragma unroll
//   CUDA_NOINLINE                                                  for __noinline__
//   CUDA_NO_UNROLL                                                 for #pragma unroll 1
//   CvtBF16(x), CvtBF16x2(low, high), CvtF16(x), CvtF32(f16)       PTX's cvt.rn between f32 and the bits of 16-bit
//                                                                  floats
//   Exp2Approx(x), RcpApprox(x)                                    PTX's ex2.approx.ftz and rcp.approx.ftz: to 2 ulp
//                                                                  or 1, denormal arguments and results are 0
//   LoadBits<V>(p), StoreBits(p, v)                                one access as wide as V: uint16_t, uint32_t, uint2,
//                                                                  uint4 (a struct, if it is assigned, may be moved
//                                                                  member by member)
//   LoadBitsPastL1<V>(p)                                           from what all multiprocessors see
//   LoadBitsOnce<V>(p), StoreBitsOnce(p, v)                        what is not soon used again: leaves the caches first
#ifndef THIRD_PARTY_CUDA_RUNTIME_H_
#define THIRD_PARTY_CUDA_RUNTIME_H_

#if defined(LORIKEET_CUDA_SIM)
#include "third_party/cusim/cusim.h"
#elif defined(LORIKEET_CUDA)
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>
#ifdef __CUDACC__
template <class... P, class... A>
cudaError_t Launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, A&&... args) {
  // clang-format off
  kernel<<<grid, block, shared_bytes, stream>>>(static_cast<P>(args)...);
  // clang-format on
  return cudaGetLastError();
}
#define CUDA_SHARED(T, name) __shared__ std::type_identity_t<T> name
#define CUDA_UNROLL _Pragma("unroll")
#define CUDA_NOINLINE __noinline__
#define CUDA_NO_UNROLL _Pragma("unroll 1")
#define CUDA_DYNAMIC_SHARED(T, name)                                    \
  extern __shared__ __align__(16) unsigned char cuda_dynamic_shared_[]; \
  T* name = reinterpret_cast<T*>(cuda_dynamic_shared_)

__device__ inline uint16_t CvtBF16(float x) {
  uint16_t y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}
__device__ inline uint32_t CvtBF16x2(float low, float high) {
  uint32_t y;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
  return y;
}
__device__ inline uint16_t CvtF16(float x) {
  uint16_t y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}
__device__ inline float CvtF32(uint16_t f16) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(f16));
  return y;
}
__device__ inline float Exp2Approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ inline float RcpApprox(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
template <class V>
__device__ inline V LoadBits(const void* p) {
  return *static_cast<const V*>(p);
}
// Of integers: the members of a uint4 would be stored one by one wherever the compiler loses sight of their alignment.
template <class V>
__device__ inline void StoreBits(void* p, V v) {
  if constexpr (sizeof(V) == 16) {
    *static_cast<unsigned __int128*>(p) = __builtin_bit_cast(unsigned __int128, v);
  } else if constexpr (sizeof(V) == 8) {
    *static_cast<uint64_t*>(p) = __builtin_bit_cast(uint64_t, v);
  } else {
    *static_cast<V*>(p) = v;
  }
}
template <class V>
__device__ inline V LoadBitsPastL1(const void* p) {
  return __ldcg(static_cast<const V*>(p));
}
template <class V>
__device__ inline V LoadBitsOnce(const void* p) {
  return __ldcs(static_cast<const V*>(p));
}
template <class V>
__device__ inline void StoreBitsOnce(void* p, V v) {
  __stcs(static_cast<V*>(p), v);
}
#endif
#endif

#endif  // THIRD_PARTY_CUDA_RUNTIME_H_
