#include "peft/targets.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "peft/full_match.h"

namespace lorikeet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Two layers of a Llama, with a head of its own or without.
std::vector<Place> Llama(bool tied = false) {
  std::vector<Place> places = {{"model.embed_tokens", /*embedding=*/true}};
  for (const char* layer : {"model.layers.0.", "model.layers.1."}) {
    for (const char* map : {"self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"}) {
      places.push_back({std::string(layer) + map});
    }
  }
  if (!tied) places.push_back({"lm_head"});
  return places;
}

AdapterConfig ForList(std::vector<std::string> list) {
  AdapterConfig c;
  c.all_linear = false;
  c.target.list = std::move(list);
  return c;
}

AdapterConfig ForRegex(const std::string& regex) {
  AdapterConfig c;
  c.all_linear = false;
  c.target.regex = regex;
  return c;
}

std::vector<std::string> Select(const AdapterConfig& config, bool tied = false) {
  const absl::StatusOr<Targets> t = SelectTargets(Llama(tied), config);
  return t.ok() ? t->modules : std::vector<std::string>{std::string(t.status().message())};
}

TEST(TargetsTest, AllLinearIsEveryMapButHeadAndEmbedding) {
  const std::vector<std::string> all = Select(AdapterConfig());
  EXPECT_EQ(all.size(), 6u);
  EXPECT_EQ(all.front(), "model.layers.0.self_attn.q_proj");
  EXPECT_EQ(all, Select(AdapterConfig(), /*tied=*/true));
}

TEST(TargetsTest, AListEntryIsAPathOrItsEndAfterADot) {
  EXPECT_THAT(Select(ForList({"q_proj"})),
              ElementsAre("model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"));
  EXPECT_THAT(Select(ForList({"0.self_attn.q_proj"})), ElementsAre("model.layers.0.self_attn.q_proj"));
  EXPECT_THAT(Select(ForList({"model.layers.1.mlp.down_proj"})), ElementsAre("model.layers.1.mlp.down_proj"));
  EXPECT_THAT(Select(ForList({"lm_head"})), ElementsAre("lm_head"));
  EXPECT_THAT(Select(ForList({"proj"})), ElementsAre(HasSubstr("\"proj\" matches no linear layer")));
}

TEST(TargetsTest, ARegularExpressionMatchesTheWholePath) {
  EXPECT_THAT(Select(ForRegex(".*\\.1\\..*(q|v)_proj")),
              ElementsAre("model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.v_proj"));
  EXPECT_THAT(Select(ForRegex("q_proj")), ElementsAre(HasSubstr("there are down_proj, lm_head, q_proj, v_proj")));
  EXPECT_THAT(Select(ForRegex("(q_proj")),
              ElementsAre(HasSubstr("target_modules: \"(q_proj\" is not a regular expression")));
}

TEST(TargetsTest, ExcludedModulesAreLeftOut) {
  AdapterConfig c = ForList({"q_proj", "down_proj"});
  c.exclude.list = {"1.mlp.down_proj", "model.layers.0.self_attn.q_proj"};
  EXPECT_THAT(Select(c), ElementsAre("model.layers.0.mlp.down_proj", "model.layers.1.self_attn.q_proj"));
  c.exclude = {.list = {}, .regex = ".*mlp.*"};
  EXPECT_THAT(Select(c), ElementsAre("model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"));
  c.exclude = {.list = {}, .regex = ".*"};
  EXPECT_THAT(Select(c), ElementsAre(HasSubstr("that exclude_modules and layers_to_transform leave")));
}

TEST(TargetsTest, LayersToTransformLimitsSuffixesButNotWholePaths) {
  AdapterConfig c = ForList({"q_proj", "model.layers.0.mlp.down_proj", "lm_head"});
  c.layers_to_transform = {1};
  EXPECT_THAT(Select(c), ElementsAre("model.layers.0.mlp.down_proj", "model.layers.1.self_attn.q_proj", "lm_head"));
  c = ForList({"q_proj"});
  c.layers_to_transform = {1};
  c.layers_pattern = {"blocks"};
  EXPECT_THAT(Select(c), ElementsAre(HasSubstr("matches no linear layer")));
  c.layers_pattern = {"blocks", "layers"};
  EXPECT_THAT(Select(c), ElementsAre("model.layers.1.self_attn.q_proj"));
}

TEST(TargetsTest, AnEntryThatMatchesNothingIsReportedWithTheNearestNames) {
  const absl::StatusOr<Targets> t = SelectTargets(Llama(), ForList({"q_proj", "v_prj"}));
  ASSERT_TRUE(t.ok());
  EXPECT_THAT(t->unmatched, ElementsAre("v_prj"));
  EXPECT_THAT(std::string(UnmatchedError(t->unmatched, Llama()).message()), HasSubstr("did you mean v_proj"));
}

TEST(TargetsTest, ATiedHeadOrEmbeddingIsRefusedWithTheReason) {
  EXPECT_THAT(Select(ForList({"lm_head"}), /*tied=*/true), ElementsAre(HasSubstr("tied to model.embed_tokens")));
  EXPECT_THAT(Select(ForList({"embed_tokens"}), /*tied=*/true), ElementsAre(HasSubstr("the output head's weight too")));
}

TEST(TargetsTest, AnEmbeddingOfItsOwnMayBeAdaptedButNotByDora) {
  AdapterConfig c = ForList({"embed_tokens"});
  EXPECT_THAT(Select(c), ElementsAre("model.embed_tokens"));
  c.use_dora = true;
  EXPECT_THAT(Select(c), ElementsAre(HasSubstr("use_dora is not supported")));
}

TEST(TargetsTest, WhatTrainsWholeIsNotAdapted) {
  AdapterConfig c = ForList({"q_proj", "v_proj"});
  c.modules_to_save = {"0.self_attn", "1.self_attn.q_proj"};
  EXPECT_THAT(Select(c), ElementsAre("model.layers.1.self_attn.v_proj"));
}

TEST(TargetsTest, TheFirstPatternThatMatchesThePathsEndWins) {
  AdapterConfig c;
  c.rank_pattern = {{"0.self_attn.q_proj", 2}, {"q_proj|v_proj", 6}, {"v_proj", 9}};
  c.alpha_pattern = {{"proj", 1}};  // ends no path after a dot
  EXPECT_EQ(*RankFor("model.layers.0.self_attn.q_proj", c), 2);
  EXPECT_EQ(*RankFor("model.layers.1.self_attn.v_proj", c), 6);
  EXPECT_EQ(*RankFor("model.layers.1.mlp.down_proj", c), c.r);
  EXPECT_EQ(*AlphaFor("model.layers.1.mlp.down_proj", c), c.lora_alpha);
  c.rank_pattern = {{"(", 2}};
  EXPECT_FALSE(RankFor("q_proj", c).ok());
}

TEST(TargetsTest, KeysThatMatchNothingAreFound) {
  AdapterConfig c;
  c.rank_pattern = {{"q_proj", 2}, {"q_prj", 6}};
  c.alpha_pattern = {{"layers.[01].mlp.*", 1}, {"mlp", 3}};
  const std::vector<std::string> modules = {"model.layers.1.mlp.down_proj", "model.layers.1.self_attn.q_proj"};
  EXPECT_THAT(*KeysWithoutMatch(c, modules), ElementsAre("q_prj", "mlp"));
  c.alpha_pattern = {{"(", 1}};
  EXPECT_FALSE(KeysWithoutMatch(c, modules).ok());
}

TEST(TargetsTest, ModulesAreCondensedToTheEndsOfTheirPathsWhereThatSelectsTheSame) {
  EXPECT_THAT(Condensed(Select(AdapterConfig()), Llama()), ElementsAre("down_proj", "q_proj", "v_proj"));
  const std::vector<std::string> one = {"model.layers.0.self_attn.q_proj"};
  EXPECT_EQ(Condensed(one, Llama()), one);
}

TEST(FullMatchTest, AnExpressionThatRunsAwayIsAnError) {
  const absl::StatusOr<FullMatch> regex = FullMatch::Compile("(a+a+)+[bc]");
  ASSERT_TRUE(regex.ok());
  EXPECT_THAT(std::string(regex->Matches(std::string(60, 'a')).status().message()), HasSubstr("limit"));
}

}  // namespace
}  // namespace lorikeet
