// SegmentTable: many small arrays as one launch's parameter, so that hundreds of them need neither a launch each nor
// memory for a list.
//
//   SegmentTable<Pointers, 48> table;
//   table.Add(pointers, blocks);  ...  until Full()          // then launch with table.blocks() blocks, and Clear()
//   const Pointers& s = table.Find(blockIdx.x, &block);      // in the kernel: whose block is it, and its number there
//
// Parameters are copied with the launch; 4 kB is what one could always carry. Only for .cu files.
#ifndef LORIKEET_TENSOR_KERNELS_SEGMENT_TABLE_CUDA_H_
#define LORIKEET_TENSOR_KERNELS_SEGMENT_TABLE_CUDA_H_

#include <cstdint>

#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {

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
  void Clear() { count = 0; }
  // By bisection.
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

#endif  // LORIKEET_TENSOR_KERNELS_SEGMENT_TABLE_CUDA_H_
