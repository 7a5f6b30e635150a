#include "tensor/dtype.h"
#include "tensor/kernels/attention.h"
#include "tensor/kernels/attention_f32.h"
#include "tensor/kernels/attention_f64.h"
#include "tensor/kernels/attention_rows.h"
#include "tensor/kernels/launch.h"
#include "tensor/view.h"

namespace lorikeet {
namespace {

void Attention(View q, View k, View v, const AttentionParams& params, View y, View lse, LaunchContext) {
  const bool few = internal::FitsAttentionRows(k, v, params);
  const auto run = q.dtype == DType::kF64 ? internal::AttentionF64
                   : few                  ? internal::AttentionRows
                                          : internal::AttentionF32;
  run(q, k, v, params, y, lse);
}

void AttentionGrad(View dy, View q, View k, View v, View y, View lse, const AttentionParams& params, View dq, View dk,
                   View dv, LaunchContext) {
  const auto run = q.dtype == DType::kF64 ? internal::AttentionGradF64 : internal::AttentionGradF32;
  run(dy, q, k, v, y, lse, params, dq, dk, dv);
}

}  // namespace

const AttentionKernels kCpuAttention = {.attention = Attention, .attention_grad = AttentionGrad};

}  // namespace lorikeet
