// The CUDA runtime API and Launch(), of the build's CUDA backend (--//third_party/cuda:backend):
// nvcc's, the CPU simulator's, or, with backend none, nothing at all: then LORIKEET_CUDA is not defined.
//
//   Launch(kernel, grid, block, shared_bytes, stream, args...)   for <<<>>>
//   CUDA_SHARED(float[32], part);                                 for __shared__ float part[32]
//   CUDA_DYNAMIC_SHARED(float, buf);                              for extern __shared__ float buf[]
#ifndef THIRD_PARTY_CUDA_RUNTIME_H_
#define THIRD_PARTY_CUDA_RUNTIME_H_

#if defined(LORIKEET_CUDA_SIM)
#include "third_party/cusim/cusim.h"
#elif defined(LORIKEET_CUDA)
#include <cuda_runtime.h>

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
#define CUDA_DYNAMIC_SHARED(T, name)                                    \
  extern __shared__ __align__(16) unsigned char cuda_dynamic_shared_[]; \
  T* name = reinterpret_cast<T*>(cuda_dynamic_shared_)
#endif
#endif

#endif  // THIRD_PARTY_CUDA_RUNTIME_H_
