#include "nn/module.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "autograd/parameter.h"
#include "gtest/gtest.h"
#include "nn/causal_lm.h"
#include "nn/dense_map.h"
#include "nn/linear.h"
#include "nn/load.h"
#include "nn/model_config.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

ModelConfig Tiny(bool tied, bool bias) {
  ModelConfig c;
  c.vocab_size = 7, c.hidden_size = 4, c.intermediate_size = 6, c.num_layers = 2;
  c.num_heads = 2, c.num_kv_heads = 1, c.head_dim = 2;
  c.tie_word_embeddings = tied, c.qkv_bias = bias;
  return c;
}

// Every name in the order of the walk: slots end in "/", buffers in "*".
class Names : public Visitor {
 public:
  std::vector<std::string> names;

 protected:
  void VisitLeaf(absl::string_view name, Parameter&) override { names.emplace_back(name); }
  void VisitBuffer(absl::string_view name, Tensor&, int64_t) override { names.push_back(absl::StrCat(name, "*")); }
  void VisitSlot(absl::string_view name, MapSlot& slot) override {
    names.push_back(absl::StrCat(name, "/"));
    Visitor::VisitSlot(name, slot);
  }
};

TEST(ModuleTest, AModelsNamesAreHuggingFacesInTheOrderOfTheCheckpoint) {
  Names v;
  BuildModel(Tiny(/*tied=*/false, /*bias=*/true), DType::kF32)->Visit(v);
  std::vector<std::string> want = {"model.embed_tokens/"};
  for (const char* layer : {"model.layers.0.", "model.layers.1."}) {
    for (const char* name :
         {"input_layernorm.weight", "self_attn.q_proj/", "self_attn.q_proj.bias", "self_attn.k_proj/",
          "self_attn.k_proj.bias", "self_attn.v_proj/", "self_attn.v_proj.bias", "self_attn.o_proj/",
          "post_attention_layernorm.weight", "mlp.gate_proj/", "mlp.up_proj/", "mlp.down_proj/"}) {
      want.push_back(absl::StrCat(layer, name));
    }
  }
  want.insert(want.end(), {"model.norm.weight", "lm_head/"});
  EXPECT_EQ(v.names, want);
}

TEST(ModuleTest, ATiedHeadIsVisitedOnce) {
  Names v;
  std::unique_ptr<CausalLm> model = BuildModel(Tiny(/*tied=*/true, /*bias=*/false), DType::kF32);
  model->Visit(v);
  EXPECT_EQ(v.names.back(), "model.norm.weight");
  EXPECT_TRUE(model->tied_head());
}

TEST(VisitorTest, DescendsIntoAMapAndJoinsItsNames) {
  Linear linear(std::make_unique<DenseMap>(Tensor::Zeros({2, 3}, DType::kF32)));
  Names v;
  v.Child("up", linear);
  EXPECT_EQ(v.names, (std::vector<std::string>{"up/", "up.weight"}));
  EXPECT_EQ(v.prefix(), "");
}

TEST(VisitorTest, ScopesNestAndEmptyNamesAddNoDot) {
  Names v;
  Tensor t;
  v.Scope("a", [&] {
    v.Scope("", [&] { v.Buffer("codes", t, 1); });
    v.Scope("b", [&] { EXPECT_EQ(v.prefix(), "a.b"); });
    v.Buffer("", t, 1);
  });
  EXPECT_EQ(v.names, (std::vector<std::string>{"a.codes*", "a*"}));
}

TEST(VisitorTest, ASlotMayBeFilledWithAnotherMap) {
  class Replace : public Visitor {
    void VisitSlot(absl::string_view, MapSlot& slot) override {
      slot.map = std::make_unique<DenseMap>(Tensor::Full({slot.out_features, slot.in_features}, 2, DType::kF32));
    }
  } replace;
  Linear linear(3, 1, /*bias=*/false);
  linear.Visit(replace);
  EXPECT_EQ(linear(Tensor::Full({1, 3}, 1, DType::kF32)).value().item(), 6);
}

TEST(VisitorTest, AnEmptySlotHasNothingInside) {
  Linear linear(3, 1, /*bias=*/true);
  Names v;
  linear.Visit(v);
  EXPECT_EQ(v.names, (std::vector<std::string>{"/", "bias"}));
}

}  // namespace
}  // namespace lorikeet
