// Cuts text into the pieces inside which BPE merges: words with their leading space, numbers, runs of symbols, white
// space.
//
//   Pretokenizer pretokenizer(PretokenizerFamily::kGpt2);
//   std::vector<absl::string_view> pieces;
//   pretokenizer.Split("Hello  world's", &pieces);        // "Hello", " ", " world", "'s"
//
// Pieces are views into the text, in order, and together they are the text. The families' expressions are constants
// here, written as in the models' tokenizer.json files; a file is matched against them, never compiled. They run on
// PCRE2 (UTF, UCP, JIT, match and heap limits). White space is Unicode's White_Space, and letters, marks and numbers
// are Unicode 16's, as in the reference (Hugging Face's tokenizers); PCRE2 10.42's own tables are Unicode 14 and count
// U+180E as space.
//
// Threads: Split is const and may run in many at once.
#ifndef LORIKEET_APPS_TEXT_PRETOKENIZER_H_
#define LORIKEET_APPS_TEXT_PRETOKENIZER_H_

#include <memory>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace lorikeet::text {

enum class PretokenizerFamily {
  kGpt2,    // GPT-2's expression
  kSmolLm,  // every digit alone, then GPT-2's expression on the stretches between (SmolLM, SmolLM2, StarCoder)
  kLlama3,  // at most three digits together, contractions in any case
  kQwen2,   // as Llama 3 with digits alone (Qwen2, 2.5, 3)
  kQwen35,  // as Qwen2 with combining marks among the letters
  kTekken,  // Mistral's from Nemo on: words are cut where capitals follow small letters, digits alone
  kGpt4o,   // o200k (gpt-oss, Llama 4, Phi-4-mini): the same with contractions in their word, three digits together
};

absl::string_view FamilyName(PretokenizerFamily family);
// The expression that tokenizer.json holds for the family.
absl::string_view FamilyPattern(PretokenizerFamily family);
// The family whose Split expression this is (those that are written as an expression in the file: Llama 3's and later).
absl::optional<PretokenizerFamily> FamilyOfPattern(absl::string_view pattern);
// The family that GGUF's tokenizer.ggml.pre names.
absl::optional<PretokenizerFamily> FamilyOfGgufName(absl::string_view pre);
// The name to write there.
absl::string_view GgufNameOfFamily(PretokenizerFamily family);
// What else that name says to llama.cpp: a piece that is a token stays one whatever the merges say, and a text begins
// with BOS unless the file speaks of it.
bool GgufNameSaysIgnoreMerges(PretokenizerFamily family);

class Pretokenizer {
 public:
  explicit Pretokenizer(PretokenizerFamily family);
  ~Pretokenizer();
  Pretokenizer(Pretokenizer&&) noexcept;
  Pretokenizer& operator=(Pretokenizer&&) noexcept;

  // Appends the pieces of text, which must be valid UTF-8.
  void Split(absl::string_view text, std::vector<absl::string_view>* pieces) const;

 private:
  class Expression;
  std::unique_ptr<Expression> expression_;
  bool single_digits_;
};

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_PRETOKENIZER_H_
