// A tiny model of tests/golden/models as a directory that programs can open: its files beside a tokenizer of 97 tokens,
// which are printable ASCII, the line end and one control token.
//
//   const std::string dir = TinyModel("llama_untied");     // needs data = ["//tests/golden:models"]
//   const std::string packed = TinyModel("fp4_f16", "bnb");   // of tests/golden/bnb; needs "//tests/golden:bnb"
//
// Real files in a fresh temporary directory: runfiles are symbolic links, which shards may not be.
#ifndef LORIKEET_TESTS_TESTING_TINY_MODEL_H_
#define LORIKEET_TESTS_TESTING_TINY_MODEL_H_

#include <string>

namespace lorikeet {

std::string TinyModel(const std::string& name, const std::string& folder = "models");

// A path in the test's temporary directory that nothing has used yet.
std::string FreshPath(const std::string& name);

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_TESTING_TINY_MODEL_H_
