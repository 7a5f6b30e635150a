// What this processor can do at most, measured: the anchors of every "fraction of peak" that is printed.
//
//   const double peak = MeasurePeakFlops(DType::kBF16, NumThreads());   // FLOP/s
//
// Threads: changes the number of threads of parallel loops while it runs, so no loop may run beside it. Each call
// takes some 50 ms and returns the best of several rounds, since other processes only ever slow it down.
#ifndef LORIKEET_TENSOR_KERNELS_PEAK_H_
#define LORIKEET_TENSOR_KERNELS_PEAK_H_

#include "tensor/dtype.h"

namespace lorikeet {

// Multiplications and additions a second of the instruction that products of this dtype use, on registers only: f32
// fused multiply-add, or for bf16 AMX's product of tiles or the dot instruction where there is one.
double MeasurePeakFlops(DType dtype, int threads);

// Bytes a second, read and written both counted, of copying between buffers that no cache holds.
double MeasureCopyBandwidth(int threads);

// Bytes a second of reading, with everything else done in registers, what no cache holds.
double MeasureReadBandwidth(int threads);

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_KERNELS_PEAK_H_
