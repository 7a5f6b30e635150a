// What a BPE tokenizer is, as plain data: the common form of tokenizer.json, of GGUF's tokenizer values and of a
// freshly trained vocabulary. Everything else here is made from it (`Tokenizer::Create`) or written from it
// (`ToTokenizerJson`). It is at byte level (GPT-2, SmolLM2, Llama 3, Qwen) unless `sentencepiece` is set (Llama 2,
// Mistral, Gemma).
//
// Ids: vocab[i] has id i. An added token either sits in the vocabulary (vocab[id] == content) or follows it: ids
// vocab.size(), vocab.size() + 1, ... in the order of `added`.
#ifndef LORIKEET_APPS_TEXT_BPE_SPEC_H_
#define LORIKEET_APPS_TEXT_BPE_SPEC_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "apps/text/pretokenizer.h"

namespace lorikeet::text {

enum class Normalizer { kNone, kNfc };

// A string that is cut out of the text before anything else and becomes one token.
struct AddedToken {
  int32_t id = -1;
  std::string content = {};
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // swallows the whitespace to its left
  bool rstrip = false;       // ... to its right
  bool normalized = false;   // matched in the normalized text, against its own normalized form
  bool special = false;      // a control token: plain text never becomes it unless the caller allows that
};

// tokens left + right -> result; its rank is its index in BpeSpec::merges, lower first.
struct Merge {
  int32_t left, right, result;
};

// How a SentencePiece-style tokenizer treats text. Spaces become "▁" (sentencepiece.h), so that words know where they
// begin, and mostly one more stands before a text. tokenizer.json says so in one of two places, which differ where a
// text begins with a space: in the normalizer ("▁" comes before every stretch, whatever it begins with) or in the
// pre-tokenizer Metaspace ("▁" comes only before what does not begin with one).
struct SentencePieceRules {
  enum class Prefix {
    kNever,
    kFirst,   // before the text, unless an added token begins it; Metaspace only
    kAlways,  // before every stretch between added tokens
  };
  Prefix prefix = Prefix::kFirst;
  bool in_normalizer = false;     // false: in Metaspace
  bool split_words = false;       // nothing merges across the beginning of a word
  bool byte_fallback = true;      // a character without a token is spelled in byte tokens
  bool fuse_unknown = true;       // neighbouring unknown characters become one unknown token
  int32_t unknown_id = -1;        // -1: unknown characters are left out
  bool strip_first_space = true;  // in decoding
};

struct BpeSpec {
  std::vector<std::string> vocab;  // token texts in the byte alphabet (byte_map.h), or with "▁" for a space
  std::vector<Merge> merges;
  std::vector<AddedToken> added;
  Normalizer normalizer = Normalizer::kNone;
  PretokenizerFamily pretokenizer = PretokenizerFamily::kGpt2;  // of byte level
  absl::optional<SentencePieceRules> sentencepiece;
  bool ignore_merges = false;  // a piece that is a vocabulary entry is that entry, whatever the merges say

  std::vector<int32_t> prefix_ids, suffix_ids;  // what the file's post-processor puts around a text, such as BOS
  int32_t bos_id = -1, eos_id = -1, pad_id = -1, unk_id = -1;  // -1: none
  std::vector<int32_t> stop_ids;                               // any of them ends a generation; eos_id is among them
  std::string chat_template;                                   // the model's own (Jinja) text, or empty
  std::string chat_template_source;                            // the file or key that it was in, for messages
  int64_t padded_vocab_size = 0;  // rows of the embedding that the file promises; 0 if it does not say

  // Ids in use: vocabulary and added tokens. At most the rows of the model's embedding.
  int64_t num_tokens() const;
  // The text of a token; empty if there is no such id.
  absl::string_view TokenText(int32_t id) const;
};

using VocabIndex = absl::flat_hash_map<absl::string_view, int32_t>;

// Token text -> id over spec.vocab; views into it. An error names a token that occurs twice.
absl::StatusOr<VocabIndex> IndexVocab(const std::vector<std::string>& vocab);

// The merge of two token texts; an error names the part or product that the vocabulary lacks.
absl::StatusOr<Merge> ResolveMerge(const VocabIndex& index, absl::string_view left, absl::string_view right);

// Everything above that can be wrong in a file: ids in range and in place, no empty or repeated added token.
absl::Status Validate(const BpeSpec& spec);

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_BPE_SPEC_H_
