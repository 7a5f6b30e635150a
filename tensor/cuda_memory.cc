#include "tensor/cuda_memory.h"

#include "third_party/cuda/runtime.h"

namespace lorikeet {

#ifdef LORIKEET_CUDA

namespace {

std::string VersionName(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// The runtime says "insufficient driver" both where there is none and where it is too old; the driver's version tells
// them apart.
std::string Reason(cudaError_t error) {
  int driver = 0, runtime = 0;
  (void)cudaDriverGetVersion(&driver);
  (void)cudaRuntimeGetVersion(&runtime);
  (void)cudaGetLastError();  // or the next launch would report it
  if (driver == 0) return "no NVIDIA driver is installed";
  if (error == cudaErrorInsufficientDriver) {
    return "the driver is for CUDA " + VersionName(driver) + ", too old for CUDA " + VersionName(runtime) +
           "; install a newer driver";
  }
  if (error == cudaSuccess || error == cudaErrorNoDevice) {
    return "no device is visible to the driver (CUDA_VISIBLE_DEVICES?)";
  }
  return cudaGetErrorString(error);
}

// The kernels of this build are for compute capability 8.0 and newer.
std::string TooOld() {
  cudaDeviceProp device = {};
  if (cudaGetDeviceProperties(&device, 0) != cudaSuccess) return Reason(cudaGetLastError());
  if (device.major >= 8) return "";
  return std::string(device.name) + " has compute capability " + std::to_string(device.major) + "." +
         std::to_string(device.minor) + ", 8.0 or newer is needed";
}

std::string FindReason() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  const std::string reason = error == cudaSuccess && count > 0 ? TooOld() : Reason(error);
  return reason.empty() ? "" : "no usable GPU: " + reason;
}

}  // namespace

const std::string& CudaUnavailable() {
  static const std::string* const reason = new std::string(FindReason());
  return *reason;
}

CudaMemoryInfo CudaMemory() {
  CudaMemoryInfo info;
  if (!CudaUnavailable().empty() || cudaMemGetInfo(&info.free_bytes, &info.total_bytes) != cudaSuccess) return {};
  return info;
}

std::string CudaDeviceName() {
  cudaDeviceProp device = {};
  int driver = 0;
  if (!CudaUnavailable().empty() || cudaGetDeviceProperties(&device, 0) != cudaSuccess) return "";
  (void)cudaDriverGetVersion(&driver);
  return std::string(device.name) + ", " + std::to_string(device.totalGlobalMem / 1000000000) +
         " GB, driver for CUDA " + VersionName(driver);
}

std::string CudaDeviceAddress() {
  char address[64] = {};
  if (!CudaUnavailable().empty() || cudaDeviceGetPCIBusId(address, sizeof address, 0) != cudaSuccess) return "";
  return address;
}

bool CudaIsSimulated() {
#ifdef LORIKEET_CUDA_SIM
  return true;
#else
  return false;
#endif
}

void* PinnedAllocator::Allocate(size_t bytes) {
  void* p = nullptr;
  if (bytes == 0 || !CudaUnavailable().empty()) return nullptr;
  if (cudaMallocHost(&p, bytes) == cudaSuccess) return p;
  (void)cudaGetLastError();
  return nullptr;
}

void PinnedAllocator::Free(void* p, size_t) { (void)cudaFreeHost(p); }

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

CudaMemoryInfo CudaMemory() { return {}; }
std::string CudaDeviceName() { return ""; }
std::string CudaDeviceAddress() { return ""; }
bool CudaIsSimulated() { return false; }
void* CudaAllocator::Allocate(size_t) { return nullptr; }
void CudaAllocator::Free(void*, size_t) {}
void* PinnedAllocator::Allocate(size_t) { return nullptr; }
void PinnedAllocator::Free(void*, size_t) {}

#endif

}  // namespace lorikeet
