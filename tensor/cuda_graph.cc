#include "tensor/cuda_graph.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "tensor/check.h"
#include "tensor/cuda_stream.h"
#include "tensor/default_allocator.h"
#include "tensor/kernels/cuda_scratch.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet {
BlockAllocator& GraphMemory() {
  static BlockAllocator* const memory = new BlockAllocator(&DeviceMemory(), BlockAllocator::Segments::kKeep);
  return *memory;
}

CudaGraph::CudaGraph(CudaGraph&& other) noexcept
    : graph_(std::exchange(other.graph_, nullptr)), scratch_(other.scratch_) {}

bool CudaGraph::valid() const { return graph_ != nullptr && scratch_ == internal::CudaScratchGeneration(); }

#ifdef LORIKEET_CUDA

namespace {

int64_t graphs_alive = 0;

// Nobody launches what used the free segments any more; what is queued is ordered before whoever gets them next.
void OneLess() {
  if (--graphs_alive == 0) GraphMemory().Trim();
}

void Check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "CUDA: %s: %s\n", what, cudaGetErrorString(error));
  std::fflush(stderr);
  std::abort();
}

cudaStream_t Stream() { return static_cast<cudaStream_t>(ComputeStream().handle()); }

}  // namespace

// Relaxed: new segments of memory are taken during the capture, which stricter modes forbid.
void CudaGraph::Capture(absl::FunctionRef<void()> work) {
  LORIKEET_CHECK(graph_ == nullptr) << "CudaGraph: captured already";
  scratch_ = internal::CudaScratchGeneration();
  cudaGraph_t graph = nullptr;
  {
    const DeviceMemoryScope memory(GraphMemory());
    Check(cudaStreamBeginCapture(Stream(), cudaStreamCaptureModeRelaxed), "capture");
    work();
    Check(cudaStreamEndCapture(Stream(), &graph), "end of capture");
  }
  LORIKEET_CHECK_EQ(scratch_, internal::CudaScratchGeneration()) << "CudaGraph: scratch grew during the capture; run "
                                                                    "the work once before";
  cudaGraphExec_t executable = nullptr;
  Check(cudaGraphInstantiate(&executable, graph, 0), "graph");
  Check(cudaGraphDestroy(graph), "graph");
  graph_ = executable;
  ++graphs_alive;
}

void CudaGraph::Launch() {
  LORIKEET_CHECK(valid()) << "CudaGraph: " << (graph_ == nullptr ? "nothing was captured" : "scratch has moved");
  Check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph_), Stream()), "graph launch");
}

// In a process that ends the driver may be gone already: nothing is checked.
CudaGraph::~CudaGraph() {
  if (graph_ == nullptr) return;
  (void)cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph_));
  OneLess();
}

#else

void CudaGraph::Capture(absl::FunctionRef<void()>) {
  std::fprintf(stderr, "CUDA: this build has no CUDA backend\n");
  std::abort();
}
void CudaGraph::Launch() {
  Capture([] {});
}
CudaGraph::~CudaGraph() = default;

#endif

}  // namespace lorikeet
