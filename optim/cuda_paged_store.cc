#include "optim/cuda_paged_store.h"

#include <algorithm>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tensor/check.h"

namespace lorikeet {
namespace {

constexpr int64_t kSlotsWanted = 8;
constexpr int64_t kMinSlots = 2;             // one in use, one on its way
constexpr int64_t kMaxPageBytes = 16 << 20;  // larger copies are no faster

}  // namespace

absl::StatusOr<CudaPagedStore::Plan> CudaPagedStore::MakePlan(int64_t elements, DType dtype,
                                                              const CudaPagedStoreOptions& options) {
  const int64_t block = BlockElements(dtype);
  LORIKEET_CHECK(elements % block == 0 && options.page_elements % block == 0)
      << "CudaPagedStore: " << elements << " elements in pages of " << options.page_elements;
  Plan plan{elements, options.page_elements, 0, dtype};
  if (plan.page_elements == 0) {
    const int64_t bytes = std::min(options.budget_bytes / kSlotsWanted, kMaxPageBytes);
    plan.page_elements = std::max<int64_t>(1, bytes / (block * plan.element_bytes())) * block;
  }
  plan.slots = std::min(plan.pages(), options.budget_bytes / plan.page_bytes());
  const int64_t least = std::min(kMinSlots, plan.pages());
  if (plan.slots >= least) return plan;
  return absl::InvalidArgumentError(absl::StrCat("an optimizer budget of ", options.budget_bytes,
                                                 " bytes on the GPU is too small: ", least * plan.page_bytes(),
                                                 " is the least that works"));
}

absl::StatusOr<std::unique_ptr<CudaPagedStore>> CudaPagedStore::Create(int64_t elements, DType dtype,
                                                                       const CudaPagedStoreOptions& options) {
  if (!CudaUnavailable().empty()) {
    return absl::UnavailableError(absl::StrCat("no optimizer state on the GPU: ", CudaUnavailable()));
  }
  const absl::StatusOr<Plan> plan = MakePlan(elements, dtype, options);
  if (!plan.ok()) return plan.status();
  const int64_t bytes = plan->pages() * plan->page_bytes();
  void* const host = PinnedAllocator().Allocate(static_cast<size_t>(bytes));
  if (host == nullptr && bytes > 0) {
    return absl::ResourceExhaustedError(absl::StrCat("cannot pin ", bytes,
                                                     " bytes of host memory for the optimizer's state; an 8-bit "
                                                     "optimizer needs a quarter of what float32 does"));
  }
  return std::unique_ptr<CudaPagedStore>(new CudaPagedStore(*plan, static_cast<char*>(host)));
}

CudaPagedStore::CudaPagedStore(const Plan& plan, char* host)
    : plan_(plan),
      host_(host),
      memory_(Tensor::Empty({plan.slots * plan.page_bytes()}, DType::kU8, Cuda(0))),
      slot_of_(static_cast<size_t>(plan.pages()), -1),
      slots_(static_cast<size_t>(plan.slots)) {
  std::memset(host_, 0, static_cast<size_t>(plan_.pages() * plan_.page_bytes()));
  char* next = static_cast<char*>(memory_.raw());
  for (Slot& slot : slots_) {
    slot.data = next;
    next += plan_.page_bytes();
  }
  // The slots' memory may have been another tensor's, which kernels given before still use.
  in_.Wait(CudaEvent::Of(ComputeStream()));
}

CudaPagedStore::~CudaPagedStore() {
  in_.Synchronize();
  out_.Synchronize();
  pinned_.Free(host_, static_cast<size_t>(plan_.pages() * plan_.page_bytes()));
}

int64_t CudaPagedStore::ElementsOf(int page) const {
  return std::min(plan_.page_elements, plan_.elements - page * plan_.page_elements);
}

// A slot that no caller holds: a free one, or that of the page that was used longest ago.
CudaPagedStore::Slot& CudaPagedStore::MakeRoom() {
  Slot* best = nullptr;
  for (Slot& slot : slots_) {
    if (slot.acquired) continue;
    if (best == nullptr || (slot.page < 0 ? -1 : slot.used_at) < (best->page < 0 ? -1 : best->used_at)) best = &slot;
  }
  LORIKEET_CHECK(best != nullptr) << "CudaPagedStore: all " << slots_.size() << " pages on the device are in use";
  if (best->page < 0) return *best;
  if (best->dirty) WriteBack(*best);
  slot_of_[best->page] = -1;
  best->page = -1;
  return *best;
}

void CudaPagedStore::WriteBack(Slot& slot) {
  out_.Wait(slot.used);
  out_.Copy(HostOf(slot.page), slot.data, BytesOf(slot.page));
  slot.left.Record(out_);
  slot.dirty = false;
  stats_.bytes_out += static_cast<int64_t>(BytesOf(slot.page));
}

void CudaPagedStore::Load(int page) {
  Slot& slot = MakeRoom();
  in_.Wait(slot.used);  // for the one that was there, and did not change
  in_.Wait(slot.left);  // and for one that did: later copies in, which may be its own, are behind this one
  in_.Copy(slot.data, HostOf(page), BytesOf(page));
  slot.arrived.Record(in_);
  slot.page = page;
  slot.used_at = ++clock_;
  slot_of_[page] = static_cast<int>(&slot - slots_.data());
  ++stats_.loads;
  stats_.bytes_in += static_cast<int64_t>(BytesOf(page));
}

void CudaPagedStore::Prefetch(int page) {
  if (slot_of_[page] < 0) Load(page);
}

absl::StatusOr<StatePage> CudaPagedStore::Acquire(int page) {
  LORIKEET_CHECK(page >= 0 && page < num_pages()) << "CudaPagedStore: page " << page << " of " << num_pages();
  slot_of_[page] >= 0 ? void(++stats_.hits) : Load(page);
  Slot& slot = slots_[slot_of_[page]];
  LORIKEET_CHECK(!slot.acquired) << "CudaPagedStore: page " << page << " was acquired twice";
  slot.acquired = true;
  ComputeStream().Wait(slot.arrived);
  return PageAt(slot.data, page * plan_.page_elements, ElementsOf(page), plan_.dtype);
}

void CudaPagedStore::Release(int page, bool modified) {
  const int index = slot_of_[page];
  LORIKEET_CHECK(index >= 0 && slots_[index].acquired) << "CudaPagedStore: page " << page << " was not acquired";
  Slot& slot = slots_[index];
  slot.acquired = false;
  slot.dirty = slot.dirty || modified;
  slot.used_at = ++clock_;
  slot.used.Record(ComputeStream());
}

std::string CudaPagedStore::Report() const {
  return absl::StrCat("optimizer state: ", slots_.size(), " of ", slot_of_.size(), " pages of ",
                      plan_.page_bytes() / 1000, " kB on the GPU; ", stats_.bytes_in / 1000000, " MB copied to it, ",
                      stats_.bytes_out / 1000000, " MB back");
}

}  // namespace lorikeet
