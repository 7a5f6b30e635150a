#include "optim/paged_store.h"

#include <pthread.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tensor/check.h"
#include "tensor/kernels/parallel.h"
#include "tensor/shape.h"
#include "tensor/view.h"

namespace lorikeet {
namespace {

constexpr int64_t kSlotsWanted = 16;  // more, smaller pages gain nothing
constexpr int64_t kMinSlots = 2;      // one in use, one on its way
constexpr int64_t kMaxPageBytes = 4 << 20;

// A thread that takes no signals: handlers run where the program expects them.
template <typename F>
std::thread StartQuietThread(F f) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(f));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace

int64_t PagedStore::Plan::codec_bytes() const {
  return static_cast<int64_t>(PageCodec::WorkspaceBytes(static_cast<size_t>(page_bytes())));
}

PagedStore::Plan PagedStore::PlanWithPages(int64_t elements, DType dtype, int64_t page_elements, int64_t budget) {
  Plan plan{elements, page_elements, 0, dtype};
  plan.slots = std::min(plan.pages(), (budget - plan.codec_bytes()) / plan.page_bytes());
  return plan;
}

absl::StatusOr<PagedStore::Plan> PagedStore::MakePlan(int64_t elements, DType dtype, const PagedStoreOptions& options) {
  const int64_t block = BlockElements(dtype), block_bytes = block * 2 * static_cast<int64_t>(SizeOf(dtype));
  LORIKEET_CHECK(elements % block == 0 && options.page_elements % block == 0)
      << "PagedStore: " << elements << " elements in pages of " << options.page_elements;
  int64_t page = options.page_elements;
  if (page == 0) {
    const int64_t bytes = std::min(options.budget_bytes / kSlotsWanted, kMaxPageBytes);
    page = std::max<int64_t>(1, bytes / block_bytes) * block;
  }
  Plan plan = PlanWithPages(elements, dtype, page, options.budget_bytes);
  // The codec's workspace weighs more under a small budget: smaller pages until two are there.
  while (options.page_elements == 0 && plan.slots < kMinSlots && plan.slots < plan.pages() && page > block) {
    page = std::max(block, page / 2 / block * block);
    plan = PlanWithPages(elements, dtype, page, options.budget_bytes);
  }
  if (plan.slots >= std::min(kMinSlots, plan.pages())) return plan;
  const int64_t least = plan.codec_bytes() + std::min(kMinSlots, plan.pages()) * plan.page_bytes();
  return absl::InvalidArgumentError(absl::StrCat("an optimizer budget of ", options.budget_bytes,
                                                 " bytes is too small: ", least, " is the least that works"));
}

absl::StatusOr<std::unique_ptr<PagedStore>> PagedStore::Create(int64_t elements, DType dtype,
                                                               const PagedStoreOptions& options) {
  absl::StatusOr<Plan> plan = MakePlan(elements, dtype, options);
  if (!plan.ok()) return plan.status();
  std::unique_ptr<PageFile> file;
  if (plan->slots < plan->pages()) {
    absl::StatusOr<std::unique_ptr<PageFile>> created =
        CreateTemporaryPageFile(options.directory, elements * plan->element_bytes());
    if (!created.ok()) return created.status();
    file = *std::move(created);
  }
  return std::unique_ptr<PagedStore>(new PagedStore(*plan, std::move(file)));
}

absl::StatusOr<std::unique_ptr<PagedStore>> PagedStore::Create(int64_t elements, DType dtype,
                                                               const PagedStoreOptions& options,
                                                               std::unique_ptr<PageFile> file) {
  absl::StatusOr<Plan> plan = MakePlan(elements, dtype, options);
  if (!plan.ok()) return plan.status();
  return std::unique_ptr<PagedStore>(new PagedStore(*plan, std::move(file)));
}

PagedStore::PagedStore(const Plan& plan, std::unique_ptr<PageFile> file)
    : plan_(plan),
      file_(std::move(file)),
      memory_(Tensor::Empty({plan.bytes()}, DType::kU8, system_)),
      codec_(static_cast<size_t>(plan.page_bytes()), static_cast<char*>(memory_.raw())),
      pages_(static_cast<size_t>(plan.pages())),
      slots_(static_cast<size_t>(plan.slots)) {
  char* next = static_cast<char*>(memory_.raw()) + plan_.codec_bytes();
  for (Slot& slot : slots_) {
    slot.data = next;
    next += plan_.page_bytes();
  }
  thread_ = StartQuietThread([this] { Work(); });
}

PagedStore::~PagedStore() {
  {
    Lock lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

int64_t PagedStore::ElementsOf(int page) const {
  return std::min(plan_.page_elements, plan_.elements - page * plan_.page_elements);
}

absl::Span<char> PagedStore::BytesOf(int page, const Slot& slot) const {
  return {slot.data, static_cast<size_t>(ElementsOf(page) * plan_.element_bytes())};
}

absl::Status PagedStore::Damaged(int page) const {
  return absl::DataLossError(absl::StrCat("optimizer page ", page, " of ", pages_.size(), " in ", file_->where(),
                                          " is damaged: its checksum is wrong; check the disk, and resume from the "
                                          "last checkpoint"));
}

// Callers hold the lock, or know that the thread does not touch the page.
absl::Status PagedStore::CheckStored(int page) const {
  char chunk[PageCodec::kChecksumChunk];
  const Page& entry = pages_[page];
  uint64_t checksum = 0;
  for (int64_t done = 0; done < entry.stored_bytes;) {
    const int64_t n = std::min<int64_t>(sizeof chunk, entry.stored_bytes - done);
    const absl::Span<char> bytes(chunk, static_cast<size_t>(n));
    if (absl::Status read = file_->Read(OffsetOf(page) + done, bytes); !read.ok()) return read;
    checksum = PageCodec::Checksum(bytes, checksum);
    done += n;
  }
  return checksum == entry.checksum ? absl::OkStatus() : Damaged(page);
}

absl::Status PagedStore::Verify() {
  Lock lock(mutex_);
  done_.wait(lock, [&] { return queue_.empty() && !working_; });
  if (!write_error_.ok()) return write_error_;
  std::vector<int> stored;
  for (size_t i = 0; i < pages_.size(); ++i) {
    if (pages_[i].slot < 0 && pages_[i].stored_bytes > 0) stored.push_back(static_cast<int>(i));
  }
  std::vector<absl::Status> found(stored.size());
  ParallelFor(static_cast<int64_t>(stored.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) found[i] = CheckStored(stored[i]);
  });
  for (const absl::Status& status : found) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

void PagedStore::Prefetch(int page) {
  Lock lock(mutex_);
  Page& entry = pages_[page];
  if (entry.slot >= 0 || entry.queued) return;
  entry.queued = true;
  queue_.push_back(page);
  wake_.notify_one();
}

absl::StatusOr<StatePage> PagedStore::Acquire(int page) {
  LORIKEET_CHECK(page >= 0 && page < num_pages()) << "PagedStore: page " << page << " of " << num_pages();
  Lock lock(mutex_);
  Page& entry = pages_[page];
  const auto ready = [&] { return entry.slot >= 0 && !slots_[entry.slot].busy; };
  ++(ready() ? stats_.hits : stats_.waits);
  while (!ready()) {
    if (failed_page_ == page) {
      failed_page_ = -1;
      return std::exchange(load_error_, absl::OkStatus());
    }
    if (entry.slot < 0 && !entry.queued) {
      entry.queued = true;
      queue_.push_front(page);
      wake_.notify_one();
    }
    done_.wait(lock);
  }
  Slot& slot = slots_[entry.slot];
  LORIKEET_CHECK(!slot.pinned) << "PagedStore: page " << page << " was acquired twice";
  slot.pinned = true;
  return PageAt(slot.data, page * plan_.page_elements, ElementsOf(page), plan_.dtype);
}

void PagedStore::Release(int page, bool modified) {
  Lock lock(mutex_);
  Slot& slot = slots_[pages_[page].slot];
  LORIKEET_CHECK(slot.pinned) << "PagedStore: page " << page << " was not acquired";
  slot.pinned = false;
  slot.dirty = slot.dirty || modified;
  slot.used_at = ++clock_;
  wake_.notify_one();
}

void PagedStore::Work() {
  Lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [&] { return stop_ || !queue_.empty() || ShouldWriteBack(); });
    if (stop_) return;
    working_ = true;
    if (queue_.empty()) {
      WriteBack(LeastRecentlyUsed(/*dirty_only=*/true), lock);
    } else {
      const int page = queue_.front();
      queue_.pop_front();
      Load(page, lock);
    }
    working_ = false;
    done_.notify_all();
  }
}

// One place is kept ready: free, or of a page that is the same in the file.
bool PagedStore::ShouldWriteBack() const {
  if (slots_.size() == pages_.size() || !write_error_.ok()) return false;
  bool dirty = false;
  for (const Slot& slot : slots_) {
    if (slot.page < 0 || (slot.evictable() && !slot.dirty)) return false;
    dirty = dirty || slot.evictable();
  }
  return dirty;
}

int PagedStore::LeastRecentlyUsed(bool dirty_only) const {
  int best = -1;
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (!slots_[i].evictable() || (dirty_only && !slots_[i].dirty)) continue;
    if (best < 0 || slots_[i].used_at < slots_[best].used_at) best = static_cast<int>(i);
  }
  return best;
}

// A free slot, its page gone to the file if need be.
int PagedStore::MakeRoom(Lock& lock) {
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].page < 0) return static_cast<int>(i);
  }
  // After a failed write only clean pages can go.
  int victim = LeastRecentlyUsed(/*dirty_only=*/false);
  if (!write_error_.ok()) {
    victim = -1;
    for (size_t i = 0; i < slots_.size() && victim < 0; ++i) {
      if (slots_[i].evictable() && !slots_[i].dirty) victim = static_cast<int>(i);
    }
  }
  if (victim >= 0 && slots_[victim].dirty && !WriteBack(victim, lock)) victim = -1;
  if (victim < 0) return AddSlotAboveBudget();
  pages_[slots_[victim].page].slot = -1;
  slots_[victim].page = -1;
  return victim;
}

int PagedStore::AddSlotAboveBudget() {
  above_budget_.push_back(Tensor::Empty({plan_.page_bytes()}, DType::kU8, system_));
  slots_.emplace_back();
  slots_.back().data = static_cast<char*>(above_budget_.back().raw());
  return static_cast<int>(slots_.size()) - 1;
}

void PagedStore::Load(int page, Lock& lock) {
  const int index = MakeRoom(lock);
  Slot& slot = slots_[index];
  slot.page = page;
  slot.busy = true;
  slot.dirty = false;
  slot.used_at = ++clock_;
  pages_[page].slot = index;
  const Page entry = pages_[page];
  const absl::Span<char> bytes = BytesOf(page, slot);
  lock.unlock();
  absl::Status fetched = Fetch(entry, page, bytes);
  lock.lock();
  slot.busy = false;
  pages_[page].queued = false;
  stats_.read_bytes += entry.stored_bytes;
  if (fetched.ok()) return;
  slot.page = -1;
  pages_[page].slot = -1;
  failed_page_ = page;
  load_error_ = std::move(fetched);
}

absl::Status PagedStore::Fetch(const Page& page, int index, absl::Span<char> out) {
  if (page.stored_bytes == 0) {
    std::memset(out.data(), 0, out.size());
    return absl::OkStatus();
  }
  const absl::Span<char> stored(page.compressed ? codec_.buffer() : out.data(), static_cast<size_t>(page.stored_bytes));
  if (absl::Status read = file_->Read(OffsetOf(index), stored); !read.ok()) return read;
  if (PageCodec::Checksum(stored) != page.checksum) return Damaged(index);
  if (page.compressed && !codec_.Decode(stored, out)) return Damaged(index);
  return absl::OkStatus();
}

bool PagedStore::WriteBack(int index, Lock& lock) {
  Slot& slot = slots_[index];
  const int page = slot.page;
  slot.busy = true;
  lock.unlock();
  const PageCodec::Stored stored = codec_.Encode(BytesOf(page, slot));
  absl::Status written = file_->Write(OffsetOf(page), stored.bytes);
  lock.lock();
  slot.busy = false;
  if (!written.ok()) {
    write_error_ = std::move(written);
    return false;
  }
  slot.dirty = false;
  pages_[page].stored_bytes = static_cast<int64_t>(stored.bytes.size());
  pages_[page].checksum = stored.checksum;
  pages_[page].compressed = stored.compressed;
  stats_.written_bytes += pages_[page].stored_bytes;
  ++(stored.compressed ? stats_.compressed_pages : stats_.raw_pages);
  return true;
}

int64_t PagedStore::resident_bytes() const {
  Lock lock(mutex_);
  return plan_.bytes() + static_cast<int64_t>(above_budget_.size()) * plan_.page_bytes();
}

PagedStore::Stats PagedStore::stats() const {
  Lock lock(mutex_);
  Stats stats = stats_;
  stats.pages = static_cast<int64_t>(pages_.size());
  stats.slots = static_cast<int64_t>(slots_.size());
  return stats;
}

std::string PagedStore::Report() const {
  const Stats s = stats();
  return absl::StrCat("optimizer state: ", s.slots, " of ", s.pages, " pages of ", plan_.page_bytes() / 1000,
                      " kB in memory; ", s.written_bytes / 1000000, " MB written (", s.compressed_pages, " of ",
                      s.compressed_pages + s.raw_pages, " pages compressed), ", s.read_bytes / 1000000, " MB read; ",
                      s.waits, " of ", s.hits + s.waits, " page uses waited for the disk");
}

}  // namespace lorikeet
