#include "apps/text/sentencepiece.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "apps/text/utf8.h"

namespace lorikeet::text {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

struct ScoredMerge {
  Merge merge;
  double score;
  int left_length, right_length;  // in characters

  std::tuple<double, int, int> key() const { return {score, left_length, right_length}; }
};

// Where the characters of a text begin, but for the first.
std::vector<size_t> InnerBoundaries(absl::string_view text) {
  std::vector<size_t> boundaries;
  for (size_t pos = 0; pos < text.size();) {
    if (pos > 0) boundaries.push_back(pos);
    pos += DecodeUtf8(text, pos).length;
  }
  return boundaries;
}

// Every way to put token `id` together, in the order of the parts' ids.
void AppendSplits(const VocabIndex& index, absl::string_view token, int32_t id, double score,
                  std::vector<ScoredMerge>* merges) {
  const std::vector<size_t> boundaries = InnerBoundaries(token);
  const size_t first = merges->size();
  for (size_t i = 0; i < boundaries.size(); ++i) {
    const auto left = index.find(token.substr(0, boundaries[i])), right = index.find(token.substr(boundaries[i]));
    if (left == index.end() || right == index.end()) continue;
    const int length = static_cast<int>(boundaries.size()) + 1, left_length = static_cast<int>(i) + 1;
    merges->push_back({{left->second, right->second, id}, score, left_length, length - left_length});
  }
  std::sort(merges->begin() + first, merges->end(), [](const ScoredMerge& a, const ScoredMerge& b) {
    return std::tie(a.merge.left, a.merge.right) < std::tie(b.merge.left, b.merge.right);
  });
}

// A token that text comes to by itself is none of the added ones unless a merge makes it.
std::vector<bool> OutOfReach(const BpeSpec& spec) {
  std::vector<bool> made(spec.vocab.size()), out(spec.vocab.size());
  for (const Merge& m : spec.merges) made[m.result] = true;
  for (const AddedToken& t : spec.added) {
    if (t.id < std::ssize(out)) out[t.id] = t.special || !made[t.id];
  }
  return out;
}

// Merges in an order of their own, without those that make a token that is out of reach.
std::vector<Merge> Sorted(absl::Span<const Merge> merges, absl::Span<const double> scores,
                          const std::vector<bool>& out_of_reach) {
  std::vector<Merge> sorted;
  for (const Merge& m : merges) {
    if (!out_of_reach[m.result]) sorted.push_back(m);
  }
  std::sort(sorted.begin(), sorted.end(), [&](const Merge& a, const Merge& b) {
    return std::make_tuple(-scores[a.result], a.result, a.left, a.right) <
           std::make_tuple(-scores[b.result], b.result, b.left, b.right);
  });
  return sorted;
}

std::string Line(const BpeSpec& spec, const Merge& m) {
  return absl::StrCat("\"", spec.vocab[m.left], " ", spec.vocab[m.right], "\"");
}

}  // namespace

std::string MarkSpaces(absl::string_view text) { return absl::StrReplaceAll(text, {{" ", kSpaceMark}}); }
std::string UnmarkSpaces(absl::string_view text) { return absl::StrReplaceAll(text, {{kSpaceMark, " "}}); }

void SplitAtMarks(absl::string_view text, std::vector<absl::string_view>* words) {
  while (!text.empty()) {
    const size_t next = std::min(text.find(kSpaceMark, 1), text.size());
    words->push_back(text.substr(0, next));
    text.remove_prefix(next);
  }
}

std::string ByteToken(uint8_t byte) { return absl::StrFormat("<0x%02X>", byte); }

int ByteOfToken(absl::string_view token) {
  if (token.size() != 6 || token.substr(0, 3) != "<0x" || token[5] != '>') return -1;
  const int high = HexDigit(token[3]), low = HexDigit(token[4]);
  return high < 0 || low < 0 ? -1 : 16 * high + low;
}

std::string TextOfBytes(absl::string_view bytes) {
  if (IsValidUtf8(bytes)) return std::string(bytes);
  std::string out;
  for (size_t i = 0; i < bytes.size(); ++i) AppendUtf8(0xFFFD, &out);
  return out;
}

absl::StatusOr<std::vector<Merge>> MergesByScore(const std::vector<std::string>& vocab,
                                                 absl::Span<const double> scores) {
  if (scores.size() != vocab.size()) {
    return absl::InvalidArgumentError(absl::StrCat(scores.size(), " scores for ", vocab.size(), " tokens"));
  }
  absl::StatusOr<VocabIndex> index = IndexVocab(vocab);
  if (!index.ok()) return index.status();
  std::vector<ScoredMerge> scored;
  for (size_t id = 0; id < vocab.size(); ++id) {
    if (!std::isfinite(scores[id])) {
      return absl::InvalidArgumentError(absl::StrCat("the score of token ", id, " is ", scores[id]));
    }
    AppendSplits(*index, vocab[id], static_cast<int32_t>(id), scores[id], &scored);
  }
  std::stable_sort(scored.begin(), scored.end(),
                   [](const ScoredMerge& a, const ScoredMerge& b) { return a.key() > b.key(); });
  std::vector<Merge> merges;
  merges.reserve(scored.size());
  for (const ScoredMerge& s : scored) merges.push_back(s.merge);
  return merges;
}

absl::StatusOr<std::vector<double>> ScoresOfMerges(const BpeSpec& spec) {
  std::vector<size_t> last(spec.vocab.size());  // where a token's last merge is
  for (size_t i = 0; i < spec.merges.size(); ++i) last[spec.merges[i].result] = i;
  std::vector<double> scores(spec.vocab.size(), 0);
  double score = 0;
  for (size_t i = 0, end = 0; i < spec.merges.size(); ++i) {
    const int32_t token = spec.merges[i].result;
    if (i >= end) score -= 1;  // every token so far has had all its merges
    end = std::max(end, last[token] + 1);
    scores[token] = score;
  }
  for (double& s : scores) {
    if (s == 0) s = score - 1;
  }
  const absl::StatusOr<std::vector<Merge>> implied = MergesByScore(spec.vocab, scores);
  if (!implied.ok()) return implied.status();
  const std::vector<bool> out_of_reach = OutOfReach(spec);
  const std::vector<Merge> ours = Sorted(spec.merges, scores, out_of_reach);
  const std::vector<Merge> theirs = Sorted(*implied, scores, out_of_reach);
  const auto [a, b] = std::mismatch(
      ours.begin(), ours.end(), theirs.begin(), theirs.end(),
      [](const Merge& a, const Merge& b) { return a.left == b.left && a.right == b.right && a.result == b.result; });
  if (b != theirs.end()) {
    return absl::InvalidArgumentError(absl::StrCat("by scores ", Line(spec, *b), " would merge too, or earlier"));
  }
  if (a != ours.end())
    return absl::InvalidArgumentError(absl::StrCat("the merge ", Line(spec, *a), " is one too many"));
  return scores;
}

}  // namespace lorikeet::text
