// A small tokenizer in SentencePiece style for tests: the bytes, some words and the alphabet by falling score, as
// Llama 2 has them, and ChatML's markers. 303 tokens.
//
//   absl::StatusOr<Tokenizer> tokenizer = Tokenizer::Create(SmallSentencePiece());
#ifndef LORIKEET_APPS_TEXT_SENTENCEPIECE_FOR_TEST_H_
#define LORIKEET_APPS_TEXT_SENTENCEPIECE_FOR_TEST_H_

#include <cstdint>
#include <string>
#include <vector>

#include "apps/text/bpe_spec.h"
#include "apps/text/sentencepiece.h"

namespace lorikeet::text {

inline BpeSpec SmallSentencePiece() {
  BpeSpec spec;
  spec.vocab = {"<unk>", "<s>", "</s>"};
  for (int b = 0; b < 256; ++b) spec.vocab.push_back(ByteToken(static_cast<uint8_t>(b)));
  for (const char* token : {"▁▁", "▁t", "he", "▁the", "in", "er", "▁a", "<|", "|>", "▁"})
    spec.vocab.emplace_back(token);
  for (char c = 'a'; c <= 'z'; ++c) spec.vocab.emplace_back(1, c);
  for (const char* token : {"<", ">", "|", "/", "_"}) spec.vocab.emplace_back(token);
  std::vector<double> scores;
  for (size_t id = 0; id < spec.vocab.size(); ++id) scores.push_back(-static_cast<double>(id));
  spec.merges = *MergesByScore(spec.vocab, scores);
  for (int32_t id : {0, 1, 2}) {
    spec.added.push_back({.id = id, .content = spec.vocab[static_cast<size_t>(id)], .special = true});
  }
  int32_t id = static_cast<int32_t>(spec.vocab.size());
  for (const char* content : {"<|im_start|>", "<|im_end|>"}) {
    spec.added.push_back({.id = id++, .content = content, .special = true});
  }
  spec.added.push_back({.id = id, .content = "<tool>"});
  spec.unk_id = 0;
  spec.bos_id = 1;
  spec.eos_id = 2;
  spec.stop_ids = {2, spec.added[4].id};
  spec.prefix_ids = {1};
  spec.sentencepiece = {.prefix = SentencePieceRules::Prefix::kAlways, .in_normalizer = true, .unknown_id = 0};
  return spec;
}

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_SENTENCEPIECE_FOR_TEST_H_
