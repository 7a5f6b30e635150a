// Hugging Face tokenizer files <-> BpeSpec.
//
//   TokenizerFiles files = ...;                                        // ReadTokenizerFiles("model/")
//   absl::StatusOr<BpeSpec> spec = TokenizerSpecFromJson(files);
//   WriteFile("tokenizer.json", ToTokenizerJson(*spec));               // the tokenizers package loads it and agrees
//
// Read: model type BPE, at byte level (the normalizers none and NFC, the pre-tokenizers of pretokenizer.h) or
// SentencePiece-style (sentencepiece_json.h); merges as "a b" or ["a", "b"]; TemplateProcessing as what stands around a
// text. Anything else that would change ids
// is an error that prints it, never a guess: an unknown expression, dropout, a prefix or suffix for subwords, an id
// other than the one the reference would give. tokenizer_config.json and special_tokens_map.json name the BOS, EOS,
// padding and unknown tokens and the chat template, generation_config.json the ids that end a generation; all three may
// be absent.
#ifndef LORIKEET_APPS_TEXT_TOKENIZER_JSON_H_
#define LORIKEET_APPS_TEXT_TOKENIZER_JSON_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "apps/text/bpe_spec.h"

namespace lorikeet::text {

// The files' texts; an empty one is absent. Only tokenizer_json must be there.
struct TokenizerFiles {
  std::string tokenizer_json;
  std::string tokenizer_config_json;
  std::string special_tokens_map_json;
  std::string generation_config_json;
  std::string chat_template_jinja;
};

// Reads those of a model directory that exist. Errors carry the path.
absl::StatusOr<TokenizerFiles> ReadTokenizerFiles(const std::string& directory);

// A valid spec, or an error that names the file and what in it.
absl::StatusOr<BpeSpec> TokenizerSpecFromJson(const TokenizerFiles& files);

// tokenizer.json and tokenizer_config.json for a valid spec.
std::string ToTokenizerJson(const BpeSpec& spec);
std::string ToTokenizerConfigJson(const BpeSpec& spec);

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_TOKENIZER_JSON_H_
