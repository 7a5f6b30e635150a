#include "tensor/io/gguf_rope.h"

#include "tensor/check.h"

namespace lorikeet {

Tensor UnpermuteRope(const Tensor& w, int64_t heads) {
  LORIKEET_CHECK(w.rank() >= 1 && heads > 0 && w.dim(0) % (2 * heads) == 0)
      << "UnpermuteRope: " << Describe(w) << " with " << heads << " heads";
  const int64_t half = w.dim(0) / heads / 2;
  return w.Reshape({heads, half, 2, -1}).Transpose(1, 2).Clone().Reshape(w.shape());
}

}  // namespace lorikeet
