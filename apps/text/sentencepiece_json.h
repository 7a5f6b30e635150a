// The parts of a tokenizer.json that say how a SentencePiece-style tokenizer treats text <-> SentencePieceRules.
//
// Three spellings are known: the normalizers Prepend "▁" and Replace " " by "▁" (Llama 2 and Mistral as first
// converted, Phi-3), Replace alone (Gemma), and the pre-tokenizer Metaspace (the same models as converted later). The
// decoder must be Replace, ByteFallback, Fuse and, or not, Strip. Anything else is an error that prints it.
#ifndef LORIKEET_APPS_TEXT_SENTENCEPIECE_JSON_H_
#define LORIKEET_APPS_TEXT_SENTENCEPIECE_JSON_H_

#include "absl/status/statusor.h"
#include "apps/text/bpe_spec.h"
#include "nlohmann/json.hpp"

namespace lorikeet::text {

// Whether the file's normalizer or pre-tokenizer writes spaces as "▁".
bool IsSentencePieceJson(const nlohmann::json& root);

// All but unknown_id, which the model's unk_token names.
absl::StatusOr<SentencePieceRules> ReadSentencePieceRules(const nlohmann::json& root);

// "normalizer", "pre_tokenizer" and "decoder".
void WriteSentencePieceRules(const SentencePieceRules& rules, nlohmann::json* root);

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_SENTENCEPIECE_JSON_H_
