// Where adapters start and what trains beside them, through the programs: what evaluate makes of the files that
// finetune wrote is what finetune saw at its end, over the base as it was before.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/testing/run_program.h"
#include "tests/testing/tiny_model.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;

std::string GoodData() {
  const std::string path = FreshPath("rows.jsonl");
  std::ofstream file(path);
  for (int i = 0; i < 4; ++i) {
    file << R"({"prompt": "count to 3", "completion": "123"})"
         << "\n"
         << R"({"prompt": "say", "completion": "yes"})"
         << "\n";
  }
  return path;
}

std::string FineTune(const std::string& model, const std::string& data, const std::string& out) {
  return absl::StrCat("finetune --compute_dtype=f32 --chat_template=plain --max_steps=4 --batch_size=2 --lora_r=4",
                      " --learning_rate=1e-2 --max_seq_length=32 --model=", model, " --data=", data,
                      " --eval_data=", data, " --output_dir=", out);
}

double LastEvalLoss(const std::string& out) {
  double loss = std::nan("");
  for (const auto& line : absl::StrSplit(Contents(out + "/metrics.jsonl"), '\n', absl::SkipEmpty())) {
    const nlohmann::json record = nlohmann::json::parse(std::string(line));
    if (record.contains("eval_loss")) loss = record["eval_loss"].get<double>();
  }
  return loss;
}

nlohmann::json Evaluation(const std::string& flags) {
  const Outcome o = RunProgram("evaluate --compute_dtype=f32 --chat_template=plain " + flags);
  EXPECT_EQ(o.code, 0) << o.err;
  const std::vector<std::string> lines = absl::StrSplit(o.out, '\n', absl::SkipEmpty());
  return lines.empty() ? nlohmann::json() : nlohmann::json::parse(lines.back());
}

struct Start {
  const char* model;
  const char* flags;
  const char* base_flags = "";
};

TEST(StartsTest, WhatWasTrainedIsWhatIsReadBack) {
  const std::string data = GoodData();
  const Start starts[] = {
      {"llama_untied", "--init_lora_weights=gaussian"},
      {"llama_untied", "--init_lora_weights=orthogonal"},
      {"llama_untied", "--init_lora_weights=pissa"},
      {"llama_untied", "--init_lora_weights=pissa_niter_2 --method=dora"},
      {"llama_untied", "--init_lora_weights=olora --use_rslora"},
      {"llama_untied", "--init_lora_weights=loftq --method=qlora", "--load_in_4bit"},
      {"llama_untied", "--modules_to_save=lm_head,embed_tokens,norm --target_modules=q_proj"},
      {"llama_tied", "--modules_to_save=embed_tokens --ensure_weight_tying --target_modules=q_proj"},
      {"llama_untied", "--target_modules=embed_tokens,lm_head"},
      {"llama_untied",
       "'--rank_pattern={\"0.self_attn.q_proj\": 2, \"q_proj|v_proj\": 6}' '--alpha_pattern={\"up_proj\": 3.5}'"},
      {"llama_tied", "--trainable_token_indices=[70,71]"},
      {"llama_untied", "'--trainable_token_indices={\"embed_tokens\": [70, 71], \"lm_head\": [68]}' --method=dora"},
      {"qwen2", "--bias=all --target_modules=q_proj,o_proj"},
      {"qwen2", "--bias=lora_only --layers_to_transform=1 --exclude_modules=down_proj"},
  };
  for (const Start& s : starts) {
    const std::string model = TinyModel(s.model), out = FreshPath("out");
    const Outcome o = RunProgram(absl::StrCat(FineTune(model, data, out), " ", s.flags));
    ASSERT_EQ(o.code, 0) << s.flags << "\n" << o.err;
    const nlohmann::json read =
        Evaluation(absl::StrCat("--model=", model, " --adapter=", out, " --data=", data, " ", s.base_flags));
    EXPECT_NEAR(read["loss"].get<double>(), LastEvalLoss(out), 2e-5) << s.flags;
  }
}

TEST(StartsTest, AChangedBaseIsChangedAgainOnResuming) {
  const std::string model = TinyModel("llama_untied"), data = GoodData();
  for (const char* init : {"pissa", "pissa_niter_1", "olora"}) {
    const std::string whole = FreshPath("whole"), resumed = FreshPath("resumed");
    const std::string flags = absl::StrCat(" --save_steps=2 --init_lora_weights=", init);
    ASSERT_EQ(RunProgram(FineTune(model, data, whole) + flags).code, 0);
    fs::copy(whole, resumed, fs::copy_options::recursive);
    fs::remove_all(resumed + "/checkpoint-4");
    const Outcome o = RunProgram(FineTune(model, data, resumed) + flags + " --resume_from_checkpoint=latest");
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_TRUE(absl::StrContains(o.out, "2 of 4 steps are done")) << o.out;
    const std::string adapter = Contents(whole + "/adapter_model.safetensors");
    EXPECT_FALSE(adapter.empty());
    EXPECT_EQ(Contents(resumed + "/adapter_model.safetensors"), adapter) << init;
  }
}

TEST(StartsTest, LoftqStartsNearerToTheUnquantizedModel) {
  const std::string model = TinyModel("llama_untied"), data = GoodData();
  const double exact = Evaluation(absl::StrCat("--model=", model, " --data=", data))["loss"].get<double>();
  const auto first_loss = [&](const std::string& flags) {
    const std::string out = FreshPath("out");
    const Outcome o = RunProgram(FineTune(model, data, out) + " --method=qlora --lora_r=16 " + flags);
    EXPECT_EQ(o.code, 0) << o.err;
    const std::vector<std::string> lines = absl::StrSplit(Contents(out + "/metrics.jsonl"), '\n', absl::SkipEmpty());
    return lines.empty() ? std::nan("") : nlohmann::json::parse(lines.front())["eval_loss"].get<double>();
  };
  const double packed = first_loss(""), mended = first_loss("--init_lora_weights=loftq");
  EXPECT_LT(std::fabs(mended - exact), 0.5 * std::fabs(packed - exact)) << exact << " " << packed << " " << mended;
}

TEST(StartsTest, ExactMatchComesWithItsSamplingError) {
  const nlohmann::json r = Evaluation(
      absl::StrCat("--model=", TinyModel("llama_untied"), " --data=", GoodData(), " --exact_match --max_new_tokens=4"));
  EXPECT_EQ(r["exact_match"].get<double>(), 0) << "an untrained model";
  EXPECT_EQ(r["exact_match_standard_error"].get<double>(), 0);
}

TEST(StartsTest, WhatMakesNoSenseIsRefused) {
  const std::string model = TinyModel("llama_untied"), data = GoodData();
  const std::pair<const char*, const char*> cases[] = {
      {"--init_lora_weights=pizza", "expected true, gaussian"},
      {"--init_lora_weights=loftq", "--method=qlora"},
      {"--init_lora_weights=pissa --method=qlora", "loftq is for those"},
      {"--init_lora_weights=orthogonal --lora_r=3", "even rank"},
      {"--init_lora_weights=pissa --method=full", "--method=full"},
      {"--modules_to_save=lm_haed", "did you mean lm_head"},
      {"--modules_to_save=lm_head --method=full", "--method=full"},
      {"--cuda_graphs --gradient_checkpointing=offload", "--cuda_graphs=true"},
      {"--gradient_checkpointing_layers=1", "with --gradient_checkpointing=on"},
      {"--gradient_checkpointing=some", "selective"},
      {"--bias=some", "lora_only"},
      {"--layers_to_transform=one", "0,1,2"},
      {"'--rank_pattern={\"q_prj\": 8}'",
       "\"q_prj\" matches the end of no adapted module's path, such as model.layers.0"},
      {"'--rank_pattern={\"q_proj\": 0}'", "--rank_pattern: \"rank_pattern\" must be"},
      {"--rank_pattern=q_proj=8", "as {\"q_proj\": 8}"},
      {"--alpha_pattern=null", "as {\"q_proj\": 8}"},
      {"'--alpha_pattern={\"(\": 8}'", "("},
      {"--target_modules=embed_tokens --method=dora", "use_dora is not supported"},
      {"--trainable_token_indices=[97]", "token 97 is outside the vocabulary of 97"},
      {"--trainable_token_indices=[3,3]", "a list of different token ids"},
      {"--trainable_token_indices=[-1]", "a list of different token ids"},
      {"'--trainable_token_indices={\"q_proj\": [3]}'", "\"q_proj\" is neither an embedding nor a head"},
      {"--trainable_token_indices=[3] --modules_to_save=embed_tokens", "trains whole by modules_to_save"},
      {"--trainable_token_indices=[3] --target_modules=embed_tokens", "carries an adapter by target_modules"},
      {"--trainable_token_indices=[3] --method=full", "--method=full"},
  };
  for (const auto& [flags, says] : cases) {
    const std::string out = FreshPath("bad");
    const Outcome o = RunProgram(absl::StrCat(FineTune(model, data, out), " ", flags));
    EXPECT_EQ(o.code, 2) << flags << "\n" << o.err;
    EXPECT_TRUE(absl::StrContains(o.err, says)) << flags << "\n" << o.err;
    EXPECT_FALSE(fs::exists(out + "/adapter_config.json")) << flags;
  }
}

}  // namespace
}  // namespace lorikeet
