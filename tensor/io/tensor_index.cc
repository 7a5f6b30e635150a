#include "tensor/io/tensor_index.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tensor/io/file.h"

namespace lorikeet {
namespace {

// A message must not take long, whatever the file says.
constexpr size_t kNamesCompared = 4096, kLongestCompared = 128;

// Levenshtein's distance.
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1] ? 1 : 0);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

bool TensorIndex::Add(TensorInfo info) {
  if (!by_name_.emplace(info.name, tensors_.size()).second) return false;
  tensors_.push_back(std::move(info));
  return true;
}

const TensorInfo* TensorIndex::Find(absl::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &tensors_[it->second];
}

absl::Status TensorIndex::NoSuchTensor(absl::string_view name, absl::string_view where) const {
  std::vector<std::pair<size_t, absl::string_view>> nearest;
  for (size_t i = 0; i < std::min(tensors_.size(), kNamesCompared); ++i) {
    const absl::string_view other = tensors_[i].name;
    if (std::max(name.size(), other.size()) <= kLongestCompared) nearest.push_back({EditDistance(name, other), other});
  }
  const size_t shown = std::min<size_t>(nearest.size(), 3);
  std::partial_sort(nearest.begin(), nearest.begin() + static_cast<std::ptrdiff_t>(shown), nearest.end());
  nearest.resize(shown);
  std::string hint = shown == 0 ? "" : "; the nearest names are ";
  absl::StrAppend(&hint, absl::StrJoin(nearest, ", ", [](std::string* out, const auto& entry) {
    absl::StrAppend(out, Quoted(entry.second));
  }));
  return absl::NotFoundError(absl::StrCat(where, " has no tensor ", Quoted(name), hint));
}

}  // namespace lorikeet
