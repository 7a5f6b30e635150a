// The tokenizer.ggml.* values of a GGUF file -> BpeSpec.
//
// tokenizer.ggml.model "gpt2" is byte-level BPE. What GGUF does not say follows from its `pre` name: Llama 3 and
// Tekken take whole pieces from the vocabulary before any merge and begin a text with BOS unless add_bos_token says
// otherwise; Qwen normalizes to NFC.
//
// "llama" (and "gemma4") is SentencePiece-style: "▁" comes before every stretch of text between added tokens, as in
// llama.cpp, unless add_space_prefix says otherwise; without that key Gemma has none. (transformers puts it only before
// a text, and only if that does not begin with a space; Llama 2 and its heirs were trained with one before every
// stretch.) A text begins with BOS unless add_bos_token says otherwise. Where the file has no merges they follow from
// the scores (MergesByScore), for Gemma from the order of the tokens; its tokens of several spaces merge too, whatever
// their type.
//
// Token types (llama.cpp): 1 normal; 3 control (becomes a special added token); 4 user defined (an added token); 5
// unused (padding of the embedding when at the end); 2 unknown, and 6 byte, which is "<0x00>" to "<0xFF>" and nothing
// else. At byte level the last two are as normal. End of text, of a turn and of a message (eos, eot, eom) each end a
// generation.
#ifndef LORIKEET_APPS_TEXT_GGUF_SPEC_H_
#define LORIKEET_APPS_TEXT_GGUF_SPEC_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "apps/text/bpe_spec.h"

namespace lorikeet::text {

struct GgufTokenizerMetadata {
  std::string architecture;         // general.architecture
  std::string model;                // tokenizer.ggml.model
  std::string pre;                  // tokenizer.ggml.pre
  std::vector<std::string> tokens;  // tokenizer.ggml.tokens
  std::vector<int32_t> token_type;  // tokenizer.ggml.token_type; empty: all normal
  std::vector<std::string> merges;  // tokenizer.ggml.merges, "a b"
  std::vector<double> scores;       // tokenizer.ggml.scores
  absl::optional<int64_t> bos_token_id, eos_token_id, eot_token_id, eom_token_id, unknown_token_id, padding_token_id;
  absl::optional<bool> add_bos_token, add_eos_token, add_space_prefix;
  std::string chat_template;  // tokenizer.chat_template
};

absl::StatusOr<BpeSpec> TokenizerSpecFromGguf(const GgufTokenizerMetadata& metadata);

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_GGUF_SPEC_H_
