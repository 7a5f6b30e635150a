#include "apps/text/bpe.h"

#include <algorithm>
#include <limits>
#include <queue>

#include "absl/types/optional.h"
#include "apps/text/byte_map.h"
#include "apps/text/sentencepiece.h"
#include "apps/text/utf8.h"

namespace lorikeet::text {
namespace {

constexpr size_t kShort = 24;  // up to here scanning beats a heap

// Symbols of a long piece, linked so that a merge is O(1).
struct Node {
  int32_t id, previous, next;  // -1: no neighbour; id -1: merged away
};

struct Candidate {
  int32_t rank, position, id;
  bool operator>(const Candidate& o) const { return rank != o.rank ? rank > o.rank : position > o.position; }
};

}  // namespace

Bpe::Bpe(const BpeSpec& spec) {
  byte_ids_.fill(-1);
  if (spec.sentencepiece.has_value()) {
    by_characters_ = true;
    byte_fallback_ = spec.sentencepiece->byte_fallback;
    fuse_unknown_ = spec.sentencepiece->fuse_unknown;
    unknown_id_ = spec.sentencepiece->unknown_id;
  }
  std::vector<bool> is_special(spec.num_tokens(), false);
  for (const AddedToken& token : spec.added) is_special[token.id] = token.special;
  ReadVocab(spec, is_special);
  merges_.reserve(spec.merges.size());
  for (size_t rank = 0; rank < spec.merges.size(); ++rank) {
    const Merge& m = spec.merges[rank];
    if (is_special[m.result]) continue;
    merges_[Key(m.left, m.right)] = {static_cast<int32_t>(rank), m.result};  // of equal lines the last counts
  }
}

void Bpe::ReadVocab(const BpeSpec& spec, const std::vector<bool>& is_special) {
  for (size_t i = 0; i < spec.vocab.size(); ++i) {
    const int32_t id = static_cast<int32_t>(i);
    const std::string& token = spec.vocab[i];
    absl::optional<std::string> text = by_characters_ ? token : UnmapToken(token);
    if (!text.has_value()) continue;
    if (by_characters_) {
      if (const int byte = ByteOfToken(token); byte >= 0 && token == ByteToken(static_cast<uint8_t>(byte))) {
        byte_ids_[byte] = id;
      }
      if (token.empty()) continue;
      const Utf8Step first = DecodeUtf8(token, 0);
      if (first.valid && static_cast<size_t>(first.length) == token.size()) characters_.emplace(first.code_point, id);
    } else if (text->size() == 1) {
      byte_ids_[static_cast<uint8_t>((*text)[0])] = id;
    }
    if (spec.ignore_merges && !is_special[i]) whole_pieces_.emplace(*std::move(text), id);
  }
}

const Bpe::Product* Bpe::Find(int32_t left, int32_t right) const {
  const auto it = merges_.find(Key(left, right));
  return it == merges_.end() ? nullptr : &it->second;
}

void Bpe::Encode(absl::string_view piece, std::vector<int32_t>* ids) const {
  if (!whole_pieces_.empty()) {
    const auto it = whole_pieces_.find(piece);
    if (it != whole_pieces_.end()) {
      ids->push_back(it->second);
      return;
    }
  }
  std::vector<int32_t> symbols = by_characters_ ? CharacterSymbols(piece) : ByteSymbols(piece);
  symbols.size() <= kShort ? MergeShort(&symbols) : MergeLong(&symbols);
  ids->insert(ids->end(), symbols.begin(), symbols.end());
}

std::vector<int32_t> Bpe::ByteSymbols(absl::string_view piece) const {
  std::vector<int32_t> symbols;
  symbols.reserve(piece.size());
  for (const char b : piece) {
    const int32_t id = byte_ids_[static_cast<uint8_t>(b)];
    if (id >= 0) symbols.push_back(id);
  }
  return symbols;
}

std::vector<int32_t> Bpe::CharacterSymbols(absl::string_view piece) const {
  std::vector<int32_t> symbols;
  symbols.reserve(piece.size());
  // An unknown token waits for the next known character, and bytes in between go ahead of it: the reference's order,
  // which shows only where some bytes have tokens and others have not.
  bool waiting = false;
  for (size_t pos = 0; pos < piece.size();) {
    const Utf8Step step = DecodeUtf8(piece, pos);
    const absl::string_view character = piece.substr(pos, step.length);
    pos += step.length;
    const auto it = characters_.find(step.code_point);
    if (it != characters_.end()) {
      if (waiting) symbols.push_back(unknown_id_);
      waiting = false;
      symbols.push_back(it->second);
    } else if (!(byte_fallback_ && AppendBytes(character, &symbols)) && unknown_id_ >= 0) {
      if (waiting && !fuse_unknown_) symbols.push_back(unknown_id_);
      waiting = true;
    }
  }
  if (waiting) symbols.push_back(unknown_id_);
  return symbols;
}

bool Bpe::AppendBytes(absl::string_view character, std::vector<int32_t>* symbols) const {
  const auto id = [&](char b) { return byte_ids_[static_cast<uint8_t>(b)]; };
  if (std::any_of(character.begin(), character.end(), [&](char b) { return id(b) < 0; })) return false;
  for (const char b : character) symbols->push_back(id(b));
  return true;
}

void Bpe::MergeShort(std::vector<int32_t>* symbols) const {
  while (true) {
    Product best = {std::numeric_limits<int32_t>::max(), -1};
    size_t at = 0;
    for (size_t i = 0; i + 1 < symbols->size(); ++i) {
      const Product* product = Find((*symbols)[i], (*symbols)[i + 1]);
      if (product != nullptr && product->rank < best.rank) best = *product, at = i;
    }
    if (best.id < 0) return;
    (*symbols)[at] = best.id;
    symbols->erase(symbols->begin() + at + 1);
  }
}

void Bpe::MergeLong(std::vector<int32_t>* symbols) const {
  const int32_t n = static_cast<int32_t>(symbols->size());
  std::vector<Node> nodes(n);
  for (int32_t i = 0; i < n; ++i) nodes[i] = {(*symbols)[i], i - 1, i + 1 < n ? i + 1 : -1};
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> heap;
  const auto consider = [&](int32_t left) {
    if (left < 0 || nodes[left].next < 0) return;
    const Product* product = Find(nodes[left].id, nodes[nodes[left].next].id);
    if (product != nullptr) heap.push({product->rank, left, product->id});
  };
  for (int32_t i = 0; i + 1 < n; ++i) consider(i);
  while (!heap.empty()) {
    const Candidate top = heap.top();
    heap.pop();
    Node& left = nodes[top.position];
    if (left.id < 0 || left.next < 0) continue;
    Node& right = nodes[left.next];
    const Product* product = Find(left.id, right.id);
    if (product == nullptr || product->id != top.id || product->rank != top.rank) continue;  // stale
    left.id = top.id;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) nodes[left.next].previous = top.position;
    consider(left.previous);
    consider(top.position);
  }
  symbols->clear();
  for (int32_t i = 0; i >= 0; i = nodes[i].next) symbols->push_back(nodes[i].id);
}

}  // namespace lorikeet::text
