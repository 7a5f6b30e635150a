// GradientSum: the gradients of all ranks, added up where they lie. After a step's last backward pass each rank has the
// gradient of its own rows; after Add every rank has that of all rows, to the same bits.
//
//   GradientSum sum(&ranks, parameters);
//   ... backward passes ...
//   if (absl::Status s = sum.Add({loss}); !s.ok()) return s;        // DeadlineExceeded: a rank is lost
//   optimizer.Step(rate);                                           // the same update everywhere
//
// A parameter that no rank has a gradient for is left without; one that some lack is 0 there. With an NcclSum, sums go
// from GPU to GPU and the host does not wait for them. Without, a GPU's go through pinned host memory and the host
// waits for what was launched before: good enough for adapters, whose gradients are a hundredth of the model. Memory:
// 16 MiB on the host. All is f32. Ownership: what is given outlives it. Threads: one.
#ifndef LORIKEET_APPS_PARALLEL_GRADIENT_SUM_H_
#define LORIKEET_APPS_PARALLEL_GRADIENT_SUM_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "apps/parallel/nccl_sum.h"
#include "apps/parallel/ranks.h"
#include "autograd/parameter.h"
#include "tensor/cuda_memory.h"
#include "tensor/tensor.h"

namespace lorikeet {

class GradientSum {
 public:
  // `nccl` may be null.
  GradientSum(Ranks* ranks, std::vector<Parameter*> parameters, NcclSum* nccl = nullptr);
  // `others`: further tensors, of the same sizes on all ranks, where the gradients are.
  absl::Status Add(const std::vector<Tensor>& others = {});

 private:
  struct Piece {  // of a tensor, and where it is in the buffer
    float* values;
    int64_t elements, offset;
  };
  absl::Status FillIn();
  std::vector<Piece> NextPieces(const std::vector<Tensor>& tensors, size_t* tensor, int64_t* element) const;
  void Copy(const std::vector<Piece>& pieces, bool to_buffer);

  Ranks* ranks_;
  std::vector<Parameter*> parameters_;
  NcclSum* nccl_;
  bool cuda_ = false;
  PinnedAllocator pinned_;
  Tensor buffer_;  // on the host
};

}  // namespace lorikeet

#endif  // LORIKEET_APPS_PARALLEL_GRADIENT_SUM_H_
