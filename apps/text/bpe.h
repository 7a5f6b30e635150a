// Byte-pair encoding of one piece of text (Sennrich et al., 2016): start from small symbols and join the neighbours
// whose merge has the lowest rank, the leftmost first, until none can be joined.
//
// The symbols to start from are
// - at byte level (GPT-2 and its heirs) the tokens of the single bytes; a byte without a token is left out;
// - SentencePiece-style (Llama 2, Mistral, Gemma) the tokens of the characters. A character without one is spelled in
//   its bytes' tokens "<0xNN>", if there is one for each of them, and otherwise becomes the unknown token.
//
// No piece of text becomes a control token: merges and whole-piece entries that would make one are left out.
// O(n log n) in the length of the piece, which in SentencePiece style is a whole text.
// Threads: Encode is const and may run in many at once.
#ifndef LORIKEET_APPS_TEXT_BPE_H_
#define LORIKEET_APPS_TEXT_BPE_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "apps/text/bpe_spec.h"

namespace lorikeet::text {

class Bpe {
 public:
  // Copies what it needs from a valid spec.
  explicit Bpe(const BpeSpec& spec);

  // Appends the ids of a piece, valid UTF-8, to *ids.
  void Encode(absl::string_view piece, std::vector<int32_t>* ids) const;

 private:
  struct Product {
    int32_t rank, id;
  };
  static uint64_t Key(int32_t left, int32_t right) {
    return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
  }
  void ReadVocab(const BpeSpec& spec, const std::vector<bool>& is_special);
  const Product* Find(int32_t left, int32_t right) const;
  std::vector<int32_t> ByteSymbols(absl::string_view piece) const;
  std::vector<int32_t> CharacterSymbols(absl::string_view piece) const;
  bool AppendBytes(absl::string_view character, std::vector<int32_t>* symbols) const;
  void MergeShort(std::vector<int32_t>* symbols) const;
  void MergeLong(std::vector<int32_t>* symbols) const;

  bool by_characters_ = false, byte_fallback_ = false, fuse_unknown_ = false;
  int32_t unknown_id_ = -1;
  std::array<int32_t, 256> byte_ids_;                  // -1: no token
  absl::flat_hash_map<char32_t, int32_t> characters_;  // in SentencePiece style
  absl::flat_hash_map<uint64_t, Product> merges_;
  absl::flat_hash_map<std::string, int32_t> whole_pieces_;  // text -> id, where ignore_merges says so
};

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_BPE_H_
