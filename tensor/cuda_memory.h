// CUDA memory as an Allocator, and whether there is a device to have it on.
//
//   if (!CudaUnavailable().empty()) { ... say why, go on with the CPU ... }
//   CudaAllocator device;                                       // cudaMalloc and cudaFree, no cache
//   Tensor x = Tensor::Empty({64, 64}, DType::kF32, device);    // or Tensor::Empty(shape, dtype, Cuda(0))
//
// One process drives one device, the first visible one (CUDA_VISIBLE_DEVICES chooses). Copies between host and device
// are kCudaCopy.transfer's (tensor/kernels/copy.h), and so Tensor::To's. Threads: any. Errors: Allocate returns nullptr
// when the device's memory is used up, or when there is no device.
#ifndef LORIKEET_TENSOR_CUDA_MEMORY_H_
#define LORIKEET_TENSOR_CUDA_MEMORY_H_

#include <cstddef>
#include <string>

#include "tensor/allocator.h"
#include "tensor/device.h"

namespace lorikeet {

// Empty if CUDA tensors can be used; else the reason, as a clause: "this build has no CUDA backend", "no usable GPU:
// ...".
const std::string& CudaUnavailable();

class CudaAllocator : public Allocator {
 public:
  void* Allocate(size_t bytes) override;
  void Free(void* p, size_t bytes) override;
  Device device() const override { return Cuda(0); }
};

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_CUDA_MEMORY_H_
