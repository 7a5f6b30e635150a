// Shape: up to kMaxRank dimensions, by value.
//
//   Shape s = {4, 256, 576};  s.size() == 589824;  s[-1] == 576;  ToString(s) == "[4,256,576]"
//
// The empty shape {} is a scalar with one element; a dimension may be 0. Negative indices count from the end.
#ifndef LORIKEET_TENSOR_SHAPE_H_
#define LORIKEET_TENSOR_SHAPE_H_

#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <string>

#include "absl/types/span.h"
#include "tensor/check.h"
#include "tensor/view.h"

namespace lorikeet {

class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : Shape(absl::MakeConstSpan(dims.begin(), dims.size())) {}
  explicit Shape(absl::Span<const int64_t> dims) {
    LORIKEET_CHECK(dims.size() <= kMaxRank) << "Shape: rank " << dims.size() << ", at most " << kMaxRank;
    for (int64_t d : dims) push_back(d);
  }

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return dims_[Index(i)]; }
  void set(int i, int64_t d) { dims_[Index(i)] = d; }
  void push_back(int64_t d) {
    LORIKEET_CHECK(rank_ < kMaxRank && d >= 0) << "Shape: dimension " << d << " at position " << rank_;
    dims_[rank_++] = d;
  }
  // Number of elements.
  int64_t size() const {
    int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= dims_[i];
    return n;
  }
  const int64_t* begin() const { return dims_.data(); }
  const int64_t* end() const { return dims_.data() + rank_; }

  friend bool operator==(const Shape& a, const Shape& b) {
    return absl::MakeConstSpan(a.begin(), a.rank_) == absl::MakeConstSpan(b.begin(), b.rank_);
  }

 private:
  int Index(int i) const {
    const int k = i < 0 ? i + rank_ : i;
    LORIKEET_CHECK(k >= 0 && k < rank_) << "Shape: index " << i << " of rank " << rank_;
    return k;
  }
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

inline std::string ToString(const Shape& s) {
  std::string out = "[";
  for (int i = 0; i < s.rank(); ++i) out += (i ? "," : "") + std::to_string(s[i]);
  return out + "]";
}
inline std::ostream& operator<<(std::ostream& os, const Shape& s) { return os << ToString(s); }

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_SHAPE_H_
