#include "tensor/io/gguf_rope.h"

#include "tensor/check.h"

namespace lorikeet {
namespace {

int64_t HalfHead(const char* op, const Tensor& w, int64_t heads) {
  LORIKEET_CHECK(w.rank() >= 1 && heads > 0 && w.dim(0) % (2 * heads) == 0)
      << op << ": " << Describe(w) << " with " << heads << " heads";
  return w.dim(0) / heads / 2;
}

}  // namespace

Tensor UnpermuteRope(const Tensor& w, int64_t heads) {
  const int64_t half = HalfHead("UnpermuteRope", w, heads);
  return w.Reshape({heads, half, 2, -1}).Transpose(1, 2).Clone().Reshape(w.shape());
}

Tensor PermuteRope(const Tensor& w, int64_t heads) {
  const int64_t half = HalfHead("PermuteRope", w, heads);
  return w.Reshape({heads, 2, half, -1}).Transpose(1, 2).Clone().Reshape(w.shape());
}

}  // namespace lorikeet
