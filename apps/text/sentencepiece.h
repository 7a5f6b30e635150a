// What SentencePiece-style vocabularies (Llama 2, Mistral, Gemma) write differently: a space is "▁" (U+2581), and a
// byte that no other token covers is the six characters "<0x0A>".
//
//   MarkSpaces("a b") == "a▁b";
//   ByteToken(10) == "<0x0A>";   ByteOfToken("<0x0A>") == 10;   ByteOfToken("<0xA>") == -1;
#ifndef LORIKEET_APPS_TEXT_SENTENCEPIECE_H_
#define LORIKEET_APPS_TEXT_SENTENCEPIECE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "apps/text/bpe_spec.h"

namespace lorikeet::text {

inline constexpr absl::string_view kSpaceMark = "\u2581";

std::string MarkSpaces(absl::string_view text);
std::string UnmarkSpaces(absl::string_view text);

// Appends the words of a marked text: each begins with its mark, the first perhaps without.
void SplitAtMarks(absl::string_view text, std::vector<absl::string_view>* words);

std::string ByteToken(uint8_t byte);
// -1 for anything but "<0x", two hexadecimal digits of either case and ">".
int ByteOfToken(absl::string_view token);

// The bytes of neighbouring byte tokens as text: themselves where they are well-formed UTF-8, otherwise one U+FFFD for
// every byte, as the reference has it.
std::string TextOfBytes(absl::string_view bytes);

// The merges that a vocabulary with a score for every token implies: every way to put a token together from two others,
// best score first; of equal scores the one with the longer left part, then the longer right part. SentencePiece joins
// by score alone; these are the merges that Hugging Face's converter derives. An error names a score that is no number.
absl::StatusOr<std::vector<Merge>> MergesByScore(const std::vector<std::string>& vocab,
                                                 absl::Span<const double> scores);

// The way back: scores of which these merges follow, -1, -2, ... in the order in which they make tokens and one below
// all others for tokens that none makes. Tokens whose merges lie among each other's have one score, as Llama 2's runs
// of spaces do; the order of merges with one score is nobody's concern. An error names a merge that no scores imply, or
// one that the scores would imply besides; not those of a control token or of an added token that no merge makes, which
// no text reaches.
absl::StatusOr<std::vector<double>> ScoresOfMerges(const BpeSpec& spec);

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_SENTENCEPIECE_H_
