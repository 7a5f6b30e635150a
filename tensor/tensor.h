// Tensor: an n-d array on a device. A shared handle: copying a Tensor copies the handle, not the elements.
//
//   Tensor x = Tensor::From<float>({1, 2, 3, 4, 5, 6}, {2, 3});
//   Tensor row = x.Slice(0, 1, 2);              // a view [1,3] of the same memory
//   Tensor t = x.Transpose(0, 1);               // a view [3,2]
//   absl::Span<float> values = x.data<float>(); // CPU, contiguous, the right dtype: checked
//
// Ownership: the elements live as long as any handle or view of them. Views share memory, so a write through one is
// seen by all. Threads: handles may be copied and released from any thread; concurrent writes to the same elements
// are the caller's to avoid.
// Errors: misuse aborts (tensor/check.h). Out of memory ends the process with exit code 3 and a report of the holders.
#ifndef LORIKEET_TENSOR_TENSOR_H_
#define LORIKEET_TENSOR_TENSOR_H_

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>

#include "absl/types/span.h"
#include "tensor/allocator.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"
#include "tensor/view.h"

namespace lorikeet {

class Tensor {
 public:
  Tensor() = default;  // undefined: defined() is false, everything else aborts

  // Uninitialised elements.
  static Tensor Empty(const Shape& shape, DType dtype, Device device = kCpu);
  static Tensor Empty(const Shape& shape, DType dtype, Allocator& allocator);
  static Tensor Zeros(const Shape& shape, DType dtype, Device device = kCpu);
  // Every element `value`, rounded to dtype.
  static Tensor Full(const Shape& shape, double value, DType dtype, Device device = kCpu);
  static Tensor Scalar(double value, DType dtype, Device device = kCpu) { return Full({}, value, dtype, device); }
  // A copy of `values` in row-major order; sizes must agree.
  template <typename T>
  static Tensor From(absl::Span<const T> values, const Shape& shape, Device device = kCpu) {
    return FromBytes(values.data(), static_cast<int64_t>(values.size()), DTypeOf<T>(), shape, device);
  }
  template <typename T>
  static Tensor From(std::initializer_list<T> values, const Shape& shape, Device device = kCpu) {
    return From(absl::MakeConstSpan(values.begin(), values.size()), shape, device);
  }

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  int rank() const { return shape_.rank(); }
  int64_t dim(int i) const { return shape_[i]; }
  int64_t stride(int i) const;  // in elements
  int64_t size() const { return shape_.size(); }
  int64_t nbytes() const { return size() * static_cast<int64_t>(SizeOf(dtype_)); }
  DType dtype() const { return dtype_; }
  Device device() const;
  bool contiguous() const { return view().contiguous(); }

  // Views of the same memory. Reshape copies only when the strides cannot express it; one dimension may be -1.
  Tensor Reshape(std::initializer_list<int64_t> dims) const {
    return Reshape(absl::MakeConstSpan(dims.begin(), dims.size()));
  }
  Tensor Reshape(const Shape& shape) const { return Reshape(absl::MakeConstSpan(shape.begin(), shape.rank())); }
  Tensor Reshape(absl::Span<const int64_t> dims) const;
  Tensor Transpose(int a, int b) const;
  Tensor Slice(int dim, int64_t begin, int64_t end) const;
  Tensor Expand(const Shape& shape) const;  // repeats dimensions of size 1, leading ones included, with stride 0
  Tensor Squeeze(int dim) const;            // drops a dimension of size 1

  // May copy. Cast and Contiguous return this very handle when there is nothing to do.
  Tensor To(Device device) const;
  Tensor Cast(DType dtype) const;
  Tensor Contiguous() const;
  Tensor Clone() const;  // always a fresh contiguous copy

  // The elements in row-major order: the tensor must be contiguous, on the CPU and of type T.
  template <typename T>
  absl::Span<T> data() const {
    CheckHostAccess(DTypeOf<T>());
    return {static_cast<T*>(raw()), static_cast<size_t>(size())};
  }
  // The one element of a tensor of size 1, of any float or integer dtype.
  double item() const;

  View view() const;
  void* raw() const;  // address of the first element
  // Handles and views that share this memory; 1: nothing else can see it, so it may be overwritten.
  int64_t use_count() const { return storage_.use_count(); }
  bool shares_memory_with(const Tensor& other) const { return storage_ && storage_ == other.storage_; }

 private:
  struct Storage;
  static Tensor FromBytes(const void* values, int64_t count, DType dtype, const Shape& shape, Device device);
  void CheckHostAccess(DType want) const;

  std::shared_ptr<Storage> storage_;
  int64_t offset_ = 0;  // elements
  Shape shape_;
  int64_t strides_[kMaxRank] = {};
  DType dtype_ = DType::kF32;
};

// "bf16[2,128,2048]", for messages.
std::string Describe(const Tensor& t);

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_TENSOR_H_
