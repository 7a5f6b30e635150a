// Attention by Hopper's warpgroups: the same kernels as without them, on WgmmaTiles. Compiled for sm_90a alone.
#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/attention_cuda.h"
#include "tensor/kernels/attention_forward_cuda.h"
#include "tensor/kernels/attention_grad_cuda.h"
#include "tensor/kernels/attention_wgmma_cuda.h"
#include "tensor/kernels/launch.h"
#include "third_party/cuda/runtime.h"
#include "third_party/cuda/wgmma.h"

namespace lorikeet::internal {
namespace {

// kGroups warpgroups of 64 rows.
template <typename T, int kD, int kGroups, int kColumns_>
struct WgmmaForwardShape {
  static constexpr int kWarps = 4 * kGroups, kM = 1, kRows = 64 * kGroups, kColumns = kColumns_;
  using Tiles = WgmmaTiles<T, kD, 32 * kWarps>;
  static constexpr size_t kShared = Tiles::kAlignment + sizeof(T) * kD * (kRows + 4 * kColumns);
};

template <typename T, int kD, GradOf kOf, int kGroups, int kColumns_>
struct WgmmaGradShape : GradKind<kOf> {
  static constexpr int kThreads = 128 * kGroups, kM = 1, kRows = 64 * kGroups, kColumns = kColumns_;
  using Tiles = WgmmaTiles<T, kD, kThreads>;
  static constexpr size_t kShared =
      Tiles::kAlignment + sizeof(T) * kD * (2 * kRows + 4 * kColumns) + sizeof(float) * 4 * kColumns;
};

// f with the width of heads as a constant, if there are such kernels and this device runs them.
template <typename F>
bool WithWgmma(int d, F f) {
  if (!HasWgmma() || !FitsSharedMemory(200 << 10) || (d != 64 && d != 128)) return false;
  d == 64 ? f(std::integral_constant<int, 64>{}) : f(std::integral_constant<int, 128>{});
  return true;
}

template <typename T>
bool Forward(const ForwardArgs<T>& args, int64_t tokens, LaunchContext context) {
  return WithWgmma(args.q.d, [&]<int kD>(std::integral_constant<int, kD>) {
    LaunchForward<T, kD, WgmmaForwardShape<T, kD, 2, 128>>(args, tokens, context);
  });
}

template <typename T>
bool Grad(const GradArgs<T>& args, LaunchContext context) {
  return WithWgmma(args.q.d, [&]<int kD>(std::integral_constant<int, kD>) {
    LaunchGrad<T, kD, WgmmaGradShape<T, kD, GradOf::kQueries, 2, 64>>(args, context);
    LaunchGrad<T, kD, WgmmaGradShape<T, kD, GradOf::kKeys, 2, 64>>(args, context);
  });
}

}  // namespace

bool WgmmaForward(const ForwardArgs<bf16>& args, int64_t tokens, LaunchContext context) {
  return Forward(args, tokens, context);
}
bool WgmmaForward(const ForwardArgs<f16>& args, int64_t tokens, LaunchContext context) {
  return Forward(args, tokens, context);
}
bool WgmmaGrad(const GradArgs<bf16>& args, LaunchContext context) { return Grad(args, context); }
bool WgmmaGrad(const GradArgs<f16>& args, LaunchContext context) { return Grad(args, context); }

}  // namespace lorikeet::internal
