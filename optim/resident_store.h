// ResidentStore: the moments as two tensors on a device. Never fails; a page is a window on them.
//
//   auto store = std::make_unique<ResidentStore>(StateElements(parameters));
//   auto small = std::make_unique<ResidentStore>(StateElements(parameters, DType::kU8), DType::kU8);   // 8 bits
//
// Memory: 8 bytes an element in f32, 2 in u8, from the device's allocator, for as long as the store lives.
#ifndef LORIKEET_OPTIM_RESIDENT_STORE_H_
#define LORIKEET_OPTIM_RESIDENT_STORE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "optim/state_store.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace lorikeet {

class ResidentStore : public StateStore {
 public:
  // Of a page: what an update does at once, whose result does not depend on it. 0: all elements, one page.
  explicit ResidentStore(int64_t elements, DType dtype = DType::kF32, Device device = kCpu, int64_t page_elements = 0);

  int64_t elements() const override { return m_.size(); }
  int64_t page_elements() const override { return page_elements_; }
  DType dtype() const override { return m_.dtype(); }
  Device device() const override { return m_.device(); }
  void Prefetch(int) override {}
  absl::StatusOr<StatePage> Acquire(int page) override;
  void Release(int, bool) override {}
  int64_t resident_bytes() const override { return m_.nbytes() + v_.nbytes(); }

 private:
  Tensor m_, v_;  // [elements]
  int64_t page_elements_;
};

}  // namespace lorikeet

#endif  // LORIKEET_OPTIM_RESIDENT_STORE_H_
