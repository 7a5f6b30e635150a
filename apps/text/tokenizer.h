// A BPE tokenizer: text <-> token ids, equal to Hugging Face's `tokenizers` on the families of pretokenizer.h and on
// SentencePiece-style vocabularies.
//
//   absl::StatusOr<BpeSpec> spec = TokenizerSpecFromJson(files);
//   absl::StatusOr<Tokenizer> tokenizer = Tokenizer::Create(*std::move(spec));
//   std::vector<int32_t> ids = tokenizer->Encode("How many?");
//   std::string text = tokenizer->Decode(ids);                            // "How many?"
//
// Encoding, in order: added tokens are cut out; the rest is normalized (NFC, or spaces to "▁", or not at all), cut into
// pieces (pretokenizer.h; SentencePiece-style text is one piece), and every piece is merged (bpe.h).
// - Text of a special token ("<|im_end|>") inside user data stays ordinary text unless `allow_special` is set, which
//   templates do for their own text. Added tokens that are not special are recognised everywhere, as in the reference.
// - Text that is not valid UTF-8 is encoded as if every maximal ill-formed subpart were U+FFFD. NUL is a byte as any
//   other.
// - Decode(Encode(x)) == x for every valid UTF-8 text x that normalization leaves alone, provided that the vocabulary
//   covers all 256 bytes. In SentencePiece style x must not contain "▁", nor begin with a space where the prefix is
//   Metaspace's.
// - Decoding turns ill-formed bytes into U+FFFD: one for every maximal subpart at byte level; in SentencePiece style
//   one for every byte of a run of byte tokens that is not well-formed as a whole.
//
// Threads: const methods may run in many at once. Copying shares nothing and is dear; move it.
#ifndef LORIKEET_APPS_TEXT_TOKENIZER_H_
#define LORIKEET_APPS_TEXT_TOKENIZER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "apps/text/added_tokens.h"
#include "apps/text/bpe.h"
#include "apps/text/bpe_spec.h"
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

// Where in a text a stretch of it begins, which says whether a space goes before it in SentencePiece style.
enum class TextPlace { kStart, kAfterToken, kInside };

class Tokenizer {
 public:
  // An error says what is wrong with the spec.
  static absl::StatusOr<Tokenizer> Create(BpeSpec spec);

  std::vector<int32_t> Encode(absl::string_view text, const EncodeOptions& options = {}) const;
  // The ids of the parts' concatenation: words may cross from one part into the next, names of control tokens may not.
  // A text may come in several calls, no word crossing from one into the next: *place is where this one begins, and
  // becomes where the next would.
  std::vector<int32_t> EncodeParts(absl::Span<const TextPart> parts, TextPlace* place = nullptr) const;

  // An id that is no token is nothing.
  std::string Decode(absl::Span<const int32_t> ids, bool skip_special = false) const;

  // What the token stands for: any bytes, possibly a piece of a character. Empty for an id that is no token.
  absl::string_view TokenBytes(int32_t id) const;
  bool IsByte(int32_t id) const;  // SentencePiece style's "<0xNN>"
  bool IsSpecial(int32_t id) const;
  bool IsStop(int32_t id) const;  // ends a generation

  int64_t num_tokens() const { return spec_.num_tokens(); }
  const BpeSpec& spec() const { return spec_; }

 private:
  explicit Tokenizer(BpeSpec spec);
  std::string Normalize(absl::string_view text, TextPlace place) const;
  AddedTokenMatcher MakeMatcher(bool normalized) const;
  std::string MarkStretch(absl::string_view text, TextPlace place) const;
  void EncodePlain(absl::string_view text, bool allow_special, TextPlace* place, std::vector<int32_t>* ids) const;
  void EncodeWords(absl::string_view text, TextPlace place, std::vector<int32_t>* ids) const;

  BpeSpec spec_;
  AddedTokenMatcher raw_tokens_, normalized_tokens_;
  Pretokenizer pretokenizer_;
  Bpe bpe_;
  std::vector<std::string> token_bytes_;  // by id
  std::vector<bool> is_byte_;             // by id
  std::vector<bool> is_special_;          // by id
};

// Decodes a stream of ids: holds back the bytes of a character until it is whole, and those of byte tokens until
// another token follows. All that Push returned and what Finish returns, joined, is Decode's answer.
//
//   for (int32_t id : stream) std::cout << decoder.Push(id) << std::flush;
//   std::cout << decoder.Finish();
class StreamDecoder {
 public:
  // The tokenizer must outlive the decoder.
  explicit StreamDecoder(const Tokenizer* tokenizer, bool skip_special = false);
  std::string Push(int32_t id);
  std::string Finish();

 private:
  std::string TakePending(size_t length);
  std::string WithoutFirstSpace(std::string text);

  const Tokenizer* tokenizer_;
  bool skip_special_;
  bool sentencepiece_;
  bool strip_space_;     // the text's first space is still to be taken away
  std::string pending_;  // bytes held back
};

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_TOKENIZER_H_
