// Tensor-core and asynchronous-copy instructions on the simulator, register by register as the PTX ISA lays them out:
// mma.sync.m16n8k16, ldmatrix, cp.async. third_party/cuda/mma.h has the same functions for nvcc, and says what they do.
//
// The sums of an mma are in f32, over k in ascending order; a device may add in another order. A copy happens when its
// thread waits for it, not before: what is read too early is still poison.
#ifndef CUSIM_CUSIM_MMA_H_
#define CUSIM_CUSIM_MMA_H_

#include <cstdint>

#include "third_party/cusim/cusim.h"

namespace cusim {

uint32_t PackBF16(float low, float high);
uint32_t PackF16(float low, float high);
float HalfToFloat(bool f16, uint16_t bits);
void Mma(bool f16, float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);

// What a lane brings to ldmatrix: the row at its address, and gets: one register per matrix.
struct MatrixLane {
  int count;
  bool transposed;
  uint16_t row[8];
  uint32_t* registers;
};
void LoadMatrices(MatrixLane* lane);

// cp.async of the calling thread. NextDue hands out what a wait for all but the latest `pending` groups has to copy.
struct AsyncCopy {
  char* to;
  const char* from;
  int bytes;
};
void QueueCopy(const AsyncCopy& copy);
void CommitCopies();
bool NextDue(int pending, AsyncCopy* copy);

[[noreturn]] void Misaligned(const char* instruction, const void* p);
inline void ExpectAligned(const char* instruction, const void* p) {
  if (reinterpret_cast<uintptr_t>(p) % 16 != 0) Misaligned(instruction, p);
}

}  // namespace cusim

inline uint32_t PackBF16(float low, float high) { return cusim::PackBF16(low, high); }
inline uint32_t PackF16(float low, float high) { return cusim::PackF16(low, high); }
inline void MmaBF16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  cusim::Mma(false, c, a, b0, b1);
}
inline void MmaF16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) { cusim::Mma(true, c, a, b0, b1); }

// The row is read here, by the lane whose address it is, so that ThreadSanitizer sees who read it.
template <bool kTransposed, int kCount>
inline void LoadMatrix(uint32_t (&r)[kCount], const void* shared) {
  static_assert(kCount == 1 || kCount == 2 || kCount == 4);
  cusim::MatrixLane lane{.count = kCount, .transposed = kTransposed, .row = {}, .registers = r};
  if (cusim::LaneId() < 8 * kCount) {
    cusim::ExpectAligned("ldmatrix", shared);
    for (int i = 0; i < 8; ++i) lane.row[i] = static_cast<const uint16_t*>(shared)[i];
  }
  cusim::LoadMatrices(&lane);
}

inline void CopyAsync16(void* shared, const void* global, int bytes = 16) {
  cusim::ExpectAligned("cp.async", shared);
  cusim::ExpectAligned("cp.async", global);
  cusim::QueueCopy({static_cast<char*>(shared), static_cast<const char*>(global), bytes});
}
inline void CommitCopies() { cusim::CommitCopies(); }
template <int kPending>
inline void WaitForCopies() {
  cusim::AsyncCopy copy;
  while (cusim::NextDue(kPending, &copy)) {
    for (int i = 0; i < 16; ++i) copy.to[i] = i < copy.bytes ? copy.from[i] : 0;
  }
}

#endif  // CUSIM_CUSIM_MMA_H_
