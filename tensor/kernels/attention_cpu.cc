#include <cstdint>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/kernels/attention.h"
#include "tensor/kernels/attention_f64.h"
#include "tensor/kernels/copy.h"
#include "tensor/kernels/launch.h"
#include "tensor/view.h"

namespace lorikeet {
namespace {

using internal::AttentionF64;
using internal::AttentionGradF64;

// A contiguous f64 tensor of v's dims, and its way back into v.
struct Wide {
  explicit Wide(const View& v) : original(v), values(static_cast<size_t>(v.size())), view(v) {
    view.data = values.data();
    view.dtype = DType::kF64;
    for (int64_t i = v.rank - 1, stride = 1; i >= 0; stride *= v.dims[i--]) view.strides[i] = stride;
  }
  Wide& Load() { return kCpuCopy.copy(original, view, {}), *this; }
  void Store() const { kCpuCopy.copy(view, original, {}); }

  View original;
  std::vector<double> values;
  View view;
};

void Attention(View q, View k, View v, const AttentionParams& params, View y, View lse, LaunchContext) {
  if (q.dtype == DType::kF64) return AttentionF64(q, k, v, params, y, lse);
  Wide wq(q), wk(k), wv(v), wy(y), wlse(lse);
  AttentionF64(wq.Load().view, wk.Load().view, wv.Load().view, params, wy.view, wlse.view);
  wy.Store();
  wlse.Store();
}

void AttentionGrad(View dy, View q, View k, View v, View y, View lse, const AttentionParams& params, View dq, View dk,
                   View dv, LaunchContext) {
  if (q.dtype == DType::kF64) return AttentionGradF64(dy, q, k, v, y, lse, params, dq, dk, dv);
  Wide wdy(dy), wq(q), wk(k), wv(v), wy(y), wlse(lse), wdq(dq), wdk(dk), wdv(dv);
  AttentionGradF64(wdy.Load().view, wq.Load().view, wk.Load().view, wv.Load().view, wy.Load().view, wlse.Load().view,
                   params, wdq.view, wdk.view, wdv.view);
  wdq.Store();
  wdk.Store();
  wdv.Store();
}

}  // namespace

const AttentionKernels kCpuAttention = {.attention = Attention, .attention_grad = AttentionGrad};

}  // namespace lorikeet
