// The programs generate, evaluate, merge and quantize as a user runs them: what they print and write, and their exit
// codes.
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "apps/model/adapted_model.h"
#include "apps/text/chat_template.h"
#include "apps/text/dataset.h"
#include "apps/training/evaluate.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/testing/run_program.h"
#include "tests/testing/tiny_model.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;

// The object that evaluate prints last.
nlohmann::json LastLine(const Outcome& o) {
  const size_t begin = o.out.rfind("\n{");
  return begin == std::string::npos ? nlohmann::json() : nlohmann::json::parse(o.out.substr(begin + 1));
}

constexpr char kAdapter[] = "tests/golden/adapters/lora";

std::string DataFile() {
  const std::string path = FreshPath("rows.jsonl");
  std::ofstream(path) << R"({"question": "How many?", "answer": "four"})"
                      << "\n"
                      << R"({"question": "And then?", "answer": "none at all"})"
                      << "\n";
  return path;
}

TEST(ProgramsTest, GenerateStreamsTheSameTextForTheSameSeed) {
  const std::string command = absl::StrCat("generate --temperature=1 --seed=3 --max_tokens=12 --prompt=Hello --model=",
                                           TinyModel("llama_untied"), " --adapter=", kAdapter);
  const Outcome a = RunProgram(command), b = RunProgram(command);
  EXPECT_EQ(a.code, 0) << a.err;
  EXPECT_GT(a.out.size(), 1u);
  EXPECT_EQ(a.out, b.out);
}

TEST(ProgramsTest, AChatEndsWithItsInput) {
  const Outcome o = RunProgram(absl::StrCat("generate --model=", TinyModel("llama_untied")));
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(absl::StrContains(o.err, "generation: 0 tokens")) << o.err;
}

TEST(ProgramsTest, EvaluatePrintsEvaluateLosssNumbersInItsLastLine) {
  const std::string model = TinyModel("llama_untied"), data = DataFile();
  const Outcome o = RunProgram(
      absl::StrCat("evaluate --compute_dtype=f32 --model=", model, " --adapter=", kAdapter, " --data=", data));
  ASSERT_EQ(o.code, 0) << o.err;
  const nlohmann::json json = LastLine(o);
  const absl::StatusOr<AdaptedModel> m = OpenAdaptedModel(model, kAdapter, {});
  const text::Tokenizer& tokenizer = *m->base.tokenizer;
  const auto rows = text::LoadDataset(data, tokenizer, *text::ChatTemplate::ForTokenizer(tokenizer.spec(), ""), {});
  // One row at a time: how rows are grouped may not matter.
  const EvalResult want = EvaluateLoss(*m->base.lm, rows->examples, 1);
  EXPECT_NEAR(json["loss"].get<double>(), want.loss(), 1e-5);
  EXPECT_NEAR(json["perplexity"].get<double>(), want.perplexity(), 1e-3);
  EXPECT_EQ(json["accuracy"].get<double>(), want.accuracy());
  EXPECT_EQ(json["tokens"].get<int64_t>(), want.counts.tokens);
  EXPECT_EQ(json["rows"].get<int64_t>(), 2);
}

TEST(ProgramsTest, MergeWritesADirectoryThatEvaluatesAsTheAdapterDoes) {
  const std::string model = TinyModel("llama_untied"), data = DataFile(), out = FreshPath("merged");
  const Outcome merged = RunProgram(absl::StrCat("merge --dtype=f32 --model=", model, " --adapter=", kAdapter,
                                                 " --output_dir=", out, " --data=", data));
  ASSERT_EQ(merged.code, 0) << merged.err;
  EXPECT_TRUE(absl::StrContains(merged.out, "max |logit error|")) << merged.err;
  const auto loss = [&](const std::string& flags) {
    const Outcome o = RunProgram(absl::StrCat("evaluate --compute_dtype=f32 --data=", data, " ", flags));
    return LastLine(o)["loss"].get<double>();
  };
  EXPECT_NEAR(loss("--model=" + out), loss(absl::StrCat("--model=", model, " --adapter=", kAdapter)), 1e-5);
}

TEST(ProgramsTest, QuantizeTwiceWritesTheSameBytesAndReplacesItsOwnOutput) {
  const std::string model = TinyModel("qwen2"), out = FreshPath("four_bit");
  const auto bytes = [&] {
    const Outcome o = RunProgram(absl::StrCat("quantize --model=", model, " --output_dir=", out));
    EXPECT_EQ(o.code, 0) << o.err;
    return Contents(out + "/model.safetensors");
  };
  const std::string first = bytes();
  EXPECT_GT(first.size(), 1000u);
  EXPECT_EQ(first, bytes());
  EXPECT_EQ(RunProgram(absl::StrCat("generate --prompt=a --max_tokens=2 --model=", out)).code, 0);
}

TEST(ProgramsTest, BadInputEndsWithCode2AndAMessage) {
  const std::string model = TinyModel("llama_tied"), foreign = FreshPath("foreign");
  fs::create_directories(foreign);
  std::ofstream(foreign + "/notes.txt") << "mine";
  const std::pair<std::string, std::string> cases[] = {
      {"generate --prompt=a --model=/nowhere", "/nowhere"},
      {"generate --prompt=a --no_such_flag", "no_such_flag"},
      {"generate --prompt=a " + model, "unexpected argument \"" + model},
      {"generate --prompt=a --load_in_4bit False --model=" + model, "unexpected argument \"False\""},
      {"generate --prompt=a --top_p=2 --model=" + model, "--top_p=2"},
      {"generate --prompt=a --device=cuda --model=" + model, "--device=cuda"},
      {"generate --prompt=a --context_length=2 --raw_prompt --model=" + model + " --prompt=abcdef", "--context_length"},
      {"generate --prompt=a --adapter=/nowhere --model=" + model, "/nowhere"},
      {"evaluate --model=" + model, "--data"},
      {"merge --model=" + model, "--output_dir"},
      {"merge --max_rows=0 --output_dir=" + FreshPath("m") + " --data=" + DataFile() + " --model=" + model,
       "--max_rows=0"},
      {"merge --dtype=int8 --output_dir=x --model=" + model, "--dtype=int8"},
      {"merge --output_dir=" + foreign + " --model=" + model, "notes.txt"},
      {"quantize --output_dir=" + FreshPath("q") + " --quant_block_size=7 --model=" + model, "7"},
      {absl::StrCat("quantize --output_dir=", FreshPath("q"), " --model=", model, " --adapter=", kAdapter),
       "--adapter"},
  };
  for (const auto& [command, message] : cases) {
    const Outcome o = RunProgram(command);
    EXPECT_EQ(o.code, 2) << command << "\n" << o.err;
    EXPECT_TRUE(absl::StrContains(o.err, message)) << command << "\n" << o.err;
  }
  EXPECT_TRUE(fs::exists(foreign + "/notes.txt"));
}

TEST(ProgramsTest, ADamagedModelIsExitCode5WhereItComputesNan) {
  const std::string model = TinyModel("llama_untied");
  // The last bytes of the file are the last tensor's; all ones is a NaN in f32.
  std::fstream file(model + "/model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-64, std::ios::end);
  file << std::string(64, '\xff');
  file.close();
  const Outcome o = RunProgram(absl::StrCat("evaluate --model=", model, " --data=", DataFile()));
  EXPECT_EQ(o.code, 5) << o.err;
  const std::string out = FreshPath("merged");
  EXPECT_EQ(RunProgram(absl::StrCat("merge --model=", model, " --output_dir=", out)).code, 5);
  EXPECT_FALSE(fs::exists(out));
  EXPECT_FALSE(fs::exists(out + ".partial"));
}

}  // namespace
}  // namespace lorikeet
