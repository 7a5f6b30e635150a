// CudaGraph: work for the device that is captured once and replayed by one launch.
//
//   Tensor x = ..., y;                                     // on the device
//   auto work = [&] { y = tensor::Square(x); };
//   work();                                                // once as usual: libraries and scratch are set up
//   CudaGraph graph;
//   graph.Capture([&] { work(); });                        // y has memory now, nothing has run
//   tensor::CopyInto(next, x);  graph.Launch();            // now y is next^2
//
// A small model's step is a thousand short kernels; launching them one by one takes the host longer than the device
// needs to run them. A graph's launch costs the same however many there are.
//
// What is kept are launches with their arguments: the addresses and the numbers of the time of capture. So what
// changes comes in through tensors that stay where they are, and a number that changes must be one in a tensor. Work
// that waits for the device, or copies between it and the host, cannot be captured: a message ends the process. So does
// a wait for another stream.
// Memory: what the work allocates comes from GraphMemory(), which gives nothing back while a graph lives: what was
// freed during a capture is used again by the same and by later captures, never by others. A tensor that the work
// leaves, y, keeps its memory while its handle lives, and its values until the next launch of any graph: another's
// temporaries may lie where y came to lie later.
// valid() becomes false when scratch memory (tensor/kernels/cuda_scratch.h), whose address the graph holds, has moved:
// Launch then aborts; capture anew. Threads: the one that launches the device's work. Only where CudaUnavailable() is
// empty. Source: CUDA C++ Programming Guide, "CUDA Graphs"; the private pool as PyTorch's torch.cuda.graph has it.
#ifndef LORIKEET_TENSOR_CUDA_GRAPH_H_
#define LORIKEET_TENSOR_CUDA_GRAPH_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "tensor/block_allocator.h"

namespace lorikeet {

class CudaGraph {
 public:
  CudaGraph() = default;
  ~CudaGraph() { Drop(); }
  CudaGraph(CudaGraph&& other) noexcept;
  CudaGraph& operator=(CudaGraph&&) = delete;

  // Once. Nothing that `work` launches runs before Launch. False, and nothing is captured, where scratch memory grew
  // meanwhile, as it may the first time that it is launched: launch it as usual then.
  bool Capture(absl::FunctionRef<void()> work);
  // Onto ComputeStream().
  void Launch();
  bool captured() const { return graph_ != nullptr; }
  bool valid() const;

 private:
  void Drop();

  void* graph_ = nullptr;  // a cudaGraphExec_t
  int64_t scratch_ = 0;    // generation of the scratch buffers that it was captured with
};

// The memory of all graphs, in segments of DeviceMemory()'s.
BlockAllocator& GraphMemory();

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_CUDA_GRAPH_H_
