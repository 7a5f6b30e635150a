#include "apps/text/bpe_spec.h"

#include <algorithm>
#include <limits>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

namespace lorikeet::text {
namespace {

absl::Status CheckAddedTokens(const BpeSpec& spec) {
  const int64_t vocab_size = static_cast<int64_t>(spec.vocab.size());
  int64_t next = vocab_size;
  absl::flat_hash_set<absl::string_view> seen;
  for (const AddedToken& token : spec.added) {
    if (token.content.empty()) return absl::InvalidArgumentError(absl::StrCat("added token ", token.id, " is empty"));
    if (!seen.insert(token.content).second) {
      return absl::InvalidArgumentError(absl::StrCat("added token \"", token.content, "\" occurs twice"));
    }
    const bool in_vocab = token.id >= 0 && token.id < vocab_size && spec.vocab[token.id] == token.content;
    if (!in_vocab && token.id != next) {
      return absl::InvalidArgumentError(absl::StrCat("added token \"", token.content, "\" has id ", token.id,
                                                     ", but its place is id ", next,
                                                     ": ids must be the vocabulary's or follow it without a gap"));
    }
    if (!in_vocab) ++next;
  }
  return absl::OkStatus();
}

absl::Status CheckId(const BpeSpec& spec, absl::string_view what, int32_t id) {
  if (id >= 0 && id < spec.num_tokens()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(what, " id ", id, " is not a token: the tokenizer has ", spec.num_tokens(), " tokens"));
}

absl::Status CheckIds(const BpeSpec& spec, absl::string_view what, const std::vector<int32_t>& ids) {
  for (const int32_t id : ids) {
    if (absl::Status status = CheckId(spec, what, id); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status CheckMerges(const BpeSpec& spec) {
  const auto in_vocab = [&](int32_t id) { return id >= 0 && id < static_cast<int64_t>(spec.vocab.size()); };
  for (size_t rank = 0; rank < spec.merges.size(); ++rank) {
    const Merge& m = spec.merges[rank];
    if (!in_vocab(m.left) || !in_vocab(m.right) || !in_vocab(m.result) ||
        absl::StrCat(spec.vocab[m.left], spec.vocab[m.right]) != spec.vocab[m.result]) {
      return absl::InvalidArgumentError(absl::StrCat("merge ", rank, " does not join two tokens into a token"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

int64_t BpeSpec::num_tokens() const {
  int64_t n = static_cast<int64_t>(vocab.size());
  for (const AddedToken& token : added) n = std::max<int64_t>(n, int64_t{token.id} + 1);
  return n;
}

absl::string_view BpeSpec::TokenText(int32_t id) const {
  if (id >= 0 && id < static_cast<int64_t>(vocab.size())) return vocab[id];
  for (const AddedToken& token : added) {
    if (token.id == id) return token.content;
  }
  return "";
}

absl::StatusOr<VocabIndex> IndexVocab(const std::vector<std::string>& vocab) {
  VocabIndex index;
  index.reserve(vocab.size());
  for (size_t id = 0; id < vocab.size(); ++id) {
    const auto [it, inserted] = index.emplace(vocab[id], static_cast<int32_t>(id));
    if (!inserted) {
      return absl::InvalidArgumentError(
          absl::StrCat("token \"", vocab[id], "\" occurs twice, as id ", it->second, " and ", id));
    }
  }
  return index;
}

absl::StatusOr<Merge> ResolveMerge(const VocabIndex& index, absl::string_view left, absl::string_view right) {
  const std::string product = absl::StrCat(left, right);
  const auto l = index.find(left), r = index.find(right), p = index.find(product);
  for (const auto& [it, text] :
       {std::make_pair(l, left), std::make_pair(r, right), std::make_pair(p, absl::string_view(product))}) {
    if (it == index.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("merge \"", left, " ", right, "\": \"", text, "\" is not in the vocabulary"));
    }
  }
  return Merge{l->second, r->second, p->second};
}

absl::Status Validate(const BpeSpec& spec) {
  if (spec.vocab.empty()) return absl::InvalidArgumentError("the vocabulary is empty");
  if (spec.vocab.size() + spec.added.size() > std::numeric_limits<int32_t>::max()) {
    return absl::InvalidArgumentError("the vocabulary has more than 2^31 tokens");
  }
  for (const absl::Status& status :
       {CheckAddedTokens(spec), CheckMerges(spec), CheckIds(spec, "prefix token", spec.prefix_ids),
        CheckIds(spec, "suffix token", spec.suffix_ids), CheckIds(spec, "end of generation", spec.stop_ids)}) {
    if (!status.ok()) return status;
  }
  for (const auto& [what, id] : {std::make_pair("BOS", spec.bos_id), std::make_pair("EOS", spec.eos_id),
                                 std::make_pair("padding", spec.pad_id), std::make_pair("unknown", spec.unk_id)}) {
    if (id == -1) continue;
    if (absl::Status status = CheckId(spec, what, id); !status.ok()) return status;
  }
  if (spec.sentencepiece.has_value() && spec.sentencepiece->unknown_id != -1) {
    if (absl::Status status = CheckId(spec, "unknown", spec.sentencepiece->unknown_id); !status.ok()) return status;
  }
  if (spec.padded_vocab_size != 0 && spec.padded_vocab_size < spec.num_tokens()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the tokenizer has ", spec.num_tokens(), " tokens, the file promises ", spec.padded_vocab_size));
  }
  return absl::OkStatus();
}

}  // namespace lorikeet::text
