// PagedStore: the moments under a budget of memory. A few pages are in memory, the others in a temporary file.
//
//   absl::StatusOr<std::unique_ptr<PagedStore>> store =
//       PagedStore::Create(StateElements(parameters), DType::kF32,
//                          {.budget_bytes = 64 << 20, .directory = "/var/tmp"});
//   AdamW optimizer(parameters, options, *std::move(store));
//
// What the budget covers: the pages in memory, the buffer for compressed bytes, and zstd's contexts, all cut from one
// allocation of at most budget_bytes that is made at once, straight from the system (resident_bytes() tells it,
// HostMemory() does not). Beside it there are 48 bytes a page of bookkeeping, a 64 kB buffer on the stack of each
// thread that verifies, and, outside the process, the kernel's cache of the file, which it gives up when memory is
// short. The file takes the whole state (8 bytes an element in f32, 2 in u8) on disk, reserved at once.
//
// One thread does all input and output. It reads pages ahead (Prefetch) and writes changed ones back before their place
// is needed. The page that was used longest ago makes room, so a walk that turns around finds its last pages in memory.
// Page format: page_codec.h. Results are those of a ResidentStore, bit for bit.
//
// Failures. Create: budget too small (InvalidArgument, with the least that works), no room on the disk
// (ResourceExhausted), no such directory. Verify reads every page that is not in memory and compares its checksum: a
// damaged or missing one is DataLoss, before an update touches anything. If a write fails in the middle of a walk (a
// disk that could not reserve), the page stays in memory, above the budget, so that the walk can end; nothing is
// written from then on, and the next Verify returns that error. The state is whole then, and can be saved. Threads: as
// StateStore; the store must not be used in a forked child.
#ifndef LORIKEET_OPTIM_PAGED_STORE_H_
#define LORIKEET_OPTIM_PAGED_STORE_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "optim/page_codec.h"
#include "optim/page_file.h"
#include "optim/state_store.h"
#include "tensor/default_allocator.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace lorikeet {

struct PagedStoreOptions {
  int64_t budget_bytes = 0;
  std::string directory;      // for the file; not used if the budget holds everything
  int64_t page_elements = 0;  // 0: chosen, so that about a sixteenth of the budget is one page
};

class PagedStore : public StateStore {
 public:
  static absl::StatusOr<std::unique_ptr<PagedStore>> Create(int64_t elements, DType dtype,
                                                            const PagedStoreOptions& options);
  // With a given file, of elements * 2 * SizeOf(dtype) bytes.
  static absl::StatusOr<std::unique_ptr<PagedStore>> Create(int64_t elements, DType dtype,
                                                            const PagedStoreOptions& options,
                                                            std::unique_ptr<PageFile> file);
  ~PagedStore() override;

  int64_t elements() const override { return plan_.elements; }
  int64_t page_elements() const override { return plan_.page_elements; }
  DType dtype() const override { return plan_.dtype; }
  absl::Status Verify() override;
  void Prefetch(int page) override;
  absl::StatusOr<StatePage> Acquire(int page) override;
  void Release(int page, bool modified) override;
  int64_t resident_bytes() const override;
  std::string Report() const override;

  struct Stats {
    int64_t pages = 0, slots = 0;                 // of the state; in memory
    int64_t hits = 0, waits = 0;                  // Acquires that found the page there; that had to wait for it
    int64_t read_bytes = 0, written_bytes = 0;    // of the file, checks not counted
    int64_t raw_pages = 0, compressed_pages = 0;  // as written
  };
  Stats stats() const;

 private:
  struct Plan {
    int64_t elements, page_elements, slots;
    DType dtype;
    int64_t element_bytes() const { return 2 * static_cast<int64_t>(SizeOf(dtype)); }  // of m and v
    int64_t page_bytes() const { return page_elements * element_bytes(); }
    int64_t pages() const { return (elements + page_elements - 1) / page_elements; }
    int64_t codec_bytes() const;
    int64_t bytes() const { return codec_bytes() + slots * page_bytes(); }
  };
  struct Page {
    int slot = -1;             // -1: in the file
    int64_t stored_bytes = 0;  // 0: never written, all zeros
    uint64_t checksum = 0;
    bool compressed = false, queued = false;
  };
  struct Slot {
    char* data = nullptr;
    int page = -1;  // -1: free
    bool busy = false, pinned = false, dirty = false;
    int64_t used_at = 0;
    bool evictable() const { return page >= 0 && !busy && !pinned; }
  };
  using Lock = std::unique_lock<std::mutex>;

  static absl::StatusOr<Plan> MakePlan(int64_t elements, DType dtype, const PagedStoreOptions& options);
  static Plan PlanWithPages(int64_t elements, DType dtype, int64_t page_elements, int64_t budget);
  PagedStore(const Plan& plan, std::unique_ptr<PageFile> file);

  int64_t ElementsOf(int page) const;
  absl::Span<char> BytesOf(int page, const Slot& slot) const;
  int64_t OffsetOf(int page) const { return page * plan_.page_bytes(); }
  absl::Status Damaged(int page) const;
  absl::Status CheckStored(int page) const;

  // The thread. Those that take the lock let go of it during input and output.
  void Work();
  bool ShouldWriteBack() const;
  int LeastRecentlyUsed(bool dirty_only) const;
  int MakeRoom(Lock& lock);
  int AddSlotAboveBudget();
  void Load(int page, Lock& lock);
  absl::Status Fetch(const Page& page, int index, absl::Span<char> out);
  bool WriteBack(int slot, Lock& lock);

  const Plan plan_;
  const std::unique_ptr<PageFile> file_;
  SystemAllocator system_;  // exact sizes, not rounded to a cache's
  Tensor memory_;           // u8: the codec's workspace, then the slots
  PageCodec codec_;
  std::vector<Tensor> above_budget_;

  mutable std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::vector<Page> pages_;
  std::vector<Slot> slots_;
  std::deque<int> queue_;  // pages to load
  int64_t clock_ = 0;
  bool working_ = false, stop_ = false;
  int failed_page_ = -1;  // whose load failed with
  absl::Status load_error_;
  absl::Status write_error_;
  Stats stats_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace lorikeet

#endif  // LORIKEET_OPTIM_PAGED_STORE_H_
