// CUDA's streams and events, for code that moves bytes beside the computation: optimizer pages, weights, activations.
//
//   CudaStream copies;  CudaEvent arrived;
//   copies.Wait(CudaEvent::Of(ComputeStream()));          // not before the kernels launched so far are done
//   copies.Copy(device, pinned, bytes);
//   arrived.Record(copies);
//   ComputeStream().Wait(arrived);                        // kernels launched from here on see the bytes
//
// Every op runs on ComputeStream(), in order: LaunchContext{} means it. Other streams are not ordered with it but by
// events. A copy overlaps with computation only if the host's side is pinned (PinnedAllocator, cuda_memory.h); from and
// to pageable memory it returns when the host's side may be reused.
// Only where CudaUnavailable() is empty; errors of the device end the process with CUDA's message. A stream's
// destruction waits for its work. Threads: a stream is used by one at a time. No CUDA header is needed to use these.
#ifndef LORIKEET_TENSOR_CUDA_STREAM_H_
#define LORIKEET_TENSOR_CUDA_STREAM_H_

#include <cstddef>

namespace lorikeet {

class CudaStream;

class CudaEvent {
 public:
  CudaEvent();
  ~CudaEvent();
  CudaEvent(CudaEvent&& other) noexcept : event_(other.event_) { other.event_ = nullptr; }
  CudaEvent& operator=(CudaEvent&&) = delete;

  static CudaEvent Of(CudaStream& stream) {  // recorded
    CudaEvent event;
    event.Record(stream);
    return event;
  }
  void Record(CudaStream& stream);  // the stream's work so far; replaces what was recorded before
  void Synchronize() const;         // the host waits
  bool Done() const;
  double MillisecondsSince(const CudaEvent& earlier) const;  // both done

 private:
  friend class CudaStream;
  void* event_;  // a cudaEvent_t
};

class CudaStream {
 public:
  CudaStream();
  ~CudaStream();
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  void Copy(void* to, const void* from, size_t bytes);  // any of the four directions
  void Wait(const CudaEvent& event);                    // later work starts after the event
  void Synchronize();                                   // the host waits
  // Between the two, work is captured and not done; what came of it, a cudaGraphExec_t, is launched as a whole
  // by LaunchGraph, as often as wanted. For CudaGraph (cuda_graph.h). Capturing is relaxed: memory may be taken
  // meanwhile.
  void BeginCapture();
  void* EndCapture();
  void LaunchGraph(void* graph);
  static void DestroyGraph(void* graph);
  void* handle() const { return stream_; }  // a cudaStream_t, for LaunchContext

 private:
  void* stream_;
};

// The stream of all ops; lives as long as the process.
CudaStream& ComputeStream();

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_CUDA_STREAM_H_
