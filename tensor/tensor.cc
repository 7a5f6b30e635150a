#include "tensor/tensor.h"

#include <cstring>

#include "tensor/check.h"
#include "tensor/default_allocator.h"
#include "tensor/kernels/copy.h"
#include "tensor/kernels/launch.h"
#include "tensor/memory_holder.h"

namespace lorikeet {

struct Tensor::Storage {
  Storage(Allocator* allocator, void* data, size_t bytes) : allocator(allocator), data(data), bytes(bytes) {}
  ~Storage() { allocator->Free(data, bytes); }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  Allocator* allocator;
  void* data;
  size_t bytes;
};

namespace {

void SetRowMajor(const Shape& shape, int64_t* strides) {
  int64_t stride = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[i] = stride;
    stride *= shape[i];
  }
}

// Exit code 3 is the documented one for memory that cannot be had; the report says who holds the rest.
[[noreturn]] void DieOutOfMemory(size_t bytes, const Shape& shape, DType dtype, const Allocator& allocator) {
  std::fprintf(
      stderr,
      "out of memory: %zu bytes for a tensor %s%s on %s\n%s%sWhat helps: fewer or shorter sequences at a time, "
      "gradient checkpointing, 4-bit weights, paged optimizer state.\n",
      bytes, Name(dtype), ToString(shape).c_str(), ToString(allocator.device()).c_str(), allocator.Report().c_str(),
      MemoryHolder::ReportAll().c_str());
  std::fflush(stderr);
  std::_Exit(3);
}

const CopyKernels& KernelsFor(Device device) { return device.is_cpu() ? kCpuCopy : kCudaCopy; }

}  // namespace

Tensor Tensor::Empty(const Shape& shape, DType dtype, Device device) {
  return Empty(shape, dtype, DefaultAllocator(device));
}

Tensor Tensor::Empty(const Shape& shape, DType dtype, Allocator& allocator) {
  const size_t bytes = static_cast<size_t>(shape.size()) * SizeOf(dtype);
  void* p = allocator.Allocate(bytes);
  if (p == nullptr && bytes > 0) DieOutOfMemory(bytes, shape, dtype, allocator);
  Tensor t;
  t.storage_ = std::make_shared<Storage>(&allocator, p, bytes);
  t.shape_ = shape;
  t.dtype_ = dtype;
  SetRowMajor(shape, t.strides_);
  return t;
}

Tensor Tensor::Zeros(const Shape& shape, DType dtype, Device device) { return Full(shape, 0, dtype, device); }

Tensor Tensor::Full(const Shape& shape, double value, DType dtype, Device device) {
  Tensor t = Empty(shape, dtype, device);
  KernelsFor(device).fill(t.view(), value, LaunchContext{});
  return t;
}

Tensor Tensor::FromBytes(const void* values, int64_t count, DType dtype, const Shape& shape, Device device) {
  LORIKEET_CHECK_EQ(count, shape.size()) << "Tensor::From: " << count << " values for shape " << shape;
  Tensor t = Empty(shape, dtype, kCpu);
  if (count > 0) std::memcpy(t.raw(), values, static_cast<size_t>(t.nbytes()));
  return t.To(device);
}

int64_t Tensor::stride(int i) const {
  const int k = i < 0 ? i + rank() : i;
  LORIKEET_CHECK(k >= 0 && k < rank()) << "Tensor::stride: index " << i << " of rank " << rank();
  return strides_[k];
}

Device Tensor::device() const {
  LORIKEET_CHECK(defined()) << "Tensor::device: undefined tensor";
  return storage_->allocator->device();
}

Tensor Tensor::Reshape(absl::Span<const int64_t> dims) const {
  LORIKEET_CHECK(defined()) << "Reshape: undefined tensor";
  int64_t known = 1, wild = -1;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == -1) {
      LORIKEET_CHECK(wild < 0) << "Reshape: more than one dimension is -1";
      wild = static_cast<int64_t>(i);
    } else {
      known *= dims[i];
    }
  }
  Shape target;
  for (size_t i = 0; i < dims.size(); ++i) {
    target.push_back(static_cast<int64_t>(i) == wild ? (known > 0 ? size() / known : 0) : dims[i]);
  }
  LORIKEET_CHECK(target.size() == size()) << "Reshape: " << Describe(*this) << " into " << target;
  Tensor t = Contiguous();
  t.shape_ = target;
  SetRowMajor(target, t.strides_);
  return t;
}

Tensor Tensor::Transpose(int a, int b) const {
  const int i = a < 0 ? a + rank() : a, j = b < 0 ? b + rank() : b;
  LORIKEET_CHECK(i >= 0 && i < rank() && j >= 0 && j < rank())
      << "Transpose(" << a << "," << b << ") of " << Describe(*this);
  Tensor t = *this;
  t.shape_.set(i, shape_[j]);
  t.shape_.set(j, shape_[i]);
  std::swap(t.strides_[i], t.strides_[j]);
  return t;
}

Tensor Tensor::Slice(int dim, int64_t begin, int64_t end) const {
  const int k = dim < 0 ? dim + rank() : dim;
  LORIKEET_CHECK(k >= 0 && k < rank() && 0 <= begin && begin <= end && end <= shape_[k])
      << "Slice(" << dim << "," << begin << "," << end << ") of " << Describe(*this);
  Tensor t = *this;
  t.offset_ += begin * strides_[k];
  t.shape_.set(k, end - begin);
  return t;
}

Tensor Tensor::Expand(const Shape& shape) const {
  const int lead = shape.rank() - rank();
  LORIKEET_CHECK(lead >= 0) << "Expand: " << Describe(*this) << " to " << shape;
  Tensor t = *this;
  t.shape_ = shape;
  for (int i = 0; i < shape.rank(); ++i) {
    const int64_t have = i < lead ? 1 : shape_[i - lead];
    LORIKEET_CHECK(have == shape[i] || have == 1) << "Expand: " << Describe(*this) << " to " << shape;
    t.strides_[i] = have == shape[i] && i >= lead ? strides_[i - lead] : 0;
  }
  return t;
}

Tensor Tensor::Squeeze(int dim) const {
  const int k = dim < 0 ? dim + rank() : dim;
  LORIKEET_CHECK(k >= 0 && k < rank() && shape_[k] == 1) << "Squeeze(" << dim << ") of " << Describe(*this);
  Tensor t = *this;
  t.shape_ = Shape();
  for (int i = 0, out = 0; i < rank(); ++i) {
    if (i == k) continue;
    t.shape_.push_back(shape_[i]);
    t.strides_[out++] = strides_[i];
  }
  return t;
}

Tensor Tensor::To(Device target) const {
  if (device() == target) return *this;
  const Tensor source = Contiguous();
  Tensor t = Empty(shape_, dtype_, target);
  kCudaCopy.transfer(source.view(), source.device().is_cuda(), t.view(), target.is_cuda(), LaunchContext{});
  return t;
}

Tensor Tensor::Cast(DType dtype) const {
  if (dtype == dtype_) return *this;
  Tensor t = Empty(shape_, dtype, device());
  KernelsFor(device()).copy(view(), t.view(), LaunchContext{});
  return t;
}

Tensor Tensor::Contiguous() const { return contiguous() ? *this : Clone(); }

Tensor Tensor::Clone() const {
  Tensor t = Empty(shape_, dtype_, device());
  KernelsFor(device()).copy(view(), t.view(), LaunchContext{});
  return t;
}

double Tensor::item() const {
  LORIKEET_CHECK_EQ(size(), 1) << "item() of " << Describe(*this);
  return To(kCpu).Cast(DType::kF64).data<double>()[0];
}

View Tensor::view() const {
  View v;
  v.data = raw();
  v.dtype = dtype_;
  v.rank = rank();
  for (int i = 0; i < rank(); ++i) {
    v.dims[i] = shape_[i];
    v.strides[i] = strides_[i];
  }
  return v;
}

void* Tensor::raw() const {
  LORIKEET_CHECK(defined()) << "raw(): undefined tensor";
  if (storage_->data == nullptr) return nullptr;
  return static_cast<char*>(storage_->data) + offset_ * static_cast<int64_t>(SizeOf(dtype_));
}

void Tensor::CheckHostAccess(DType want) const {
  LORIKEET_CHECK(defined()) << "data(): undefined tensor";
  LORIKEET_CHECK(dtype_ == want) << "data<" << Name(want) << ">() of " << Describe(*this);
  LORIKEET_CHECK(device().is_cpu()) << "data() of " << Describe(*this) << " on " << ToString(device())
                                    << ": copy with To(kCpu)";
  LORIKEET_CHECK(contiguous()) << "data() of " << Describe(*this) << ", which is not contiguous: call Contiguous()";
}

std::string Describe(const Tensor& t) {
  return t.defined() ? std::string(Name(t.dtype())) + ToString(t.shape()) : std::string("undefined");
}

}  // namespace lorikeet
