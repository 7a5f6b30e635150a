// What AdamW's CUDA kernels share: the update of one element, and a table of segments that fits a kernel's parameters.
//
//   SegmentTable<AdamWPointers> table;  ... table.Add(pointers, blocks) until Full(), launch, Clear() ...
//   const auto& s = table.Find(blockIdx.x, &first);                 // in the kernel: whose block is it?
//
// Parameters are copied with the launch, so a step over hundreds of small matrices needs neither scratch memory nor a
// copy of its own. Compile with -fmad=false: the contract rounds after each operation. Only for .cu files.
#ifndef LORIKEET_TENSOR_KERNELS_ADAMW_CUDA_H_
#define LORIKEET_TENSOR_KERNELS_ADAMW_CUDA_H_

#include <cmath>
#include <cstdint>

#include "tensor/kernels/adamw_constants.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {

__device__ inline void UpdateElement(const AdamWConstants<float>& c, float g, float& p, float& m, float& v) {
  m = c.beta1 * m + c.one_minus_beta1 * g;
  v = c.beta2 * v + c.one_minus_beta2 * g * g;
  p = p * c.keep - c.rate * m / (sqrtf(v) + c.eps);
}

// Entries and the blocks of a grid that each gets.
template <typename Entry, int kCapacity>
struct SegmentTable {
  Entry entry[kCapacity];
  uint32_t blocks_before[kCapacity + 1] = {};
  int32_t count = 0;

  bool Full() const { return count == kCapacity; }
  __host__ __device__ uint32_t blocks() const { return blocks_before[count]; }
  void Add(const Entry& e, int64_t blocks) {
    entry[count] = e;
    blocks_before[count + 1] = blocks_before[count] + static_cast<uint32_t>(blocks);
    ++count;
  }
  // The segment of a block, by bisection; `in_segment` becomes the block's number there.
  __device__ const Entry& Find(uint32_t block, uint32_t* in_segment) const {
    int low = 0, high = count;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      (blocks_before[middle] <= block ? low : high) = middle;
    }
    *in_segment = block - blocks_before[low];
    return entry[low];
  }
};

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_ADAMW_CUDA_H_
