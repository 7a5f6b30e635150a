// CudaPagedStore: the moments of a model on the GPU, in the host's memory. A few pages are on the device, the others in
// pinned memory, and copies run beside the update.
//
//   absl::StatusOr<std::unique_ptr<CudaPagedStore>> store =
//       CudaPagedStore::Create(StateElements(parameters), DType::kF32, {.budget_bytes = 256 << 20});
//   AdamW optimizer(parameters, options, *std::move(store));
//
// Memory: pages ("slots") of at most budget_bytes on the device, allocated at once, and the whole state pinned in the
// host's memory (8 bytes an element in f32, 2 in u8). Nothing is on a disk, so Verify has nothing to find.
//
// No call waits for the device. Pages come in on one stream and go out on another, so that both directions of the bus
// are used, and events order them with the update on ComputeStream(): a page is used after it came, leaves after the
// update, and its slot is filled after it left. With three slots or more one page comes, one is worked on and one goes.
// The page that was used longest ago makes room; an unchanged one is not copied back. A walk that turns around finds
// its last pages on the device. Results are those of a ResidentStore, bit for bit.
//
// Failures, of Create only: no GPU (Unavailable), a budget too small (InvalidArgument, with the least that
// works), no host memory that can be pinned (ResourceExhausted). Without room for the slots the process ends, as for
// any tensor. Threads: as StateStore.
#ifndef LORIKEET_OPTIM_CUDA_PAGED_STORE_H_
#define LORIKEET_OPTIM_CUDA_PAGED_STORE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "optim/state_store.h"
#include "tensor/cuda_memory.h"
#include "tensor/cuda_stream.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace lorikeet {

struct CudaPagedStoreOptions {
  int64_t budget_bytes = 0;   // of device memory
  int64_t page_elements = 0;  // 0: chosen, so that about an eighth of the budget is one page
};

class CudaPagedStore : public StateStore {
 public:
  static absl::StatusOr<std::unique_ptr<CudaPagedStore>> Create(int64_t elements, DType dtype,
                                                                const CudaPagedStoreOptions& options);
  ~CudaPagedStore() override;

  int64_t elements() const override { return plan_.elements; }
  int64_t page_elements() const override { return plan_.page_elements; }
  DType dtype() const override { return plan_.dtype; }
  Device device() const override { return Cuda(0); }
  void Prefetch(int page) override;
  absl::StatusOr<StatePage> Acquire(int page) override;
  void Release(int page, bool modified) override;
  int64_t resident_bytes() const override { return memory_.nbytes(); }  // of the device
  std::string Report() const override;

  struct Stats {
    int64_t hits = 0, loads = 0;          // Acquires that found the page on the device; pages copied to it
    int64_t bytes_in = 0, bytes_out = 0;  // to the device; back
  };
  const Stats& stats() const { return stats_; }

 private:
  struct Plan {
    int64_t elements, page_elements, slots;
    DType dtype;
    int64_t element_bytes() const { return 2 * static_cast<int64_t>(SizeOf(dtype)); }  // of m and v
    int64_t page_bytes() const { return page_elements * element_bytes(); }
    int64_t pages() const { return (elements + page_elements - 1) / page_elements; }
  };
  struct Slot {
    char* data = nullptr;
    int page = -1;  // -1: free
    bool acquired = false, dirty = false;
    int64_t used_at = 0;
    CudaEvent arrived, used, left;  // the last copy in, the last update, the last copy out
  };

  static absl::StatusOr<Plan> MakePlan(int64_t elements, DType dtype, const CudaPagedStoreOptions& options);
  CudaPagedStore(const Plan& plan, char* host);

  int64_t ElementsOf(int page) const;
  size_t BytesOf(int page) const { return static_cast<size_t>(ElementsOf(page) * plan_.element_bytes()); }
  char* HostOf(int page) const { return host_ + page * plan_.page_bytes(); }
  Slot& MakeRoom();
  void Load(int page);
  void WriteBack(Slot& slot);

  const Plan plan_;
  PinnedAllocator pinned_;
  char* const host_;          // all pages, each m and then v
  Tensor memory_;             // u8: the slots
  std::vector<int> slot_of_;  // of each page; -1: in the host's memory only
  std::vector<Slot> slots_;
  int64_t clock_ = 0;
  Stats stats_;
  CudaStream in_, out_;  // last: their ends wait for copies from and to all of the above
};

}  // namespace lorikeet

#endif  // LORIKEET_OPTIM_CUDA_PAGED_STORE_H_
