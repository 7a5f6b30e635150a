// What README.md says to type is typed: its commands run, in their order and in one directory, as a reader would run
// them. Long runs are cut short; a real model is replaced by the small one where it has not been fetched.
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "gtest/gtest.h"
#include "tests/testing/model_cache.h"
#include "tests/testing/run_program.h"
#include "tests/testing/tiny_model.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;

constexpr char kRealModel[] = "$HOME/.cache/lorikeet/smollm2-135m.gguf";

// The lines of a Markdown file's code blocks, without comments; a line that ends in a backslash goes on in the next.
std::vector<std::string> CommandsIn(const std::string& markdown) {
  std::vector<std::string> commands;
  bool inside = false, goes_on = false;
  for (absl::string_view line : absl::StrSplit(markdown, '\n')) {
    if (absl::StartsWith(line, "```")) {
      inside = !inside;
      continue;
    }
    if (!inside) continue;
    line = line.substr(0, line.find("  #"));
    const bool more = absl::ConsumeSuffix(&line, "\\");
    if (goes_on) {
      absl::StrAppend(&commands.back(), line);
    } else if (!absl::StripAsciiWhitespace(line).empty()) {
      commands.emplace_back(line);
    }
    goes_on = more;
  }
  return commands;
}

// Rows of grade-school arithmetic in the form that the README's data has.
void WriteRows(const std::string& path) {
  std::ofstream file(path);
  for (int i = 0; i < 12; ++i) {
    file << absl::StrCat(R"({"question": "Ann has )", i, R"( pears and buys 2 more. How many has she?", "answer": ")",
                         i, " + 2 = ", i + 2, R"(. She has )", i + 2, R"( pears."})", "\n");
  }
}

class ReadmeTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::current_path();
    directory_ = FreshPath("reader");
    fs::create_directories(directory_);
    for (const char* name : {"rows.jsonl", "gsm8k_train_2000.jsonl"}) WriteRows(directory_ + "/" + name);
    model_ = CachedModel("smollm2-135m.gguf");
    if (model_.empty()) model_ = (root_ / "apps/small_model").string();
  }

  // A command of the README, as it is run here: "" if it is not a program's.
  std::string Runnable(const std::string& command) const {
    absl::string_view rest = command;
    if (absl::ConsumePrefix(&rest, "mpirun ")) {
      const std::string programs = (root_ / "apps").string();
      return absl::StrCat("cd ", directory_, " && ", MpiRun(),
                          absl::StrReplaceAll(rest, {{kRealModel, model_}, {"bazel-bin/apps", programs}}),
                          " --max_steps=2");
    }
    if (!absl::ConsumePrefix(&rest, "bazel run //apps:")) return "";
    const size_t end = rest.find(' ');
    const std::string program(rest.substr(0, end));
    rest = end == rest.npos ? "" : rest.substr(end);
    rest = absl::StripLeadingAsciiWhitespace(rest);
    absl::ConsumePrefix(&rest, "-- ");
    std::string args = absl::StrReplaceAll(rest, {{kRealModel, model_}});
    if (absl::StrContains(args, "--max_steps=")) absl::StrAppend(&args, " --max_steps=2");
    return absl::StrCat("cd ", directory_, " && ", (root_ / "apps").string(), "/", program, " ", args);
  }

  Outcome Run(const std::string& line) const {
    const std::string out = FreshPath("out"), err = FreshPath("err");
    const int status = std::system(absl::StrCat("(", line, ") >", out, " 2>", err, " </dev/null").c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, Contents(out), Contents(err)};
  }

  fs::path root_;
  std::string directory_, model_;
};

TEST_F(ReadmeTest, ItsCommandsRun) {
  int runs = 0;
  for (const std::string& command : CommandsIn(Contents("README.md"))) {
    const std::string line = Runnable(command);
    if (line.empty()) continue;
    const Outcome o = Run(line);
    EXPECT_EQ(o.code, 0) << command << "\n" << o.out << o.err;
    EXPECT_FALSE(o.out.empty()) << command;
    ++runs;
  }
  EXPECT_GE(runs, 7);
  EXPECT_TRUE(fs::exists(directory_ + "/adapter/adapter_model.safetensors"));
}

TEST_F(ReadmeTest, ItsProgramsExplainThemselves) {
  int programs = 0;
  for (absl::string_view line : absl::StrSplit(Contents("README.md"), '\n')) {
    if (!absl::ConsumePrefix(&line, "| `")) continue;
    const std::string program = absl::StrCat("apps/", line.substr(0, line.find('`')));
    if (!fs::exists(program)) continue;  // a table of something else
    const Outcome o = Run(program + " --help");
    EXPECT_EQ(o.code, 0) << program << "\n" << o.err;
    EXPECT_TRUE(absl::StrContains(o.out, "Flags from")) << program << "\n" << o.out;
    ++programs;
  }
  EXPECT_EQ(programs, 6);
}

}  // namespace
}  // namespace lorikeet
