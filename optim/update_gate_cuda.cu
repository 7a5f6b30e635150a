#include <cstdint>

#include "optim/clip_factor.h"
#include "optim/update_gate_kernels.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/launch.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet {
namespace {

using internal::CheckCuda;
using internal::StreamOf;

constexpr int kThreads = 512;

// One block reads, so that the loads of some hundred sums are under way together; its first thread adds them in order.
__global__ void DecideKernel(const double* sums, int64_t n, int64_t gradients, double max_norm, double* gate) {
  CUDA_SHARED(double[kThreads], chunk);
  double sum = 0;
  bool open = threadIdx.x == 0 && gate[1] != 0;  // nobody else looks where the first thread will write
  for (int64_t begin = 0; begin < n; begin += kThreads) {
    const int64_t i = begin + threadIdx.x;
    chunk[threadIdx.x] = i < n ? sums[i] : 0;
    __syncthreads();
    if (threadIdx.x == 0) {
      for (int64_t j = 0; j < kThreads; ++j) {
        const double x = chunk[j];
        if (begin + j < gradients) sum += x;
        open = open && x - x == 0;  // false for NaN and infinities
      }
    }
    __syncthreads();
  }
  if (threadIdx.x != 0) return;
  gate[0] = open ? ClipFactor(sqrt(sum), max_norm) : nan("");
  gate[1] = open ? 1 : 0;
}

void Decide(View sums, int64_t gradients, double max_norm, View gate, LaunchContext context) {
  CheckCuda(Launch(DecideKernel, 1u, static_cast<unsigned>(kThreads), 0, StreamOf(context), sums.ptr<const double>(),
                   sums.size(), gradients, max_norm, gate.ptr<double>()),
            "update gate");
}

}  // namespace

extern const UpdateGateKernels kCudaUpdateGate = {.decide = Decide};

}  // namespace lorikeet
