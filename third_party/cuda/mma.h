// Tensor-core and asynchronous-copy instructions (sm_80 and newer), the same for nvcc and the simulator.
//
//   uint32_t a[4], b[2];  float c[4] = {};
//   LoadMatrix<false>(a, row_of_a);  LoadMatrix<false>(b, row_of_b);  MmaBF16(c, a, b[0], b[1]);   // c += a*b
//   CopyAsync16(shared, global, 16);  CommitCopies();  WaitForCopies<0>();  __syncthreads();
//
// Mma       a [16,16] * b [16,8]. With g = lane / 4 and t = lane % 4, a lane holds pairs of k along its registers:
//             a[0]: (g, 2t..)  a[1]: (g + 8, 2t..)  a[2]: (g, 2t + 8..)  a[3]: (g + 8, 2t + 8..)     (row, k)
//             b0: (2t.., g)  b1: (2t + 8.., g)                                                       (k, column)
//             c[0], c[1]: (g, 2t), (g, 2t + 1)   c[2], c[3]: (g + 8, 2t), (g + 8, 2t + 1)            (row, column)
// LoadMatrix<transposed>(r, p)   1, 2 or 4 matrices of 8 rows of 16 bytes: row i of matrix m is at lane (8m + i)'s p.
// r[m]
//             is (g, 2t), (g, 2t + 1) of it, or, transposed, (2t, g), (2t + 1, g).
// CopyAsync16 16 bytes from global to shared memory, of which those from `bytes` on are zeros and not read.
// CommitCopies
//             closes a group of them; WaitForCopies<n> waits for all of this thread's groups but the latest n.
// Pack..      two floats, rounded to nearest even, in one register: low in the lower half.
// A whole warp calls Mma and LoadMatrix together. All addresses are multiples of 16 bytes. Only for .cu files.
#ifndef THIRD_PARTY_CUDA_MMA_H_
#define THIRD_PARTY_CUDA_MMA_H_

#include "third_party/cuda/runtime.h"

#if defined(LORIKEET_CUDA_SIM)
#include "third_party/cusim/cusim_mma.h"
#elif defined(__CUDACC__)
#include <cstdint>

__device__ __forceinline__ uint32_t PackBF16(float low, float high) {
  uint32_t r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
__device__ __forceinline__ uint32_t PackF16(float low, float high) {
  uint32_t r;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}

__device__ __forceinline__ void MmaBF16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ void MmaF16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

template <bool kTransposed, int kCount>
__device__ __forceinline__ void LoadMatrix(uint32_t (&r)[kCount], const void* shared) {
  static_assert(kCount == 1 || kCount == 2 || kCount == 4);
  const uint32_t p = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  if constexpr (kCount == 4 && kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(p)
                 : "memory");
  } else if constexpr (kCount == 4) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(p)
                 : "memory");
  } else if constexpr (kCount == 2 && kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(p)
                 : "memory");
  } else if constexpr (kCount == 2) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(p)
                 : "memory");
  } else if constexpr (kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(p) : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(p) : "memory");
  }
}

__device__ __forceinline__ void CopyAsync16(void* shared, const void* global, int bytes = 16) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared))), "l"(__cvta_generic_to_global(global)),
                 "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void CommitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kPending>
__device__ __forceinline__ void WaitForCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}
#endif

#endif  // THIRD_PARTY_CUDA_MMA_H_
