#include "tensor/cuda_memory.h"

#include "third_party/cuda/runtime.h"

namespace lorikeet {

#ifdef LORIKEET_CUDA

const std::string& CudaUnavailable() {
  static const std::string* const reason = [] {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaSuccess && count > 0) return new std::string;
    cudaGetLastError();  // or the next launch would report it
    return new std::string(std::string("no usable GPU: ") +
                           (error == cudaSuccess ? "no device is visible" : cudaGetErrorString(error)));
  }();
  return *reason;
}

void* CudaAllocator::Allocate(size_t bytes) {
  if (bytes == 0 || !CudaUnavailable().empty()) return nullptr;
  char* p = nullptr;
  if (cudaMalloc(&p, bytes) == cudaSuccess) return p;
  cudaGetLastError();
  return nullptr;
}

// An error here is an earlier kernel's, which the next launch or copy reports.
void CudaAllocator::Free(void* p, size_t) { (void)cudaFree(p); }

#else

const std::string& CudaUnavailable() {
  static const std::string* const reason = new std::string("this build has no CUDA backend");
  return *reason;
}

void* CudaAllocator::Allocate(size_t) { return nullptr; }
void CudaAllocator::Free(void*, size_t) {}

#endif

}  // namespace lorikeet
