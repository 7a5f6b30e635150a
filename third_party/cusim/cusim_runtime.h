// The part of the CUDA runtime API that the simulator has: memory, streams, events, graphs. Included by cusim.h.
//
// Work given to a stream is not done at once but when something waits for it (cudaStreamSynchronize, an event, a
// synchronous copy, cudaFree): a missing wait then shows as stale data, every time. CUSIM_STREAMS=eager does it at
// once; random:SEED does either, so that a copy which waits for nothing overtakes the kernels of another stream. The
// null stream, which nothing here orders with the others, does its work at once. CUSIM_MEMORY=BYTES limits device
// memory, so that running out of it can be tested, and CUSIM_SHARED_MEMORY=BYTES that of a block (232448, an H100's; a
// consumer device has 101376). A copy of device memory that nothing has written since cudaMalloc aborts with a report.
// With CUSIM_EXECUTE=none kernels and copies do nothing, and what comes back from the device is zeros: the memory that
// a program takes from a device of any size is then known in seconds, for device memory is then addresses only, which
// nothing may touch.
#ifndef CUSIM_CUSIM_RUNTIME_H_
#define CUSIM_CUSIM_RUNTIME_H_

#include <cstddef>
#include <cstdint>
#include <functional>

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorNotReady = 600,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureIsolation = 905,
  cudaErrorCapturedEvent = 907
};
enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal,
  cudaStreamCaptureModeThreadLocal,
  cudaStreamCaptureModeRelaxed
};
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone, cudaStreamCaptureStatusActive };
enum cudaMemoryType { cudaMemoryTypeUnregistered, cudaMemoryTypeHost, cudaMemoryTypeDevice };
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97
};
inline constexpr unsigned cudaStreamDefault = 0, cudaStreamNonBlocking = 1;
inline constexpr unsigned cudaEventDefault = 0, cudaEventDisableTiming = 2;
inline constexpr unsigned cudaHostAllocDefault = 0;

using cudaStream_t = struct CusimStream*;
using cudaEvent_t = struct CusimEvent*;
using cudaGraph_t = struct CusimGraph*;
using cudaGraphExec_t = struct CusimGraph*;
struct cudaPointerAttributes {
  cudaMemoryType type;
  void* devicePointer;
  void* hostPointer;
};
struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem;
  int major, minor, multiProcessorCount;
};

namespace cusim {
// Whether kernels and copies are done at all.
bool Executes();
// Shared memory that a block may have.
size_t SharedMemoryLimit();
// Does it, now or when the stream is waited for; a capturing stream keeps it for its graph.
cudaError_t Enqueue(cudaStream_t stream, std::function<void()> work);
cudaError_t Malloc(void** p, size_t bytes);
inline thread_local cudaError_t last_error = cudaSuccess;
}  // namespace cusim

const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();

template <class T>
cudaError_t cudaMalloc(T** p, size_t bytes) {
  return cusim::Malloc(reinterpret_cast<void**>(p), bytes);
}
cudaError_t cudaFree(void* p);
cudaError_t cudaMallocHost(void** p, size_t bytes);
cudaError_t cudaFreeHost(void* p);
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes);
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* p);
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind);
// As CUDA has it: pageable memory on either side makes the call wait for the copy; pinned memory does not.
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream = nullptr);
cudaError_t cudaMemset(void* p, int value, size_t bytes);
cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t stream = nullptr);

cudaError_t cudaDeviceSynchronize();
cudaError_t cudaStreamCreate(cudaStream_t* stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);
cudaError_t cudaEventCreate(cudaEvent_t* event);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream = nullptr);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventQuery(cudaEvent_t event);  // does what is missing, so never cudaErrorNotReady
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end);

// A graph is the work of one stream, in order: a capturing stream that waits for another's event, or another that waits
// for its, is an error here, where CUDA would make the other part of the graph. Every mode is the relaxed one: memory
// may be taken and freed meanwhile.
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags = 0);
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable);

cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaDeviceGetPCIBusId(char* id, int size, int device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);
template <class F>
cudaError_t cudaFuncSetAttribute(F*, cudaFuncAttribute, int value) {
  const bool possible = value >= 0 && static_cast<size_t>(value) <= cusim::SharedMemoryLimit();
  return possible ? cudaSuccess : cusim::last_error = cudaErrorInvalidValue;
}

#endif  // CUSIM_CUSIM_RUNTIME_H_
