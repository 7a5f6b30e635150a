// Loops of nothing but one instruction. Included by a file with its own instruction set: declarations only.
#ifndef LORIKEET_TENSOR_KERNELS_PEAK_LOOPS_H_
#define LORIKEET_TENSOR_KERNELS_PEAK_LOOPS_H_

#include <cstdint>

namespace lorikeet::internal {

inline constexpr int kPeakChains = 12;  // independent sums, more than any processor's latency times its units

// Run kPeakChains instructions `rounds` times; they return FLOPs done. *sink keeps the work from being optimised away.
double LoopBF16Dot(int64_t rounds, float* sink);  // AVX512_BF16
double LoopBF16Amx(int64_t rounds, float* sink);  // half as many, for that is all its tiles
double LoopF32(int64_t rounds, float* sink);      // fused multiply-add of the best instruction set

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_PEAK_LOOPS_H_
