#include "apps/text/byte_bpe.h"

#include <algorithm>
#include <limits>
#include <queue>

#include "absl/types/optional.h"
#include "apps/text/byte_map.h"

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

ByteBpe::ByteBpe(const BpeSpec& spec) {
  byte_ids_.fill(-1);
  for (size_t id = 0; id < spec.vocab.size(); ++id) {
    absl::optional<std::string> bytes = UnmapToken(spec.vocab[id]);
    if (!bytes.has_value()) continue;
    if (bytes->size() == 1) byte_ids_[static_cast<uint8_t>((*bytes)[0])] = static_cast<int32_t>(id);
    if (spec.ignore_merges) whole_pieces_.emplace(*std::move(bytes), static_cast<int32_t>(id));
  }
  merges_.reserve(spec.merges.size());
  for (size_t rank = 0; rank < spec.merges.size(); ++rank) {
    const Merge& m = spec.merges[rank];
    merges_[Key(m.left, m.right)] = {static_cast<int32_t>(rank), m.result};  // of equal lines the last counts
  }
}

const ByteBpe::Product* ByteBpe::Find(int32_t left, int32_t right) const {
  const auto it = merges_.find(Key(left, right));
  return it == merges_.end() ? nullptr : &it->second;
}

void ByteBpe::Encode(absl::string_view piece, std::vector<int32_t>* ids) const {
  if (!whole_pieces_.empty()) {
    const auto it = whole_pieces_.find(piece);
    if (it != whole_pieces_.end()) {
      ids->push_back(it->second);
      return;
    }
  }
  std::vector<int32_t> symbols;
  symbols.reserve(piece.size());
  for (const char b : piece) {
    const int32_t id = byte_ids_[static_cast<uint8_t>(b)];
    if (id >= 0) symbols.push_back(id);
  }
  symbols.size() <= kShort ? MergeShort(&symbols) : MergeLong(&symbols);
  ids->insert(ids->end(), symbols.begin(), symbols.end());
}

void ByteBpe::MergeShort(std::vector<int32_t>* symbols) const {
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

void ByteBpe::MergeLong(std::vector<int32_t>* symbols) const {
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
