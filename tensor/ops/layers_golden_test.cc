// Norms, rotations and attention against PyTorch's values and gradients in f64 (tests/golden/README.md): in f64 to the
// last digits, and in f32 on every instruction set.
#include <cmath>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/io/safetensors.h"
#include "tensor/ops/attention.h"
#include "tensor/ops/each_target.h"
#include "tensor/ops/norm.h"
#include "tensor/ops/rope.h"
#include "tensor/ops/rope_scaling.h"
#include "tensor/ops/testing.h"
#include "tensor/tensor.h"

namespace lorikeet::tensor {
namespace {

Tensor Golden(const std::string& name) {
  static const auto* file = new auto(SafetensorsFile::Open("tests/golden/ops.safetensors"));
  EXPECT_TRUE(file->ok()) << file->status();
  if (!file->ok()) return {};
  absl::StatusOr<Tensor> tensor = (**file)->Read(name);
  EXPECT_TRUE(tensor.ok()) << tensor.status();
  return tensor.ok() ? *tensor : Tensor();
}

// body(dtype, tolerance): f64 once, f32 on every instruction set.
template <typename F>
void ForEachArithmetic(F&& body) {
  body(DType::kF64, 1e-9);
  ForEachTarget([&] { body(DType::kF32, 5e-6); });
}

void ExpectGolden(const Tensor& got, const std::string& name, double tolerance) {
  EXPECT_TRUE(IsClose(got, Values(Golden(name)), tolerance)) << name;
}

void CheckRmsNorm(const std::string& op, float eps) {
  ForEachArithmetic([&](DType dtype, double tolerance) {
    const Tensor x = Golden(op + ".x").Cast(dtype), w = Golden(op + ".w").Cast(dtype);
    const auto [y, rstd] = RmsNorm(x, w, eps);
    const auto [dx, dw] = RmsNormGrad(Golden(op + ".dy").Cast(dtype), x, w, rstd);
    // eps is a float here and a double there; small rows feel its last digits.
    tolerance = std::fmax(tolerance, 1e-7);
    ExpectGolden(y, op + ".y", tolerance);
    ExpectGolden(dx, op + ".dx", tolerance);
    ExpectGolden(dw, op + ".dw", tolerance);
  });
}

TEST(LayersGolden, RmsNorm) { CheckRmsNorm("rms_norm", 1e-6f); }
TEST(LayersGolden, RmsNormOfSmallRows) { CheckRmsNorm("rms_norm_small", 1e-5f); }

void CheckRope(const std::string& op, RopeLayout layout) {
  ForEachArithmetic([&](DType dtype, double tolerance) {
    // The table itself is ours, from the same positions and frequencies; f32 angles near 4095 are off by 1e-4.
    const Tensor inv_freq = RopeFrequencies(10000, 12, {}, dtype);
    const RopeTable table = MakeRopeTable(Golden(op + ".positions"), inv_freq);
    if (dtype == DType::kF32) tolerance = 2e-3;
    ExpectGolden(table.cos, op + ".cos", tolerance);
    ExpectGolden(table.sin, op + ".sin", tolerance);
    ExpectGolden(Rope(Golden(op + ".x").Cast(dtype), table, layout), op + ".y", tolerance);
    ExpectGolden(RopeGrad(Golden(op + ".dy").Cast(dtype), table, layout), op + ".dx", tolerance);
  });
}

TEST(LayersGolden, RopeSplitHalf) { CheckRope("rope", RopeLayout::kSplitHalf); }
TEST(LayersGolden, RopeInterleaved) { CheckRope("rope_interleaved", RopeLayout::kInterleaved); }

void CheckAttention(const std::string& op, AttentionArgs args) {
  const double head_dim = static_cast<double>(Golden(op + ".q").dim(2));
  args.scale = static_cast<float>(1 / std::sqrt(head_dim));
  ForEachArithmetic([&](DType dtype, double tolerance) {
    const Tensor q = Golden(op + ".q").Cast(dtype), k = Golden(op + ".k").Cast(dtype),
                 v = Golden(op + ".v").Cast(dtype);
    const auto [y, lse] = Attention(q, k, v, args);
    const auto [dq, dk, dv] = AttentionGrad(Golden(op + ".dy").Cast(dtype), q, k, v, y, lse, args);
    tolerance = std::fmax(tolerance, 1e-6);  // the scale is a float here and a double there
    ExpectGolden(y, op + ".y", tolerance);
    ExpectGolden(dq, op + ".dq", tolerance);
    ExpectGolden(dk, op + ".dk", tolerance);
    ExpectGolden(dv, op + ".dv", tolerance);
  });
}

AttentionArgs OneSequence(int32_t queries, int32_t keys) {
  return {.cu_seqlens_q = Tensor::From<int32_t>({0, queries}, {2}),
          .cu_seqlens_k = Tensor::From<int32_t>({0, keys}, {2})};
}

TEST(LayersGolden, AttentionWithoutAMask) {
  AttentionArgs args = OneSequence(5, 5);
  args.causal = false;
  CheckAttention("attention", args);
}
TEST(LayersGolden, CausalAttention) { CheckAttention("attention_causal", OneSequence(13, 13)); }
TEST(LayersGolden, GroupedQueryAttention) { CheckAttention("attention_gqa", OneSequence(11, 11)); }
TEST(LayersGolden, AttentionOfOneToken) { CheckAttention("attention_one_token", OneSequence(1, 1)); }
TEST(LayersGolden, AttentionAfterCachedKeys) { CheckAttention("attention_cached", OneSequence(4, 13)); }

TEST(LayersGolden, AttentionOverPackedDocuments) {
  const Tensor cu = Golden("attention_packed.cu_seqlens");
  CheckAttention("attention_packed", {.cu_seqlens_q = cu, .cu_seqlens_k = cu});
}

TEST(LayersGolden, AttentionWithAWindow) {
  AttentionArgs args = OneSequence(11, 11);
  args.window = 4;
  CheckAttention("attention_window", args);
}

}  // namespace
}  // namespace lorikeet::tensor
