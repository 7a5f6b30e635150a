// StateStore: where an optimizer keeps its two moments, a page at a time.
//
//   for (int page : walk) {
//     absl::StatusOr<StatePage> s = store.Acquire(page);      // s->m, s->v: elements from s->begin on
//     store.Prefetch(next);                                   // a hint: it may be copied meanwhile
//     ... update s->m and s->v ...
//     store.Release(page, /*modified=*/true);
//   }
//
// The moments are two arrays over one flat space of elements (what lies where is the optimizer's business, adamw.h),
// cut into pages of whole blocks; the last page may be shorter. They begin as zeros. An optimizer cannot tell stores
// apart: the same calls give the same bits from every store.
// Ownership: a page's views are valid from Acquire to Release; they are the caller's alone.
// Threads: one caller at a time; a store may have threads of its own.
// Errors: a store that keeps pages elsewhere can fail. Verify() is asked before an update touches anything, and finds
// what can be found beforehand; after it a caller may expect Acquire to succeed, and must treat it as lost if not.
#ifndef LORIKEET_OPTIM_STATE_STORE_H_
#define LORIKEET_OPTIM_STATE_STORE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "optim/state_block.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/view.h"

namespace lorikeet {

struct StatePage {
  int64_t begin = 0;  // of the flat space, in elements
  View m, v;          // [n], contiguous, on the store's device
};

// A page of n elements from `begin` on, whose m and then v lie at `data`.
inline StatePage PageAt(char* data, int64_t begin, int64_t n, DType dtype) {
  View m;
  m.data = data;
  m.dtype = dtype;
  m.rank = 1;
  m.dims[0] = n;
  m.strides[0] = 1;
  View v = m;
  v.data = data + n * static_cast<int64_t>(SizeOf(dtype));
  return {begin, m, v};
}

class StateStore {
 public:
  virtual ~StateStore() = default;

  virtual int64_t elements() const = 0;       // of the flat space: a multiple of BlockElements(dtype())
  virtual int64_t page_elements() const = 0;  // of every page but the last: a multiple, too
  virtual DType dtype() const = 0;            // f32, f64 or u8
  virtual Device device() const { return kCpu; }
  int num_pages() const { return static_cast<int>((elements() + page_elements() - 1) / page_elements()); }

  // OK if every page can be had as it was released. The error says which page or file is damaged, and what to do.
  virtual absl::Status Verify() { return absl::OkStatus(); }
  virtual void Prefetch(int page) = 0;                      // a hint; may start a copy
  virtual absl::StatusOr<StatePage> Acquire(int page) = 0;  // usable on device() until Release; not reentrant
  virtual void Release(int page, bool modified) = 0;        // modified: the views were written to
  virtual int64_t resident_bytes() const = 0;               // memory that the store holds now
  // One line on what the store did, for a report; empty where there is nothing to say.
  virtual std::string Report() const { return ""; }
};

}  // namespace lorikeet

#endif  // LORIKEET_OPTIM_STATE_STORE_H_
