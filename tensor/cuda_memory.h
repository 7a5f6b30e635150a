// CUDA memory as an Allocator, and whether there is a device to have it on.
//
//   if (!CudaUnavailable().empty()) { ... say why, go on with the CPU ... }
//   CudaAllocator device;                                       // cudaMalloc and cudaFree, no cache
//   Tensor x = Tensor::Empty({64, 64}, DType::kF32, device);    // or Tensor::Empty(shape, dtype, Cuda(0))
//
//   PinnedAllocator pinned;  Tensor page = Tensor::Empty({n}, DType::kF32, pinned);
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

// Host memory that the device reads and writes by itself: copies from and to it overlap with computation. A tensor of
// it is one on the CPU. Pages are locked: use it for buffers that live long, and no more than the machine can spare.
class PinnedAllocator : public Allocator {
 public:
  void* Allocate(size_t bytes) override;
  void Free(void* p, size_t bytes) override;
};

// The same as memory of the device: a tensor of it is one on the device, whose kernels read and write it over the bus.
// For what a step reads little of, an embedding's rows.
class MappedAllocator : public PinnedAllocator {
 public:
  Device device() const override { return Cuda(0); }
};

// Free and total bytes of the device, as the driver says; {0, 0} without one.
struct CudaMemoryInfo {
  size_t free_bytes = 0, total_bytes = 0;
};
CudaMemoryInfo CudaMemory();

// "NVIDIA H200, 150 GB, driver for CUDA 13.0"; empty without a device.
std::string CudaDeviceName();

// Where the device is in this machine, "0000:1B:00.0"; empty without one.
std::string CudaDeviceAddress();

// Whether CUDA is the simulator's: for tests only, never a device that a program offers.
bool CudaIsSimulated();

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_CUDA_MEMORY_H_
