// NcclSum: sums over ranks that have a GPU each, from GPU to GPU, without the host.
//
//   absl::StatusOr<std::unique_ptr<NcclSum>> sum = NcclSum::Create(ranks, OpenNccl(), CudaDeviceAddress());
//   if (sum.ok() && *sum != nullptr) ...                    // null: through the host, then
//   (*sum)->Add({a, b});                                    // launched on ComputeStream(); every rank: the same bits
//
// Tensors are f32, contiguous, on the device, and as many and as large on every rank. NCCL chooses the order in which
// it adds, by the ranks' number and wires. A GPU waits for the others without limit. So see that ranks meet on the
// host, too (ranks.h), before each sum: that tells of a process that hangs, and Abort ends what its GPU would wait for.
// A GPU that hangs itself is not noticed. Where two ranks share a GPU, NCCL refuses; where a rank has no NCCL, there is
// none for any. Create is called by all ranks and has the same answer on all. Errors: an error of NCCL ends the
// process. Ownership: `library` outlives it. Threads: one.
#ifndef LORIKEET_APPS_PARALLEL_NCCL_SUM_H_
#define LORIKEET_APPS_PARALLEL_NCCL_SUM_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "apps/parallel/nccl_library.h"
#include "apps/parallel/ranks.h"
#include "tensor/tensor.h"

namespace lorikeet {

class NcclSum {
 public:
  // `gpu`: which one of its machine this rank has. DeadlineExceeded: a rank is lost.
  static absl::StatusOr<std::unique_ptr<NcclSum>> Create(Ranks& ranks, const NcclLibrary* library,
                                                         const std::string& gpu);
  ~NcclSum() { Abort(); }
  NcclSum(const NcclSum&) = delete;
  NcclSum& operator=(const NcclSum&) = delete;

  void Add(const std::vector<Tensor>& tensors);
  // What was launched and is not done ends as it is, with any values; there are no further sums.
  void Abort();

 private:
  NcclSum(const NcclLibrary& library, void* communicator) : library_(library), communicator_(communicator) {}
  void Check(int result) const;

  const NcclLibrary& library_;
  void* communicator_;
};

}  // namespace lorikeet

#endif  // LORIKEET_APPS_PARALLEL_NCCL_SUM_H_
