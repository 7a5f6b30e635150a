// Ops against PyTorch's values and gradients in f64 (tests/golden/README.md), through the tape, in f64 and f32.
#include <cmath>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "autograd/ops/activation.h"
#include "autograd/ops/attention.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/gather.h"
#include "autograd/ops/matmul.h"
#include "autograd/ops/norm.h"
#include "autograd/ops/rope.h"
#include "autograd/ops/shape.h"
#include "autograd/ops/softmax.h"
#include "autograd/parameter.h"
#include "nn/dense_map.h"
#include "nn/linear_cross_entropy.h"
#include "nn/module.h"
#include "tensor/io/safetensors.h"
#include "tensor/ops/attention.h"
#include "tensor/ops/rope.h"
#include "tensor/ops/testing.h"
#include "tests/testing/matchers.h"
#include "tests/testing/op_spec.h"

namespace lorikeet {
namespace {

Tensor Golden(const std::string& name) {
  static const auto* file = new auto(SafetensorsFile::Open("tests/golden/ops.safetensors"));
  EXPECT_TRUE(file->ok()) << file->status();
  if (!file->ok()) return {};
  absl::StatusOr<Tensor> tensor = (**file)->Read(name);
  EXPECT_TRUE(tensor.ok()) << tensor.status();
  return tensor.ok() ? *tensor : Tensor();
}

// PyTorch ignores -100, or whatever it was told; here every negative target is -1.
Tensor Targets(const std::string& op) {
  const Tensor all = Golden(op + ".targets").Clone();
  for (int32_t& t : all.data<int32_t>()) t = t < 0 ? -1 : t;
  return all;
}
int64_t CountAnswers(const Tensor& targets) {
  int64_t n = 0;
  for (int32_t t : targets.data<int32_t>()) n += t >= 0;
  return n;
}

struct GoldenCase {
  std::string op;
  std::vector<std::string> inputs;
  Op run;
  double f64_tolerance = 1e-9, f32_tolerance = 1e-5;
};
void PrintTo(const GoldenCase& c, std::ostream* os) { *os << c.op; }

class GoldenOpTest : public testing::TestWithParam<GoldenCase> {};

TEST_P(GoldenOpTest, ValueAndGradientsArePyTorchs) {
  const GoldenCase& c = GetParam();
  for (DType dtype : {DType::kF64, DType::kF32}) {
    SCOPED_TRACE(Name(dtype));
    std::vector<Tensor> inputs;
    for (const std::string& name : c.inputs) inputs.push_back(Golden(absl::StrCat(c.op, ".", name)).Cast(dtype));
    const Tensor dy = Golden(c.op + ".dy").Cast(dtype);
    const OpRun run = RunOp(c.run, inputs, [&](const Tensor& y) { return dy.Reshape(y.shape()); });
    const double tolerance = dtype == DType::kF64 ? c.f64_tolerance : c.f32_tolerance;
    EXPECT_TRUE(AllClose(run.y, Golden(c.op + ".y").Reshape(run.y.shape()), tolerance));
    for (size_t i = 0; i < inputs.size(); ++i) {
      EXPECT_TRUE(AllClose(run.grads[i], Golden(absl::StrCat(c.op, ".d", c.inputs[i])), tolerance)) << c.inputs[i];
    }
  }
}

Op AttentionOp(const std::string& op, bool causal, int64_t window = 0, float softcap = 0) {
  return [=](In in) {
    const auto sequence = [](const Variable& x) {
      return Tensor::From<int32_t>({0, static_cast<int32_t>(x.shape()[0])}, {2});
    };
    const bool packed = op == "attention_packed";
    const tensor::AttentionArgs args = {
        .cu_seqlens_q = packed ? Golden(op + ".cu_seqlens") : sequence(in[0]),
        .cu_seqlens_k = packed ? Golden(op + ".cu_seqlens") : sequence(in[1]),
        .scale = static_cast<float>(1 / std::sqrt(static_cast<double>(in[0].shape()[2]))),
        .causal = causal,
        .window = window,
        .softcap = softcap};
    return Attention(in[0], in[1], in[2], args);
  };
}

// The angles are the fixture's own.
Variable GoldenRope(In in) {
  return Rope(in[0], {Golden("rope.cos").Cast(in[0].dtype()), Golden("rope.sin").Cast(in[0].dtype())});
}

// Neighbouring pairs are split halves of a head whose elements are put in another order.
Variable GoldenInterleavedRope(In in) {
  const Shape s = in[0].shape();
  const Variable halves = Reshape(Transpose(Reshape(in[0], {s[0], s[1], s[2] / 2, 2}), 2, 3), s);
  const tensor::RopeTable table = {Golden("rope_interleaved.cos").Cast(in[0].dtype()),
                                   Golden("rope_interleaved.sin").Cast(in[0].dtype())};
  return Reshape(Transpose(Reshape(Rope(halves, table), {s[0], s[1], 2, s[2] / 2}), 2, 3), s);
}

// cross_entropy of logits x is LinearCrossEntropy of x through the identity.
Op CrossEntropyOp(const std::string& op) {
  return [op](In in) {
    const int64_t vocab = in[0].shape()[1];
    std::vector<double> one(static_cast<size_t>(vocab * vocab));
    for (size_t i = 0; i < one.size(); i += static_cast<size_t>(vocab) + 1) one[i] = 1;
    DenseMap identity(tensor::FromDoubles(one, {vocab, vocab}, in[0].dtype()));
    const Tensor targets = Targets(op);
    return LinearCrossEntropy(in[0], identity, targets, {.scale = 1.0f / static_cast<float>(CountAnswers(targets))});
  };
}

Variable GoldenHead(In in) {
  DenseMap head(Golden("linear_cross_entropy.w").Cast(in[0].dtype()));
  return LinearCrossEntropy(in[0], head, Targets("linear_cross_entropy"), {.scale = 0.1f});
}

std::vector<GoldenCase> GoldenCases() {
  const std::vector<std::string> qkv = {"q", "k", "v"};
  // Where a float constant (eps, scale) stands against PyTorch's double, f64 agrees to the constant's last digits only.
  const double constant = 1e-6;
  return {
      {"rms_norm", {"x", "w"}, [](In in) { return RmsNorm(in[0], in[1], 1e-6f); }},
      {"rms_norm_small", {"x", "w"}, [](In in) { return RmsNorm(in[0], in[1], 1e-5f); }, constant, 5e-5},
      {"silu", {"x"}, [](In in) { return Silu(in[0]); }},
      {"swiglu", {"gate", "up"}, [](In in) { return SwiGlu(in[0], in[1]); }},
      {"softmax", {"x"}, [](In in) { return Softmax(in[0]); }},
      {"log_softmax", {"x"}, [](In in) { return LogSoftmax(in[0]); }},
      {"matmul_nt", {"x", "w"}, [](In in) { return MatMul(in[0], in[1], false, true); }},
      {"embedding", {"w"}, [](In in) { return GatherRows(in[0], Golden("embedding.ids")); }},
      {"cross_entropy", {"x"}, CrossEntropyOp("cross_entropy"), constant},
      {"cross_entropy_extreme", {"x"}, CrossEntropyOp("cross_entropy_extreme"), constant},
      {"linear_cross_entropy", {"h"}, GoldenHead, constant},
      {"rope", {"x"}, GoldenRope},
      {"rope_interleaved", {"x"}, GoldenInterleavedRope},
      {"attention", qkv, AttentionOp("attention", false), constant},
      {"attention_causal", qkv, AttentionOp("attention_causal", true), constant},
      {"attention_gqa", qkv, AttentionOp("attention_gqa", true), constant},
      {"attention_one_token", qkv, AttentionOp("attention_one_token", true), constant},
      {"attention_cached", qkv, AttentionOp("attention_cached", true), constant},
      {"attention_packed", qkv, AttentionOp("attention_packed", true), constant},
      {"attention_window", qkv, AttentionOp("attention_window", true, 4), constant},
      {"attention_softcap", qkv, AttentionOp("attention_softcap", true, 0, 2), constant},
      {"gelu", {"x"}, [](In in) { return Gelu(in[0]); }},
      {"geglu", {"gate", "up"}, [](In in) { return GeGlu(in[0], in[1]); }},
      {"layer_norm", {"x", "w", "b"}, [](In in) { return LayerNorm(in[0], in[1], in[2], 1e-5f); }, constant},
  };
}

INSTANTIATE_TEST_SUITE_P(Ops, GoldenOpTest, testing::ValuesIn(GoldenCases()),
                         [](const auto& info) { return info.param.op; });

TEST(GoldenHeadTest, ATrainableHeadsGradientIsPyTorchs) {
  class Find : public Visitor {
   public:
    Tensor grad;

   protected:
    void VisitLeaf(absl::string_view, Parameter& p) override { grad = p.grad; }
  } find;
  const std::string op = "linear_cross_entropy";
  DenseMap head(Parameter{.name = "head", .value = Golden(op + ".w")});
  const OpRun run =
      RunOp([&](In in) { return LinearCrossEntropy(in[0], head, Targets(op), {.scale = 0.1f, .chunk = 3}); },
            {Golden(op + ".h")}, [&](const Tensor&) { return Golden(op + ".dy").Reshape(Shape{}); });
  head.Visit(find);
  EXPECT_TRUE(AllClose(find.grad, Golden(op + ".dw"), 1e-6));  // the scale is a float here
  EXPECT_TRUE(AllClose(run.grads[0], Golden(op + ".dh"), 1e-6));
}

}  // namespace
}  // namespace lorikeet
