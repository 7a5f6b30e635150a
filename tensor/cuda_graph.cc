#include "tensor/cuda_graph.h"

#include <utility>

#include "tensor/check.h"
#include "tensor/cuda_stream.h"
#include "tensor/default_allocator.h"
#include "tensor/kernels/cuda_scratch.h"

namespace lorikeet {
namespace {

int64_t graphs_alive = 0;

}  // namespace

BlockAllocator& GraphMemory() {
  static BlockAllocator* const memory = new BlockAllocator(&DeviceMemory(), BlockAllocator::Segments::kKeep);
  return *memory;
}

CudaGraph::CudaGraph(CudaGraph&& other) noexcept
    : graph_(std::exchange(other.graph_, nullptr)), scratch_(other.scratch_) {}

// Nobody launches any more what used the free segments; what is queued is ordered before whoever gets them next.
void CudaGraph::Drop() {
  if (graph_ == nullptr) return;
  CudaStream::DestroyGraph(std::exchange(graph_, nullptr));
  if (--graphs_alive == 0) GraphMemory().Trim();
}

bool CudaGraph::Capture(absl::FunctionRef<void()> work) {
  LORIKEET_CHECK(graph_ == nullptr) << "CudaGraph: captured already";
  scratch_ = internal::CudaScratchGeneration();
  {
    const DeviceMemoryScope memory(GraphMemory());
    ComputeStream().BeginCapture();
    work();
    graph_ = ComputeStream().EndCapture();
  }
  ++graphs_alive;
  if (!valid()) Drop();
  return captured();
}

bool CudaGraph::valid() const { return graph_ != nullptr && scratch_ == internal::CudaScratchGeneration(); }

void CudaGraph::Launch() {
  LORIKEET_CHECK(valid()) << "CudaGraph: " << (graph_ == nullptr ? "nothing was captured" : "scratch has moved");
  ComputeStream().LaunchGraph(graph_);
}

}  // namespace lorikeet
