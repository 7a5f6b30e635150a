#include "peft/lora_init.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "nn/dense_map.h"
#include "tensor/check.h"
#include "tensor/dtype.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/linalg.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/random.h"
#include "tensor/shape.h"

namespace lorikeet {
namespace {

using Kind = LoraInit::Kind;

constexpr int kMostPowerIterations = 1000;

// B zero, so that whatever A is the adapter changes nothing.
LoraStart BesideZero(Tensor a, int64_t out) {
  Tensor b = Tensor::Zeros({out, a.dim(0)}, a.dtype());
  return {std::move(a), std::move(b)};
}

LoraStart Kaiming(const LinearMap& base, int64_t rank, RngKey key, DType dtype) {
  const double bound = 1 / std::sqrt(static_cast<double>(base.in_features()));
  return BesideZero(tensor::Uniform({rank, base.in_features()}, -bound, bound, key, dtype), base.out_features());
}

LoraStart Gaussian(const LinearMap& base, int64_t rank, RngKey key, DType dtype) {
  const Tensor a = tensor::Normal({rank, base.in_features()}, 0, 1 / static_cast<double>(rank), key, dtype);
  return BesideZero(a, base.out_features());
}

LoraStart ForEmbedding(const LinearMap& base, int64_t rank, RngKey key, DType dtype) {
  return BesideZero(tensor::Normal({rank, base.in_features()}, 0, 1, key, dtype), base.out_features());
}

// The rows of a random orthogonal matrix fall into two halves; A is made of one and B of the other.
LoraStart Orthogonal(const LinearMap& base, int64_t rank, RngKey key, DType dtype) {
  const int64_t half = rank / 2;
  const Tensor q = tensor::ThinQr(tensor::Normal({rank, rank}, 0, 1, key.Fold(0), dtype), rank).q;
  const auto through = [&](const Tensor& rows, int64_t features, RngKey k) {
    return tensor::MatMul(tensor::Normal({features, half}, 0, 0.1, k, dtype), rows);
  };
  const Tensor a = through(q.Slice(0, 0, half), base.in_features(), key.Fold(1)).Transpose(0, 1).Contiguous();
  return {a, through(q.Slice(0, half, rank), base.out_features(), key.Fold(2))};
}

// A and B with s*B*A = u*diag(s)*vt, the singular values shared out evenly.
LoraStart FromSvd(const tensor::Svd& svd, double scaling) {
  const Tensor root = tensor::Sqrt(tensor::Scale(svd.s, 1 / scaling));
  return {tensor::Mul(svd.vt, root.Reshape({root.dim(0), 1})), tensor::Mul(svd.u, root)};
}

// Methods that look at the weight. The rank fits.
absl::StatusOr<LoraStart> FromWeight(const LoraInit& init, const LinearMap& base, const Tensor& original, int64_t rank,
                                     double scaling, RngKey key, DType dtype) {
  if (init.kind == Kind::kLoftq) {
    LORIKEET_CHECK(original.defined()) << "StartFactors: loftq needs the original weight";
    const Tensor lost = tensor::Sub(original.Cast(dtype), base.Dense().To(kCpu).Cast(dtype));
    return FromSvd(tensor::TopSvd(lost, rank), scaling);
  }
  if (dynamic_cast<const DenseMap*>(&base) == nullptr) {
    return absl::InvalidArgumentError(
        "this start changes the base's weights, which are packed here; load them in 16 or 32 bits, or take loftq, "
        "which is made for a base in 4 bits");
  }
  const Tensor w = base.Dense().To(kCpu).Cast(dtype);
  if (init.kind == Kind::kOlora) {
    tensor::Qr qr = tensor::ThinQr(w, rank);
    return LoraStart{std::move(qr.r), std::move(qr.q)};
  }
  const bool exact = init.power_iterations < 0;
  return FromSvd(exact ? tensor::TopSvd(w, rank) : tensor::RandomizedSvd(w, rank, init.power_iterations, key), scaling);
}

}  // namespace

absl::StatusOr<LoraInit> ParseLoraInit(absl::string_view name) {
  const std::pair<absl::string_view, Kind> names[] = {{"true", Kind::kKaiming},          {"gaussian", Kind::kGaussian},
                                                      {"orthogonal", Kind::kOrthogonal}, {"pissa", Kind::kPissa},
                                                      {"olora", Kind::kOlora},           {"loftq", Kind::kLoftq}};
  for (const auto& [known, kind] : names) {
    if (name == known) return LoraInit{kind};
  }
  absl::string_view digits = name;
  int iterations;
  if (absl::ConsumePrefix(&digits, "pissa_niter_") && absl::SimpleAtoi(digits, &iterations) && iterations >= 0 &&
      iterations <= kMostPowerIterations) {
    return LoraInit{Kind::kPissa, iterations};
  }
  return absl::InvalidArgumentError(
      absl::StrCat("init_lora_weights=", name,
                   ": expected true, gaussian, orthogonal, pissa, pissa_niter_K (K power iterations), olora or loftq"));
}

absl::StatusOr<LoraStart> StartFactors(const LoraInit& init, const MapSlot& slot, const Tensor& original, int64_t rank,
                                       double scaling, RngKey key) {
  const LinearMap& base = *slot.map;
  const DType dtype = base.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  const bool beside_zero = init.kind == Kind::kKaiming || init.kind == Kind::kGaussian;
  if (slot.embedding) {
    if (beside_zero) return ForEmbedding(base, rank, key, dtype);
    return absl::InvalidArgumentError("an adapter of an embedding starts with init_lora_weights true or gaussian only");
  }
  if (init.kind == Kind::kKaiming) return Kaiming(base, rank, key, dtype);
  if (init.kind == Kind::kGaussian) return Gaussian(base, rank, key, dtype);
  if (init.kind == Kind::kOrthogonal) {
    if (rank % 2 == 0) return Orthogonal(base, rank, key, dtype);
    return absl::InvalidArgumentError(absl::StrCat("init_lora_weights=orthogonal needs an even rank, not ", rank));
  }
  if (rank <= std::min(slot.in_features, slot.out_features)) {
    return FromWeight(init, base, original, rank, scaling, key, dtype);
  }
  return absl::InvalidArgumentError(absl::StrCat("rank ", rank, " is more than a weight of ", slot.out_features, " x ",
                                                 slot.in_features,
                                                 " has, and init_lora_weights takes A and B from the weight"));
}

std::unique_ptr<LinearMap> WithoutProduct(const LinearMap& base, const LoraStart& start, double scaling) {
  Tensor w = base.Dense().To(kCpu).Cast(start.a.dtype());
  if (w.use_count() > 1) w = w.Clone();
  tensor::MatMulInto(w, start.b, false, start.a, false, static_cast<float>(-scaling), 1);
  return std::make_unique<DenseMap>(w.Cast(base.dtype()).To(base.device()));
}

}  // namespace lorikeet
