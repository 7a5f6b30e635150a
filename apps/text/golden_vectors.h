// Reads the tokenizer fixtures of tests/golden: strings and the ids that an independent implementation gave for them.
// The format is in tests/golden/README.md. For tests only: a damaged fixture aborts.
#ifndef LORIKEET_APPS_TEXT_GOLDEN_VECTORS_H_
#define LORIKEET_APPS_TEXT_GOLDEN_VECTORS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace lorikeet::text {

struct GoldenVectors {
  std::vector<std::string> texts;
  std::vector<std::vector<int32_t>> ids;  // of texts[i]
};

// A file that is one zstd frame.
std::string ReadZstdFile(const std::string& path);
GoldenVectors ReadGoldenVectors(const std::string& path);

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_GOLDEN_VECTORS_H_
