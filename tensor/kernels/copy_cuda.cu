#include "tensor/dtype.h"
#include "tensor/kernels/copy.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/launch.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet {
namespace {

using internal::CheckCuda;
using internal::Data;
using internal::FirstIndex;
using internal::Flattened;
using internal::GridFor;
using internal::IndexStride;
using internal::kBlockThreads;
using internal::Offset;
using internal::StreamOf;

// The 16-bit floats convert from and to float only.
__device__ inline double Widen(double x) { return x; }
__device__ inline float Widen(float x) { return x; }
__device__ inline float Widen(bf16 x) { return x; }
__device__ inline float Widen(f16 x) { return x; }
__device__ inline int32_t Widen(int32_t x) { return x; }
__device__ inline int64_t Widen(int64_t x) { return x; }
__device__ inline uint8_t Widen(uint8_t x) { return x; }

// The target's dtype is a value, not a template parameter: 7 kernels rather than 49, and every thread takes one branch.
template <typename T>
__device__ inline void Store(const View& y, int64_t at, T x) {
  switch (y.dtype) {
    case DType::kF64:
      Data<double>(y)[at] = static_cast<double>(x);
      break;
    case DType::kF32:
      Data<float>(y)[at] = static_cast<float>(x);
      break;
    case DType::kBF16:
      Data<bf16>(y)[at] = bf16(static_cast<float>(x));
      break;
    case DType::kF16:
      Data<f16>(y)[at] = f16(static_cast<float>(x));
      break;
    case DType::kI32:
      Data<int32_t>(y)[at] = static_cast<int32_t>(x);
      break;
    case DType::kI64:
      Data<int64_t>(y)[at] = static_cast<int64_t>(x);
      break;
    case DType::kU8:
      Data<uint8_t>(y)[at] = static_cast<uint8_t>(x);
      break;
  }
}

template <typename From>
__global__ void ConvertKernel(View x, View y, int64_t n) {
  for (int64_t i = FirstIndex(); i < n; i += IndexStride()) Store(y, Offset(y, i), Widen(Data<From>(x)[Offset(x, i)]));
}

// The same dtype on both sides: bits, whatever they mean.
template <typename Bits>
__global__ void CopyKernel(View x, View y, int64_t n) {
  for (int64_t i = FirstIndex(); i < n; i += IndexStride()) Data<Bits>(y)[Offset(y, i)] = Data<Bits>(x)[Offset(x, i)];
}

__global__ void FillKernel(View y, double value, int64_t n) {
  for (int64_t i = FirstIndex(); i < n; i += IndexStride()) Store(y, Offset(y, i), value);
}

using CopyKernelFunction = void (*)(View, View, int64_t);

CopyKernelFunction CopyKernelFor(DType dtype) {
  switch (SizeOf(dtype)) {
    case 1:
      return CopyKernel<uint8_t>;
    case 2:
      return CopyKernel<uint16_t>;
    case 4:
      return CopyKernel<uint32_t>;
    default:
      return CopyKernel<uint64_t>;
  }
}

CopyKernelFunction ConvertKernelFor(DType from) {
  switch (from) {
    case DType::kF64:
      return ConvertKernel<double>;
    case DType::kF32:
      return ConvertKernel<float>;
    case DType::kBF16:
      return ConvertKernel<bf16>;
    case DType::kF16:
      return ConvertKernel<f16>;
    case DType::kI32:
      return ConvertKernel<int32_t>;
    case DType::kI64:
      return ConvertKernel<int64_t>;
    case DType::kU8:
      break;
  }
  return ConvertKernel<uint8_t>;
}

void Copy(View x, View y, LaunchContext context) {
  const int64_t n = x.size();
  if (n == 0) return;
  const CopyKernelFunction kernel = x.dtype == y.dtype ? CopyKernelFor(x.dtype) : ConvertKernelFor(x.dtype);
  CheckCuda(Launch(kernel, GridFor(n), kBlockThreads, 0, StreamOf(context), Flattened(x), Flattened(y), n), "copy");
}

void Fill(View y, double value, LaunchContext context) {
  const int64_t n = y.size();
  if (n == 0) return;
  CheckCuda(Launch(FillKernel, GridFor(n), kBlockThreads, 0, StreamOf(context), Flattened(y), value, n), "fill");
}

// From the device: waits, since the host reads next. To it: the host's memory may be reused right after, which for
// pageable memory CUDA sees to (it takes a copy, small ones without waiting); pinned memory is read when the copy runs.
void Transfer(View x, bool x_on_device, View y, bool y_on_device, LaunchContext context) {
  const size_t bytes = static_cast<size_t>(x.size()) * SizeOf(x.dtype);
  if (bytes == 0) return;
  cudaPointerAttributes from = {};
  CheckCuda(cudaPointerGetAttributes(&from, x.data), "transfer");
  CheckCuda(cudaMemcpyAsync(y.data, x.data, bytes, cudaMemcpyDefault, StreamOf(context)), "transfer");
  const bool pinned_source = !x_on_device && from.type == cudaMemoryTypeHost;
  if (!y_on_device || pinned_source) CheckCuda(cudaStreamSynchronize(StreamOf(context)), "transfer");
}

}  // namespace

extern const CopyKernels kCudaCopy = {.copy = Copy, .fill = Fill, .transfer = Transfer};

}  // namespace lorikeet
