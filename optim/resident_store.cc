#include "optim/resident_store.h"

#include <algorithm>

#include "tensor/check.h"

namespace lorikeet {
namespace {

// Everything is one page: on a GPU, every page is a launch, which begins and ends with few threads at work.
int64_t WholePage(int64_t elements, DType dtype) { return std::max(elements, BlockElements(dtype)); }

}  // namespace

ResidentStore::ResidentStore(int64_t elements, DType dtype, Device device, int64_t page_elements)
    : m_(Tensor::Zeros({elements}, dtype, device)),
      v_(Tensor::Zeros({elements}, dtype, device)),
      page_elements_(page_elements > 0 ? page_elements : WholePage(elements, dtype)) {
  LORIKEET_CHECK(elements % BlockElements(dtype) == 0) << "ResidentStore: " << elements << " elements";
  LORIKEET_CHECK(page_elements_ % BlockElements(dtype) == 0) << "ResidentStore: pages of " << page_elements;
}

absl::StatusOr<StatePage> ResidentStore::Acquire(int page) {
  LORIKEET_CHECK(page >= 0 && page < num_pages()) << "ResidentStore: page " << page << " of " << num_pages();
  const int64_t begin = page * page_elements_, end = std::min(begin + page_elements_, elements());
  return StatePage{begin, m_.Slice(0, begin, end).view(), v_.Slice(0, begin, end).view()};
}

}  // namespace lorikeet
