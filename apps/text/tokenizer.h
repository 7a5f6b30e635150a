// A byte-level BPE tokenizer: text <-> token ids, equal to Hugging Face's `tokenizers` on the families of
// pretokenizer.h.
//
//   absl::StatusOr<BpeSpec> spec = TokenizerSpecFromJson(files);
//   absl::StatusOr<Tokenizer> tokenizer = Tokenizer::Create(*std::move(spec));
//   std::vector<int32_t> ids = tokenizer->Encode("How many?");
//   std::string text = tokenizer->Decode(ids);                            // "How many?"
//
// Encoding, in order: added tokens are cut out; the rest is normalized (NFC or not at all), cut into pieces
// (pretokenizer.h), and every piece is merged (byte_bpe.h).
// - Text of a special token ("<|im_end|>") inside user data stays ordinary text unless `allow_special` is set;
// templates
//   set it for their own text. Added tokens that are not special are recognised everywhere, as in the reference.
// - Text that is not valid UTF-8 is encoded as if every maximal ill-formed subpart were U+FFFD. NUL is a byte as any
// other.
// - Decode(Encode(x)) == x for every valid UTF-8 text x that normalization leaves alone, provided that the vocabulary
// has
//   all 256 bytes; a byte that the vocabulary lacks is left out.
//
// Threads: const methods may run in many at once. Copying shares nothing and is dear; move it.
#ifndef LORIKEET_APPS_TEXT_TOKENIZER_H_
#define LORIKEET_APPS_TEXT_TOKENIZER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "apps/text/added_tokens.h"
#include "apps/text/bpe_spec.h"
#include "apps/text/byte_bpe.h"
#include "apps/text/pretokenizer.h"

namespace lorikeet::text {

struct EncodeOptions {
  bool allow_special = false;          // the text may name control tokens
  bool add_prefix_and_suffix = false;  // BpeSpec's prefix_ids and suffix_ids around the ids
};

// A stretch of text with its own right to name control tokens.
struct TextPart {
  absl::string_view text;
  bool allow_special = false;
};

class Tokenizer {
 public:
  // An error says what is wrong with the spec.
  static absl::StatusOr<Tokenizer> Create(BpeSpec spec);

  std::vector<int32_t> Encode(absl::string_view text, const EncodeOptions& options = {}) const;
  // The ids of the parts' concatenation: words may cross from one part into the next, names of control tokens may not.
  std::vector<int32_t> EncodeParts(absl::Span<const TextPart> parts) const;

  // Ill-formed bytes become U+FFFD; an id that is no token is nothing.
  std::string Decode(absl::Span<const int32_t> ids, bool skip_special = false) const;

  // What the token stands for: any bytes, possibly a piece of a character. Empty for an id that is no token.
  absl::string_view TokenBytes(int32_t id) const;
  bool IsSpecial(int32_t id) const;
  bool IsStop(int32_t id) const;  // ends a generation

  int64_t num_tokens() const { return spec_.num_tokens(); }
  const BpeSpec& spec() const { return spec_; }

 private:
  explicit Tokenizer(BpeSpec spec);
  void EncodePlain(absl::string_view text, bool allow_special, std::vector<int32_t>* ids) const;
  void EncodeWords(absl::string_view text, std::vector<int32_t>* ids) const;

  BpeSpec spec_;
  AddedTokenMatcher raw_tokens_, normalized_tokens_;
  Pretokenizer pretokenizer_;
  ByteBpe bpe_;
  std::vector<std::string> token_bytes_;  // by id
  std::vector<bool> is_special_;          // by id
};

// Decodes a stream of ids: holds back the bytes of a character until it is whole. All that Push returned and what
// Finish returns, joined, is Decode's answer.
//
//   for (int32_t id : stream) std::cout << decoder.Push(id) << std::flush;
//   std::cout << decoder.Finish();
class StreamDecoder {
 public:
  // The tokenizer must outlive the decoder.
  explicit StreamDecoder(const Tokenizer* tokenizer, bool skip_special = false)
      : tokenizer_(tokenizer), skip_special_(skip_special) {}
  std::string Push(int32_t id);
  std::string Finish();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::string pending_;
};

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_TOKENIZER_H_
