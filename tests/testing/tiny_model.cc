#include "tests/testing/tiny_model.h"

#include <atomic>
#include <filesystem>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "apps/text/bpe_spec.h"
#include "apps/text/tokenizer_json.h"
#include "gtest/gtest.h"
#include "tensor/check.h"
#include "tensor/io/atomic_file.h"

namespace lorikeet {
namespace {

text::BpeSpec AsciiSpec() {
  text::BpeSpec spec;
  spec.vocab.push_back("<|end|>");
  spec.added.push_back({.id = 0, .content = "<|end|>", .special = true});
  for (char c = '!'; c <= '~'; ++c) spec.vocab.push_back(std::string(1, c));
  spec.vocab.push_back("\u0120");  // space and line end in the byte alphabet
  spec.vocab.push_back("\u010a");
  spec.eos_id = 0;
  spec.stop_ids = {0};
  return spec;
}

void Write(const std::string& path, const std::string& text) {
  const absl::Status s = WriteFileAtomically(path, text);
  LORIKEET_CHECK(s.ok()) << s;
}

}  // namespace

std::string FreshPath(const std::string& name) {
  static std::atomic<int> count = 0;
  const std::string path = absl::StrCat(testing::TempDir(), "/", name, "-", count++);
  std::filesystem::remove_all(path);
  return path;
}

std::string TinyModel(const std::string& name, const std::string& folder) {
  const std::string dir = FreshPath(name);
  std::filesystem::create_directories(dir);
  for (const auto& entry : std::filesystem::directory_iterator(absl::StrCat("tests/golden/", folder, "/", name))) {
    if (entry.path().filename() == "golden.safetensors") continue;
    std::filesystem::copy_file(entry.path(), dir + "/" + entry.path().filename().string());
  }
  const text::BpeSpec spec = AsciiSpec();
  Write(dir + "/tokenizer.json", text::ToTokenizerJson(spec));
  Write(dir + "/tokenizer_config.json", text::ToTokenizerConfigJson(spec));
  return dir;
}

}  // namespace lorikeet
