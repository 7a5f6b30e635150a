// Rows by index: the contract of a backend.
//
//   gather_rows       y[i] = table[ids[i]]          any dtype, the same for table and y
//   scatter_rows          table[ids[i]] = x[i]          any dtype, the same for table and x; no id twice
//   scatter_add_rows  dtable[ids[i]] += dy[i]       dtable f32 or f64, dy any float dtype
//
// table, dtable [v, d]; ids [n] i32, contiguous; x, y, dy [n, d]. Rows may be any distance apart, but are contiguous in
// themselves. An id outside [0, v) ends the process. Equal ids add in the order of i, so the bits are always the same.
#ifndef LORIKEET_TENSOR_KERNELS_GATHER_H_
#define LORIKEET_TENSOR_KERNELS_GATHER_H_

#include "tensor/kernels/launch.h"
#include "tensor/view.h"

namespace lorikeet {

struct GatherKernels {
  void (*gather_rows)(View table, View ids, View y, LaunchContext) = nullptr;
  void (*scatter_rows)(View x, View ids, View table, LaunchContext) = nullptr;
  void (*scatter_add_rows)(View dy, View ids, View dtable, LaunchContext) = nullptr;
};

extern const GatherKernels kCpuGather;
extern const GatherKernels kCudaGather;

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_KERNELS_GATHER_H_
