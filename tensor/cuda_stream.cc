#include "tensor/cuda_stream.h"

#include <cstdio>
#include <cstdlib>

#include "third_party/cuda/runtime.h"

namespace lorikeet {

CudaStream& ComputeStream() {
  static CudaStream* const stream = new CudaStream;
  return *stream;
}

#ifdef LORIKEET_CUDA

namespace {

// What the device cannot do any more, nobody here can mend.
void Check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "CUDA: %s: %s\n", what, cudaGetErrorString(error));
  std::fflush(stderr);
  std::abort();
}

cudaStream_t Raw(const void* stream) { return static_cast<cudaStream_t>(const_cast<void*>(stream)); }
cudaEvent_t RawEvent(void* event) { return static_cast<cudaEvent_t>(event); }

}  // namespace

CudaEvent::CudaEvent() {
  cudaEvent_t event = nullptr;
  Check(cudaEventCreate(&event), "event");
  event_ = event;
}
// In a process that ends the driver may be gone already: nothing is checked here.
CudaEvent::~CudaEvent() {
  if (event_ != nullptr) (void)cudaEventDestroy(RawEvent(event_));
}
void CudaEvent::Record(CudaStream& stream) {
  Check(cudaEventRecord(RawEvent(event_), Raw(stream.handle())), "event record");
}
void CudaEvent::Synchronize() const { Check(cudaEventSynchronize(RawEvent(event_)), "event synchronize"); }
bool CudaEvent::Done() const {
  const cudaError_t error = cudaEventQuery(RawEvent(event_));
  if (error == cudaErrorNotReady) return false;
  Check(error, "event query");
  return true;
}
double CudaEvent::MillisecondsSince(const CudaEvent& earlier) const {
  float milliseconds = 0;
  Check(cudaEventElapsedTime(&milliseconds, RawEvent(earlier.event_), RawEvent(event_)), "event times");
  return milliseconds;
}

CudaStream::CudaStream() {
  cudaStream_t stream = nullptr;
  Check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
  stream_ = stream;
}
CudaStream::~CudaStream() {
  (void)cudaStreamSynchronize(Raw(stream_));
  (void)cudaStreamDestroy(Raw(stream_));
}
void CudaStream::Copy(void* to, const void* from, size_t bytes) {
  if (bytes > 0) Check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, Raw(stream_)), "copy");
}
void CudaStream::Wait(const CudaEvent& event) {
  Check(cudaStreamWaitEvent(Raw(stream_), RawEvent(event.event_)), "stream wait");
}
void CudaStream::Synchronize() { Check(cudaStreamSynchronize(Raw(stream_)), "stream synchronize"); }
void CudaStream::BeginCapture() {
  Check(cudaStreamBeginCapture(Raw(stream_), cudaStreamCaptureModeRelaxed), "begin of capture");
}
void* CudaStream::EndCapture() {
  cudaGraph_t graph = nullptr;
  Check(cudaStreamEndCapture(Raw(stream_), &graph), "end of capture");
  cudaGraphExec_t executable = nullptr;
  Check(cudaGraphInstantiate(&executable, graph, 0), "graph");
  Check(cudaGraphDestroy(graph), "graph");
  return executable;
}
void CudaStream::LaunchGraph(void* graph) {
  Check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), Raw(stream_)), "graph launch");
}
// In a process that ends the driver may be gone already: nothing is checked here.
void CudaStream::DestroyGraph(void* graph) { (void)cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph)); }

#else

namespace {
[[noreturn]] void Die() {
  std::fprintf(stderr, "CUDA: this build has no CUDA backend\n");
  std::abort();
}
}  // namespace

CudaEvent::CudaEvent() { Die(); }
CudaEvent::~CudaEvent() = default;
void CudaEvent::Record(CudaStream&) { Die(); }
void CudaEvent::Synchronize() const { Die(); }
bool CudaEvent::Done() const { Die(); }
double CudaEvent::MillisecondsSince(const CudaEvent&) const { Die(); }
CudaStream::CudaStream() { Die(); }
CudaStream::~CudaStream() = default;
void CudaStream::Copy(void*, const void*, size_t) { Die(); }
void CudaStream::Wait(const CudaEvent&) { Die(); }
void CudaStream::Synchronize() { Die(); }
void CudaStream::BeginCapture() { Die(); }
void* CudaStream::EndCapture() { Die(); }
void CudaStream::LaunchGraph(void*) { Die(); }
void CudaStream::DestroyGraph(void*) { Die(); }

#endif

}  // namespace lorikeet
