// Learns a byte-level BPE vocabulary from text (Sennrich et al., 2016): starting from the 256 bytes, join the most
// frequent pair of neighbours inside the pieces of the text, again and again, until the vocabulary is full.
//
//   BpeTrainer trainer({.vocab_size = 2048, .special_tokens = {"<|endoftext|>"}});
//   for (const std::string& document : corpus) trainer.Add(document);
//   BpeSpec spec = trainer.Train();
//
// Ids: special tokens, then the bytes in the order of their characters (byte_map.h), then the merges. Of equally
// frequent pairs the one with the smaller ids comes first, so the outcome depends on the texts alone, not on their
// order; it is that of Hugging Face's BpeTrainer with the byte alphabet. Time is about O(merges * words that hold the
// pair).
#ifndef LORIKEET_APPS_TEXT_BPE_TRAINER_H_
#define LORIKEET_APPS_TEXT_BPE_TRAINER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "apps/text/bpe_spec.h"
#include "apps/text/pretokenizer.h"

namespace lorikeet::text {

struct BpeTrainerOptions {
  int vocab_size = 2048;                         // specials and bytes included; fewer if the text has no more pairs
  int64_t min_frequency = 2;                     // a rarer pair is not joined
  std::vector<std::string> special_tokens = {};  // each once
  Normalizer normalizer = Normalizer::kNone;
  PretokenizerFamily pretokenizer = PretokenizerFamily::kGpt2;
};

class BpeTrainer {
 public:
  explicit BpeTrainer(BpeTrainerOptions options);

  void Add(absl::string_view text);  // ill-formed UTF-8 becomes U+FFFD
  // The first special token, if there is one, becomes EOS and padding; the caller may say otherwise.
  BpeSpec Train() const;

 private:
  BpeTrainerOptions options_;
  Pretokenizer split_;
  absl::flat_hash_map<std::string, int64_t> piece_counts_;
};

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_BPE_TRAINER_H_
