// Byte-pair encoding of one piece of text (Sennrich et al., 2016; byte level as in GPT-2): start from the tokens of the
// single bytes and join the neighbours whose merge has the lowest rank, the leftmost first, until none can be joined.
//
// O(n log n) in the length of the piece. A byte for which the vocabulary has no token is left out, as in the reference.
// Threads: Encode is const and may run in many at once.
#ifndef LORIKEET_APPS_TEXT_BYTE_BPE_H_
#define LORIKEET_APPS_TEXT_BYTE_BPE_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "apps/text/bpe_spec.h"

namespace lorikeet::text {

class ByteBpe {
 public:
  // Copies what it needs from a valid spec.
  explicit ByteBpe(const BpeSpec& spec);

  // Appends the ids of a piece to *ids.
  void Encode(absl::string_view piece, std::vector<int32_t>* ids) const;

 private:
  struct Product {
    int32_t rank, id;
  };
  static uint64_t Key(int32_t left, int32_t right) {
    return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
  }
  const Product* Find(int32_t left, int32_t right) const;
  void MergeShort(std::vector<int32_t>* symbols) const;
  void MergeLong(std::vector<int32_t>* symbols) const;

  std::array<int32_t, 256> byte_ids_;
  absl::flat_hash_map<uint64_t, Product> merges_;
  absl::flat_hash_map<std::string, int32_t> whole_pieces_;  // bytes -> id, where ignore_merges says so
};

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_BYTE_BPE_H_
