// Where an adapter starts: the first values of A and B. Some methods take these out of the base's weight, which then
// has to give them up.
//
//   absl::StatusOr<LoraInit> init = ParseLoraInit("pissa_niter_4");
//   absl::StatusOr<LoraStart> start = StartFactors(*init, slot, w, rank, scaling, key);
//   if (init->moves_base()) slot.map = WithoutProduct(*slot.map, *start, scaling);
//
// With s the scaling, W [out, in] and SVD(M) = U*S*V^T:
//   kaiming        A ~ U(-1/sqrt(in), 1/sqrt(in)),  B = 0                  Hu et al., 2021; PEFT's "true"
//   gaussian       A ~ N(0, (1/r)^2),  B = 0
//   orthogonal     A and B random with B*A = 0; r even
//   pissa          A = sqrt(S/s)*V^T,  B = U*sqrt(S/s), of W's r largest singular values;  W -= s*B*A
//                                                                          Meng et al., 2024
//   pissa_niter_K  the same by random projections and K power iterations
//   olora          A = R, B = Q, the first r rows and columns of W's QR factors;  W -= s*B*A
//                                                                          Büyükakyüz, 2024
//   loftq          as pissa, of W - base: what 4 bits lost; the base stays Li et al., 2023
//   embeddings     A ~ N(0, 1),  B = 0, for kaiming and gaussian alone     as in PEFT
// All but loftq leave the model computing what it did, up to rounding; loftq brings it nearer to the original weights
// (one iteration of the paper's algorithm; more would change the base's codes, and the adapter would fit no other
// base). Unlike PEFT's, loftq's factors are divided by s, which the forward pass multiplies by. A base that gives up
// s*B*A must be dense; saved, such an adapter becomes an ordinary one of twice the rank (peft/adapter_tensors.h).
// Threads: any. Errors (InvalidArgument): an unknown name, an odd rank, a packed base.
#ifndef LORIKEET_PEFT_LORA_INIT_H_
#define LORIKEET_PEFT_LORA_INIT_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nn/linear_map.h"
#include "tensor/random.h"
#include "tensor/tensor.h"

namespace lorikeet {

struct LoraInit {
  enum class Kind : uint8_t { kKaiming, kGaussian, kOrthogonal, kPissa, kOlora, kLoftq };
  Kind kind = Kind::kKaiming;
  int power_iterations = -1;  // of pissa; -1: the exact SVD

  // True if the base's weight changes.
  bool moves_base() const { return kind == Kind::kPissa || kind == Kind::kOlora; }
};

// The names above, which are init_lora_weights' in PEFT.
absl::StatusOr<LoraInit> ParseLoraInit(absl::string_view name);

struct LoraStart {
  Tensor a;  // [rank, in]
  Tensor b;  // [out, rank]
};

// `original` [out, in] is the weight before it was packed, for loftq alone. Results are f32, or f64 over an f64 base.
absl::StatusOr<LoraStart> StartFactors(const LoraInit& init, const MapSlot& slot, const Tensor& original, int64_t rank,
                                       double scaling, RngKey key);

// A frozen dense map of base's weight less s*B*A, in base's dtype.
std::unique_ptr<LinearMap> WithoutProduct(const LinearMap& base, const LoraStart& start, double scaling);

}  // namespace lorikeet

#endif  // LORIKEET_PEFT_LORA_INIT_H_
