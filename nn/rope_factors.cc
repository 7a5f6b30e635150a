#include "nn/rope_factors.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "absl/types/span.h"
#include "tensor/dtype.h"
#include "tensor/ops/elementwise.h"
#include "tensor/shape.h"

namespace lorikeet {
namespace {

constexpr double kTolerance = 1e-4;

Tensor FactorsOf(const RopeScaling& scaling, const ModelConfig& c) {
  const Tensor plain = tensor::RopeFrequencies(c.rope_theta, c.head_dim, {}, DType::kF64);
  const Tensor scaled = tensor::RopeFrequencies(c.rope_theta, c.head_dim, scaling, DType::kF64);
  return tensor::Div(plain, scaled).Cast(DType::kF32);
}

bool Alike(absl::Span<const float> ours, absl::Span<const float> given) {
  return std::equal(ours.begin(), ours.end(), given.begin(), given.end(),
                    [](float x, float y) { return std::abs(x - y) <= kTolerance * std::abs(x); });
}

}  // namespace

std::vector<RopeTensor> RopeTensors(const ModelConfig& config) {
  const RopeScaling& s = config.rope_scaling;
  if (s.kind == RopeScaling::Kind::kLlama3) return {{kRopeFactors, FactorsOf(s, config)}};
  if (s.kind != RopeScaling::Kind::kLongRope) return {};
  const auto stored = [](const std::vector<double>& factors) {
    return Tensor::From<double>(factors, {static_cast<int64_t>(factors.size())}).Cast(DType::kF32);
  };
  return {{kShortRopeFactors, stored(s.short_factor)}, {kLongRopeFactors, stored(s.long_factor)}};
}

bool IsRopeTensor(absl::string_view name) {
  return name == kRopeFactors || name == kShortRopeFactors || name == kLongRopeFactors;
}

absl::optional<RopeScaling> ScalingOfFactors(const Tensor& factors, const ModelConfig& config) {
  if (config.head_dim < 2 || config.head_dim % 2 != 0 || !(config.rope_theta > 1)) return absl::nullopt;
  if (factors.dtype() != DType::kF32 || factors.shape() != Shape{config.head_dim / 2}) return absl::nullopt;
  const absl::Span<const float> each = factors.data<float>();
  const double longest = each.back();  // of the longest wavelength; rounding has mostly left it beside a whole number
  RopeScaling scaling = {.kind = RopeScaling::Kind::kLlama3, .factor = longest};
  if (std::abs(longest - std::round(longest)) <= 1e-6 * longest) scaling.factor = std::round(longest);
  if (!(scaling.factor >= 1 && scaling.factor <= 1e6)) return absl::nullopt;
  const auto gives_them = [&](int64_t original) {
    scaling.original_max_position = original;
    return Alike(FactorsOf(scaling, config).data<float>(), each);
  };
  if (gives_them(8192)) return scaling;
  for (int64_t original = 16; original <= int64_t{1} << 28; original *= 2) {
    if (gives_them(original)) return scaling;
  }
  return absl::nullopt;
}

}  // namespace lorikeet
