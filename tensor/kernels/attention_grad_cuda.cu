// Attention, backward: what both walks need of every row of y, then the walks (attention_grad_cuda.h).
#include <cstdint>
#include <type_traits>

#include "tensor/dtype.h"
#include "tensor/kernels/attention.h"
#include "tensor/kernels/attention_cuda.h"
#include "tensor/kernels/attention_grad_cuda.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_reduce.h"
#include "tensor/kernels/cuda_scratch.h"
#include "tensor/kernels/launch.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {
namespace {

// delta[token, head] = dy.y, a warp each.
template <typename T>
__global__ void __launch_bounds__(kBlockThreads)
    DeltaKernel(HeadView<T> dy, HeadView<T> y, RowView delta, int64_t rows) {
  const int64_t row = (static_cast<int64_t>(blockIdx.x) * kBlockThreads + threadIdx.x) / 32;
  if (row >= rows) return;
  const int64_t token = row / y.heads, head = row % y.heads;
  const T* a = dy.data + token * dy.token + head * dy.head;
  const T* b = y.data + token * y.token + head * y.head;
  float sum = 0;
  for (int i = Lane(); i < y.d; i += 32) {
    sum = fmaf(static_cast<float>(a[i * dy.column]), static_cast<float>(b[i * y.column]), sum);
  }
  sum = WarpSum(sum);
  if (Lane() == 0) delta.at(token, head) = sum;
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
      const unsigned blocks = static_cast<unsigned>((rows + kBlockThreads / 32 - 1) / (kBlockThreads / 32));
      CheckCuda(
          Launch(DeltaKernel<T>, blocks, kBlockThreads, 0, StreamOf(context), args.dy, HeadsOf<T>(y), args.delta, rows),
          "attention_grad");
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
