// Hopper's products by a warpgroup (PTX's wgmma, sm_90a only), the same for nvcc and the simulator.
//
//   float c[8][4];  uint32_t a[4];                                   // a lane's part: 16 rows to a warp, as in mma.h
//   WgmmaFence();                                                    // registers are written, wgmma may read them
//   Wgmma<kF16, false>(c, KMajor(rows), KMajor(columns), false);     // c = a*b, 64 x 64; c [16][4]: 64 x 128
//   Wgmma<kF16, true>(c, a, MnMajor(tile, panel_bytes), true);       // c += a*b, a from registers
//   WgmmaCommit();  WgmmaWait(c);  WgmmaKeep(a);                     // now c may be read, and a written
//
// Four warps, the first of which has a number divisible by 4, call everything together. a [64, 16] * b [16, N]: warp w
// has rows 16w to 16w + 15 of a and of c; its lanes hold them as those of an mma with 16 rows do.
//
// A matrix in shared memory is 64 elements (128 bytes) wide, its 16-byte pieces permuted: piece j of row r lies where
// piece j ^ (r % 8) would, from a multiple of 1024 bytes on. Wider ones consist of panels, one behind the other.
//   KMajor(p)            rows are rows of a (columns of b), k runs along them; p: at row 8i, and 16 * s elements on
//   MnMajor(p, bytes)    rows are steps of k, columns of b run along them; panels of 64 columns are `bytes` apart
//   Behind(m, bytes)     the matrix that begins so far behind m
// AwaitTurn(i, threads) waits for PassTurn(i, threads), i from 1 to 15, each called by half of the threads, in whole
// warps: which warpgroup's products come first. It orders nothing else.
// Before wgmma reads what threads have written, each writer calls FenceSharedForWgmma, then there is a barrier.
// Source: PTX ISA, "Asynchronous Warpgroup Level Matrix Multiply-Accumulate Instructions".
#ifndef THIRD_PARTY_CUDA_WGMMA_H_
#define THIRD_PARTY_CUDA_WGMMA_H_

#include "third_party/cuda/runtime.h"

#if defined(LORIKEET_CUDA_SIM)
#include "third_party/cusim/cusim_wgmma.h"
#elif defined(__CUDACC__)
#include <cstdint>

// Whether the device has them.
inline bool HasWgmma() {
  static const bool has = [] {
    int major = 0, minor = 0;
    return cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0) == cudaSuccess &&
           cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0) == cudaSuccess && major == 9 &&
           minor == 0;
  }();
  return has;
}

// A matrix descriptor: its address, two strides in units of 16 bytes, and the permutation of 128 bytes.
__device__ __forceinline__ uint64_t SharedMatrix(const void* p, uint32_t leading_bytes) {
  const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(p));
  return (at & 0x3ffff) >> 4 | static_cast<uint64_t>(leading_bytes >> 4) << 16 | uint64_t{1024 >> 4} << 32 |
         uint64_t{1} << 62;
}
__device__ __forceinline__ uint64_t KMajor(const void* p) { return SharedMatrix(p, 16); }
__device__ __forceinline__ uint64_t Behind(uint64_t m, uint32_t bytes) { return m + (bytes >> 4); }
__device__ __forceinline__ uint64_t MnMajor(const void* p, uint32_t panel_bytes) {
  return SharedMatrix(p, panel_bytes);
}

__device__ __forceinline__ void AwaitTurn(int i, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(i), "r"(threads) : "memory");
}
__device__ __forceinline__ void PassTurn(int i, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(i), "r"(threads) : "memory");
}

__device__ __forceinline__ void WgmmaFence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void WgmmaCommit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void FenceSharedForWgmma() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// The lane's part of c as operands.
#define LORIKEET_WGMMA_C8(c, i)                                                                                        \
  "+f"(c[i][0]), "+f"(c[i][1]), "+f"(c[i][2]), "+f"(c[i][3]), "+f"(c[i + 1][0]), "+f"(c[i + 1][1]), "+f"(c[i + 1][2]), \
      "+f"(c[i + 1][3])
#define LORIKEET_WGMMA_C64(c) \
  LORIKEET_WGMMA_C8(c, 0), LORIKEET_WGMMA_C8(c, 2), LORIKEET_WGMMA_C8(c, 4), LORIKEET_WGMMA_C8(c, 6)
#define LORIKEET_WGMMA_C128(c)                                                                        \
  LORIKEET_WGMMA_C64(c), LORIKEET_WGMMA_C8(c, 8), LORIKEET_WGMMA_C8(c, 10), LORIKEET_WGMMA_C8(c, 12), \
      LORIKEET_WGMMA_C8(c, 14)

template <bool kF16, bool kMnMajorB>
__device__ __forceinline__ void Wgmma(float (&c)[8][4], uint64_t a, uint64_t b, bool accumulate) {
  if constexpr (kF16) {
    asm volatile(
        "{.reg .pred p; setp.ne.b32 p, %34, 0;"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%1"
        "3,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, %32, %33, p, 1, 1, 0"
        ", %35;"
        "}"
        : LORIKEET_WGMMA_C64(c)
        : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(static_cast<int>(kMnMajorB)));
  } else {
    asm volatile(
        "{.reg .pred p; setp.ne.b32 p, %34, 0;"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,"
        "%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, %32, %33, p, 1, 1,"
        " 0, %35;"
        "}"
        : LORIKEET_WGMMA_C64(c)
        : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(static_cast<int>(kMnMajorB)));
  }
}
template <bool kF16, bool kMnMajorB>
__device__ __forceinline__ void Wgmma(float (&c)[8][4], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  if constexpr (kF16) {
    asm volatile(
        "{.reg .pred p; setp.ne.b32 p, %37, 0;"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%1"
        "3,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, {%32,%33,%34,%35}, %"
        "36, p, 1, 1, %38;"
        "}"
        : LORIKEET_WGMMA_C64(c)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)),
          "n"(static_cast<int>(kMnMajorB)));
  } else {
    asm volatile(
        "{.reg .pred p; setp.ne.b32 p, %37, 0;"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,"
        "%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, {%32,%33,%34,%35},"
        " %36, p, 1, 1, %38;"
        "}"
        : LORIKEET_WGMMA_C64(c)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)),
          "n"(static_cast<int>(kMnMajorB)));
  }
}
template <bool kF16, bool kMnMajorB>
__device__ __forceinline__ void Wgmma(float (&c)[16][4], uint64_t a, uint64_t b, bool accumulate) {
  if constexpr (kF16) {
    asm volatile(
        "{.reg .pred p; setp.ne.b32 p, %66, 0;"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%"
        "13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%"
        "37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%"
        "61,%62,%63}, %64, %65, p, 1, 1, 0, %67;"
        "}"
        : LORIKEET_WGMMA_C128(c)
        : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(static_cast<int>(kMnMajorB)));
  } else {
    asm volatile(
        "{.reg .pred p; setp.ne.b32 p, %66, 0;"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12"
        ",%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36"
        ",%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60"
        ",%61,%62,%63}, %64, %65, p, 1, 1, 0, %67;"
        "}"
        : LORIKEET_WGMMA_C128(c)
        : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(static_cast<int>(kMnMajorB)));
  }
}
template <bool kF16, bool kMnMajorB>
__device__ __forceinline__ void Wgmma(float (&c)[16][4], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  if constexpr (kF16) {
    asm volatile(
        "{.reg .pred p; setp.ne.b32 p, %69, 0;"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%"
        "13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%"
        "37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%"
        "61,%62,%63}, {%64,%65,%66,%67}, %68, p, 1, 1, %70;"
        "}"
        : LORIKEET_WGMMA_C128(c)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)),
          "n"(static_cast<int>(kMnMajorB)));
  } else {
    asm volatile(
        "{.reg .pred p; setp.ne.b32 p, %69, 0;"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12"
        ",%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36"
        ",%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60"
        ",%61,%62,%63}, {%64,%65,%66,%67}, %68, p, 1, 1, %70;"
        "}"
        : LORIKEET_WGMMA_C128(c)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)),
          "n"(static_cast<int>(kMnMajorB)));
  }
}

// Waits for all that was committed. It "writes" c, so that no reading of it moves to before.
__device__ __forceinline__ void WgmmaWait(float (&c)[8][4]) {
  asm volatile("wgmma.wait_group.sync.aligned 0;" : LORIKEET_WGMMA_C64(c)::"memory");
}
__device__ __forceinline__ void WgmmaWait(float (&c)[16][4]) {
  asm volatile("wgmma.wait_group.sync.aligned 0;" : LORIKEET_WGMMA_C128(c)::"memory");
}
// Behind the wait: a's registers belong to it until here.
__device__ __forceinline__ void WgmmaKeep(const uint32_t (&a)[4]) {
  asm volatile("" ::"r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]));
}
#endif

#endif  // THIRD_PARTY_CUDA_WGMMA_H_
