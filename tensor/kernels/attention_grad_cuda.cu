// Attention, backward: what both walks need of every row of y, then the walks (attention_grad_cuda.h).
#include <cstdint>
#include <type_traits>

#include "tensor/dtype.h"
#include "tensor/kernels/attention.h"
#include "tensor/kernels/attention_cuda.h"
#include "tensor/kernels/attention_grad_cuda.h"
#include "tensor/kernels/cuda_chunk.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_reduce.h"
#include "tensor/kernels/cuda_scratch.h"
#include "tensor/kernels/cuda_vector.h"
#include "tensor/kernels/launch.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {
namespace {

// delta[token, head] = dy.y: of `threads` lanes a row, a power of two, and 32 / threads rows to a warp. kCount elements
// at once, 16 bytes where both sides allow that.
template <typename T, int kCount>
__global__ void __launch_bounds__(kBlockThreads)
    DeltaKernel(HeadView<T> dy, HeadView<T> y, RowView delta, int64_t rows, int threads) {
  const int64_t row = (static_cast<int64_t>(blockIdx.x) * kBlockThreads + threadIdx.x) / threads;
  const int lane = static_cast<int>(threadIdx.x) % threads;
  const int64_t token = row / y.heads, head = row % y.heads;
  float sum = 0;
  if (row < rows) {
    const T* a = dy.data + token * dy.token + head * dy.head;
    const T* b = y.data + token * y.token + head * y.head;
    for (int i = lane * kCount; i < y.d; i += threads * kCount) {
      float u[kCount], v[kCount];
      Widen(LoadRaw<kCount>(a + (kCount == 1 ? i * dy.column : i)), u);
      Widen(LoadRaw<kCount>(b + (kCount == 1 ? i * y.column : i)), v);
      for (int j = 0; j < kCount; ++j) sum = fmaf(u[j], v[j], sum);
    }
  }
  for (int distance = threads / 2; distance > 0; distance /= 2) sum += __shfl_xor_sync(kWholeWarp, sum, distance);
  if (row < rows && lane == 0) delta.at(token, head) = sum;
}

template <typename T>
void LaunchDelta(const HeadView<T>& dy, const HeadView<T>& y, const RowView& delta, int64_t rows, bool packs,
                 cudaStream_t stream) {
  constexpr int kPack = static_cast<int>(kPackBytes / sizeof(T));
  int threads = 1;
  while (threads < 32 && threads * (packs ? kPack : 1) < y.d) threads *= 2;
  const int64_t rows_a_block = kBlockThreads / threads;
  CheckCuda(Launch(packs ? DeltaKernel<T, kPack> : DeltaKernel<T, 1>,
                   static_cast<unsigned>((rows + rows_a_block - 1) / rows_a_block), kBlockThreads, 0, stream, dy, y,
                   delta, rows, threads),
            "attention_grad");
}

}  // namespace

void CudaAttentionGrad(View dy, View q, View k, View v, View y, View lse, const AttentionParams& params, View dq,
                       View dk, View dv, LaunchContext context) {
  const int64_t rows = q.dims[0] * q.dims[1];
  DispatchFloat(q.dtype, "attention_grad", [&]<typename T>(T) {
    const Batch batch = BatchOf(params);
    if (batch.sequences == 0) return;
    float* sums = static_cast<float*>(CudaScratch(kCudaScratchAttention, static_cast<size_t>(rows) * sizeof(float)));
    const GradArgs<T> args{.dy = HeadsOf<T>(dy),
                           .q = HeadsOf<T>(q),
                           .k = HeadsOf<T>(k),
                           .v = HeadsOf<T>(v),
                           .dq = HeadsOf<T>(dq),
                           .dk = HeadsOf<T>(dk),
                           .dv = HeadsOf<T>(dv),
                           .lse = {lse.ptr<float>(), lse.strides[0], lse.strides[1]},
                           .delta = {sums, q.dims[1], 1},
                           .batch = batch,
                           .tokens = q.dims[0],
                           .ctx = k.dims[0]};
    if (rows > 0) {
      LaunchDelta(args.dy, HeadsOf<T>(y), args.delta, rows, Vectorisable(dy) && Vectorisable(y), StreamOf(context));
    }
    if constexpr (std::is_same_v<T, float>) {
      GradF32(args, context);
    } else if (WgmmaGrad(args, context)) {
      return;
    } else if constexpr (std::is_same_v<T, bf16>) {
      GradBF16(args, context);
    } else {
      GradF16(args, context);
    }
  });
}

}  // namespace lorikeet::internal
