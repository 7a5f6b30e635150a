#include "tensor/ops/rope_scaling.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tensor/check.h"
#include "tensor/shape.h"

namespace lorikeet::tensor {
namespace {

using Kind = RopeScaling::Kind;

double Llama3(double frequency, const RopeScaling& s) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  const double context = static_cast<double>(s.original_max_position);
  if (wavelength > context / s.low_freq_factor) return frequency / s.factor;
  if (wavelength < context / s.high_freq_factor) return frequency;
  const double smooth = (context / wavelength - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
  return (1 - smooth) * frequency / s.factor + smooth * frequency;
}

// The pairs between which YaRN passes from kept frequencies to divided ones.
struct Passage {
  double from, to;

  Passage(double theta, int64_t head_dim, const RopeScaling& s) {
    const double n = static_cast<double>(head_dim), context = static_cast<double>(s.original_max_position);
    const auto pair_that_turns = [&](double times) {
      return n * std::log(context / (times * 2 * std::numbers::pi)) / (2 * std::log(theta));
    };
    from = pair_that_turns(s.beta_fast);
    to = pair_that_turns(s.beta_slow);
    if (s.truncate) {
      from = std::floor(from);
      to = std::ceil(to);
    }
    from = std::max(from, 0.0);
    to = std::min(to, n - 1);  // of the dimensions, not of the pairs, as the published code has it
    if (from == to) to += 0.001;
  }
  double Divided(size_t pair) const { return std::clamp((static_cast<double>(pair) - from) / (to - from), 0.0, 1.0); }
};

double Yarn(double frequency, size_t pair, const Passage& passage, const RopeScaling& s) {
  const double divided = passage.Divided(pair);
  return divided * frequency / s.factor + (1 - divided) * frequency;
}

// `factors`: kLongRope's, of one length.
std::vector<double> Scaled(double theta, int64_t head_dim, const RopeScaling& s, const std::vector<double>& factors) {
  std::vector<double> f(static_cast<size_t>(head_dim / 2));
  for (size_t i = 0; i < f.size(); ++i) {
    f[i] = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
    if (s.kind == Kind::kLinear) f[i] /= s.factor;
    if (s.kind == Kind::kLlama3) f[i] = Llama3(f[i], s);
    if (s.kind == Kind::kYarn) f[i] = Yarn(f[i], i, Passage(theta, head_dim, s), s);
    if (s.kind == Kind::kLongRope) f[i] /= factors[i];
  }
  return f;
}

}  // namespace

Tensor RopeFrequencies(double theta, int64_t head_dim, const RopeScaling& scaling, DType dtype) {
  LORIKEET_CHECK(theta > 0 && head_dim >= 0 && head_dim % 2 == 0)
      << "RopeFrequencies: theta " << theta << ", head_dim " << head_dim << " (must be even)";
  LORIKEET_CHECK(dtype == DType::kF32 || dtype == DType::kF64) << "RopeFrequencies: dtype " << Name(dtype);
  if (scaling.kind != Kind::kLongRope) {
    return Tensor::From<double>(Scaled(theta, head_dim, scaling, {}), {head_dim / 2}).Cast(dtype);
  }
  std::vector<double> both;
  for (const std::vector<double>* factors : {&scaling.short_factor, &scaling.long_factor}) {
    LORIKEET_CHECK(static_cast<int64_t>(factors->size()) == head_dim / 2)
        << "RopeFrequencies: " << factors->size() << " factors, expected " << head_dim / 2;
    const std::vector<double> f = Scaled(theta, head_dim, scaling, *factors);
    both.insert(both.end(), f.begin(), f.end());
  }
  return Tensor::From<double>(both, {2, head_dim / 2}).Cast(dtype);
}

double YarnMScale(double factor, double mscale) { return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1; }

double RopeAttentionFactor(const RopeScaling& s) {
  if (s.kind != Kind::kYarn && s.kind != Kind::kLongRope) return 1;
  if (s.attention_factor > 0) return s.attention_factor;
  if (s.kind == Kind::kYarn) return YarnMScale(s.factor);
  if (s.factor <= 1) return 1;
  return std::sqrt(1 + std::log(s.factor) / std::log(static_cast<double>(s.original_max_position)));
}

}  // namespace lorikeet::tensor
