#include "peft/adapter_config.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lorikeet {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Written(const std::string& name) {
  std::ifstream in("tests/golden/adapters/" + name + "/adapter_config.json");
  return {std::istreambuf_iterator<char>(in), {}};
}

AdapterConfig Parsed(const std::string& json) {
  std::vector<std::string> warnings;
  const absl::StatusOr<AdapterConfig> c = ParseAdapterConfig(json, "test.json", &warnings);
  EXPECT_TRUE(c.ok()) << c.status();
  EXPECT_THAT(warnings, ElementsAre());
  return c.ok() ? *c : AdapterConfig();
}

// What is wrong with {"peft_type":"LORA", ...}; empty if nothing is.
std::string Complaint(const std::string& rest) {
  const std::string json = absl::StrCat("{\"peft_type\":\"LORA\",", rest, "}");
  return std::string(ParseAdapterConfig(json, "test.json", nullptr).status().message());
}

TEST(AdapterConfigTest, ReadsWhatPeftWrote) {
  const AdapterConfig c = Parsed(Written("patterns"));
  EXPECT_EQ(c.r, 4);
  EXPECT_EQ(c.lora_alpha, 8);
  EXPECT_FALSE(c.all_linear || c.use_dora || c.use_rslora);
  EXPECT_EQ(c.target.list.size(), 3u);
  EXPECT_THAT(c.exclude.list, ElementsAre("layers.0.mlp.down_proj"));
  EXPECT_THAT(c.rank_pattern, ElementsAre(std::pair("layers.1.self_attn.q_proj", 2), std::pair("v_proj", 6)));
  EXPECT_THAT(c.alpha_pattern, ElementsAre(std::pair("layers.0.self_attn.q_proj", 5), std::pair("q_proj", 3)));
  EXPECT_EQ(Parsed(Written("regex")).target.regex, ".*\\.layers\\.1\\..*\\.(k|o|up)_proj");
  EXPECT_TRUE(Parsed(Written("qdora")).use_dora);
}

TEST(AdapterConfigTest, WritesWhatPeftWroteToTheByte) {
  for (const char* name : {"lora", "rslora", "patterns", "regex", "dora", "qlora", "qdora"}) {
    EXPECT_EQ(AdapterConfigToJson(Parsed(Written(name)), {}), Written(name)) << name;
  }
}

TEST(AdapterConfigTest, AllLinearIsWrittenAsTheModulesItMeant) {
  const std::string json = AdapterConfigToJson(AdapterConfig(), {"a.q_proj", "b.q_proj"});
  EXPECT_THAT(Parsed(json).target.list, ElementsAre("a.q_proj", "b.q_proj"));
  EXPECT_TRUE(Parsed("{\"peft_type\":\"LORA\",\"target_modules\":\"All-Linear\"}").all_linear);
}

TEST(AdapterConfigTest, PatternsKeepTheirOrder) {
  AdapterConfig c;
  c.rank_pattern = {{"z", 1}, {"a", 2}};
  c.alpha_pattern = {{"y", 1.5}, {"b", 2}};
  const AdapterConfig again = Parsed(AdapterConfigToJson(c, {"q"}));
  EXPECT_EQ(again.rank_pattern, c.rank_pattern);
  EXPECT_EQ(again.alpha_pattern, c.alpha_pattern);
}

TEST(AdapterConfigTest, PatternsAreReadAloneToo) {
  AdapterConfig c;
  ASSERT_TRUE(ParseRankPattern("{\"z\": 1, \"a\": 2}", "--flag", &c).ok());
  ASSERT_TRUE(ParseAlphaPattern("{\"y\": 1.5}", "--flag", &c).ok());
  EXPECT_THAT(c.rank_pattern, ElementsAre(std::pair("z", 1), std::pair("a", 2)));
  EXPECT_THAT(c.alpha_pattern, ElementsAre(std::pair("y", 1.5)));
  AdapterConfig none;
  EXPECT_TRUE(ParseRankPattern("", "--flag", &none).ok() && ParseAlphaPattern("{}", "--flag", &none).ok());
  EXPECT_TRUE(none.rank_pattern.empty() && none.alpha_pattern.empty());
  for (const char* bad : {"q_proj=8", "null", "[8]", "8", "{\"q\": 1.5}", "{\"q\": -1}", "{\"q\"", "\xff"}) {
    const absl::Status s = ParseRankPattern(bad, "--flag", &none);
    EXPECT_THAT(std::string(s.message()), HasSubstr("--flag: \"rank_pattern\" must be an object")) << bad;
  }
}

TEST(AdapterConfigTest, WhatAFileLeavesOutHasPeftsDefaults) {
  const AdapterConfig c = Parsed("{\"peft_type\":\"LORA\",\"target_modules\":[\"q\"]}");
  EXPECT_EQ(c.r, 8);
  EXPECT_EQ(c.lora_alpha, 8);
  EXPECT_FALSE(c.all_linear);
}

TEST(AdapterConfigTest, ScalingIsAlphaOverRankOrItsRoot) {
  AdapterConfig c;
  EXPECT_EQ(c.Scaling(4, 8), 2);
  c.use_rslora = true;
  EXPECT_EQ(c.Scaling(4, 8), 4);
}

TEST(AdapterConfigTest, WhatChangesTheMeaningIsAnErrorWhenSet) {
  EXPECT_THAT(Complaint("\"layer_replication\":[[0,2]]"),
              AllOf(HasSubstr("test.json"), HasSubstr("layer_replication")));
  EXPECT_THAT(Complaint("\"target_parameters\":[\"experts\"]"), HasSubstr("target_parameters"));
  EXPECT_THAT(Complaint("\"lora_bias\":true"), HasSubstr("lora_bias"));
  EXPECT_THAT(Complaint("\"bias\":\"some\""), HasSubstr("\"bias\" is \"some\""));
  EXPECT_THAT(Complaint("\"init_lora_weights\":\"corda\""), HasSubstr("changed base weights"));
  EXPECT_THAT(Complaint("\"init_lora_weights\":\"loftq\",\"loftq_config\":{\"loftq_bits\":4,\"loftq_iter\":5}"),
              HasSubstr("loftq_iter"));
  EXPECT_THAT(Complaint("\"init_lora_weights\":\"pissa_niter_4\""), HasSubstr("changed base weights"));
  EXPECT_EQ(Complaint("\"layer_replication\":null,\"trainable_token_indices\":[],\"lora_bias\":false,\"init_lora_"
                      "weights\":\"gaussian\""),
            "");
}

TEST(AdapterConfigTest, WhatTrainsBesideTheAdaptersIsReadAndWritten) {
  AdapterConfig c;
  c.bias = "lora_only", c.modules_to_save = {"lm_head", "norm"}, c.ensure_weight_tying = true;
  c.init_lora_weights = "olora";
  c.trainable_token_indices = {{"embed_tokens", {7, 3}}, {"lm_head", {9}}};
  const AdapterConfig again = Parsed(AdapterConfigToJson(c, {"q"}));
  EXPECT_EQ(again.bias, "lora_only");
  EXPECT_THAT(again.modules_to_save, ElementsAre("lm_head", "norm"));
  EXPECT_TRUE(again.ensure_weight_tying);
  EXPECT_EQ(again.init_lora_weights, "olora");
  EXPECT_EQ(again.trainable_token_indices, c.trainable_token_indices);
  c.trainable_token_indices = {{"", {7, 3}}};
  EXPECT_EQ(Parsed(AdapterConfigToJson(c, {"q"})).trainable_token_indices, c.trainable_token_indices);
}

TEST(AdapterConfigTest, LoftqIsAWarning) {
  std::vector<std::string> warnings;
  ASSERT_TRUE(
      ParseAdapterConfig("{\"peft_type\":\"LORA\",\"init_lora_weights\":\"loftq\"}", "test.json", &warnings).ok());
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("--load_in_4bit")));
}

TEST(AdapterConfigTest, AnUnknownFieldIsAWarning) {
  std::vector<std::string> warnings;
  ASSERT_TRUE(ParseAdapterConfig("{\"peft_type\":\"LORA\",\"new_trick\":1}", "test.json", &warnings).ok());
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("new_trick")));
}

TEST(AdapterConfigTest, BadValuesNameTheFileAndTheField) {
  for (const char* bad : {"\"r\":0", "\"r\":2.5", "\"r\":1e300", "\"r\":18446744073709551615", "\"lora_alpha\":-1",
                          "\"lora_alpha\":\"8\"", "\"lora_dropout\":1", "\"use_dora\":1", "\"target_modules\":[1]",
                          "\"rank_pattern\":{\"q\":0}", "\"alpha_pattern\":[1]", "\"layers_to_transform\":[\"x\"]",
                          "\"trainable_token_indices\":7", "\"trainable_token_indices\":[1,1]",
                          "\"trainable_token_indices\":{\"lm_head\":[]}", "\"trainable_token_indices\":[4294967296]"}) {
    const std::string field(bad + 1, std::find(bad + 1, bad + 99, '"'));
    EXPECT_THAT(Complaint(bad), AllOf(HasSubstr("test.json"), HasSubstr(field), HasSubstr("must be"))) << bad;
  }
}

TEST(AdapterConfigTest, OtherFilesAreRefused) {
  EXPECT_THAT(std::string(ParseAdapterConfig("{\"peft_type\":", "f", nullptr).status().message()),
              HasSubstr("not a JSON object"));
  EXPECT_THAT(std::string(ParseAdapterConfig("{\"peft_type\":\"IA3\"}", "f", nullptr).status().message()),
              HasSubstr("peft_type is \"IA3\""));
  EXPECT_THAT(std::string(ParseAdapterConfig("{}", "f", nullptr).status().message()),
              HasSubstr("peft_type is missing"));
}

}  // namespace
}  // namespace lorikeet
