// 16 bytes at once: what a thread loads and stores where memory is what a kernel waits for.
//
//   const auto x = Load<Pack<bf16>>(row + i);  Pack<bf16> y;
//   for (int j = 0; j < Pack<bf16>::kCount; ++j) y.v[j] = bf16(2 * float(x.v[j]));
//   Store(out + i, y);
//
// The address is a multiple of 16 bytes: Vectorisable(view) says whether every row of a view begins at one and has
// whole packs. Only for .cu files; nvcc and the simulator both take it.
#ifndef LORIKEET_TENSOR_KERNELS_CUDA_VECTOR_H_
#define LORIKEET_TENSOR_KERNELS_CUDA_VECTOR_H_

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {

inline constexpr int64_t kPackBytes = 16;

template <typename T>
struct alignas(16) Pack {
  static constexpr int kCount = static_cast<int>(kPackBytes / sizeof(T));
  T v[kCount];
};

template <typename P, typename T>
__device__ inline P Load(const T* at) {
  return *reinterpret_cast<const P*>(at);
}

template <typename P, typename T>
__device__ inline void Store(T* at, const P& pack) {
  *reinterpret_cast<P*>(at) = pack;
}

// Rows of whole packs, each at a multiple of 16 bytes. A rank of 0 is no obstacle: an absent view.
inline bool Vectorisable(const View& v) {
  if (v.rank == 0) return true;
  const int64_t pack = kPackBytes / static_cast<int64_t>(SizeOf(v.dtype));
  if (reinterpret_cast<uintptr_t>(v.data) % kPackBytes != 0 || v.dims[v.rank - 1] % pack != 0) return false;
  if (v.strides[v.rank - 1] != 1) return false;
  for (int i = 0; i + 1 < v.rank; ++i) {
    if (v.strides[i] % pack != 0) return false;
  }
  return true;
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_CUDA_VECTOR_H_
