// Attention, forward (attention_forward_cuda.h): the shapes of its blocks, and which of them a call gets.
#include <cstdint>
#include <type_traits>

#include "tensor/dtype.h"
#include "tensor/kernels/attention.h"
#include "tensor/kernels/attention_cuda.h"
#include "tensor/kernels/attention_forward_cuda.h"
#include "tensor/kernels/attention_tile_cuda.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/launch.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet {
namespace internal {
namespace {

// 32 queries a warp read every fragment of keys for twice the work of 16, where registers allow. kSmall: within the
// shared memory of a consumer device. Most shapes are so anyway.
template <typename T, int kD, bool kSmall>
struct ForwardShape {
  static constexpr int kWarps = sizeof(T) == 4 && kD == 256 ? 2 : 4;
  static constexpr int kM = sizeof(T) == 2 && kD <= 128 ? 2 : 1;
  static constexpr int kRows = 16 * kM * kWarps;
  static constexpr bool kFewColumns = kSmall && (sizeof(T) == 2 ? kD >= 128 : kD == 128);
  static constexpr int kColumns = (sizeof(T) == 2 ? 64 : 32) / (kD <= 128 ? 1 : 2) / (kFewColumns ? 2 : 1);
  using Tiles = MmaTiles<T, kD, 32 * kWarps>;
  static constexpr size_t kShared = sizeof(T) * TilePitch<T>(kD) * (kRows + 4 * kColumns);
  static_assert(!kSmall || kShared <= kSmallSharedMemory);
};

template <typename T, int kD>
void Run(const ForwardArgs<T>& args, int64_t tokens, LaunchContext context) {
  using Large = ForwardShape<T, kD, false>;
  using Small = ForwardShape<T, kD, true>;
  if constexpr (Large::kShared != Small::kShared) {
    if (FitsSharedMemory(Large::kShared)) return LaunchForward<T, kD, Large>(args, tokens, context);
  }
  LaunchForward<T, kD, Small>(args, tokens, context);
}

void Attention(View q, View k, View v, const AttentionParams& params, View y, View lse, LaunchContext context) {
  DispatchFloat(q.dtype, "attention", [&]<typename T>(T) {
    if (q.dims[0] == 0) return;
    if (FitsDecode(q, params)) return CudaAttentionDecode(q, k, v, params, y, lse, context);
    const ForwardArgs<T> args{.q = HeadsOf<T>(q),
                              .k = HeadsOf<T>(k),
                              .v = HeadsOf<T>(v),
                              .y = HeadsOf<T>(y),
                              .lse = {lse.ptr<float>(), lse.strides[0], lse.strides[1]},
                              .batch = BatchOf(params)};
    if (WgmmaForward(args, q.dims[0], context)) return;
    DispatchHeadDim(q.dims[2], [&]<int kD>(std::integral_constant<int, kD>) { Run<T, kD>(args, q.dims[0], context); });
  });
}

}  // namespace
}  // namespace internal

extern const AttentionKernels kCudaAttention = {.attention = internal::Attention,
                                                .attention_grad = internal::CudaAttentionGrad};

}  // namespace lorikeet
