// Scratch memory of a thread: kept and reused, so that kernels neither allocate nor take page faults in every call.
//
//   float* panel = static_cast<float*>(ThreadScratch(kScratchPanel, 64 * k * sizeof(float)));
//
// One buffer per slot and thread, aligned to 64 bytes, contents undefined. It is valid until the same thread asks for
// the same slot again, and freed with the thread. A slot has one user, so that kernels inside kernels do not collide.
#ifndef LORIKEET_TENSOR_KERNELS_SCRATCH_H_
#define LORIKEET_TENSOR_KERNELS_SCRATCH_H_

#include <cstddef>

namespace lorikeet {

enum ScratchSlot {
  kScratchPanel,          // matmul: one packed panel, or a block of decoded weights
  kScratchSums,           // matmul: sums between blocks of k
  kScratchRows,           // matmul: rows on their way into a panel, converted
  kScratchDecoded,        // matmul: rows on their way into a panel, decoded
  kScratchShared,         // matmul: a whole operand's panels, in the thread that started the product
  kScratchSharedPanels,   // matmul: the other operand's
  kScratchAttention,      // attention: the tiles and panels of a task
  kScratchAttentionSums,  // attention: dq on its way, in the thread that started the pass
  kScratchSlots
};

void* ThreadScratch(ScratchSlot slot, size_t bytes);

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_KERNELS_SCRATCH_H_
