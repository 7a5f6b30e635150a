#include "apps/text/bpe_trainer.h"

#include <algorithm>
#include <array>
#include <queue>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "apps/text/byte_map.h"
#include "apps/text/nfc.h"
#include "apps/text/utf8.h"

namespace lorikeet::text {
namespace {

using Pair = std::pair<int32_t, int32_t>;

struct Word {
  std::vector<int32_t> symbols;
  int64_t count;
};

struct Candidate {
  int64_t count;
  Pair pair;
  bool operator<(const Candidate& o) const { return count != o.count ? count < o.count : pair > o.pair; }
};

// The words as symbols, and for every pair of neighbours how often it occurs and where.
class PairTable {
 public:
  explicit PairTable(std::vector<Word> words) : words_(std::move(words)) {
    for (size_t w = 0; w < words_.size(); ++w) {
      const std::vector<int32_t>& symbols = words_[w].symbols;
      for (size_t i = 0; i + 1 < symbols.size(); ++i) Change({symbols[i], symbols[i + 1]}, w, words_[w].count);
    }
    for (const auto& [pair, count] : counts_) heap_.push({count, pair});
  }

  // The most frequent pair; count 0 when none is left.
  Candidate PopMostFrequent() {
    while (!heap_.empty()) {
      const Candidate top = heap_.top();
      heap_.pop();
      const int64_t now = counts_[top.pair];
      if (now == top.count && now > 0) return top;
      if (now > 0) heap_.push({now, top.pair});
    }
    return {0, {}};
  }

  // Joins the pair into `id` in every word that holds it.
  void Join(Pair pair, int32_t id) {
    const absl::flat_hash_set<size_t> places = std::move(places_[pair]);
    places_.erase(pair);
    absl::flat_hash_set<Pair> grown;
    for (const size_t w : places) JoinInWord(pair, id, w, &grown);
    counts_.erase(pair);
    for (const Pair& p : grown) {
      if (p != pair) heap_.push({counts_[p], p});
    }
  }

 private:
  void Change(Pair pair, size_t word, int64_t by) {
    counts_[pair] += by;
    if (by > 0) places_[pair].insert(word);
  }

  void JoinInWord(Pair pair, int32_t id, size_t w, absl::flat_hash_set<Pair>* grown) {
    const int64_t count = words_[w].count;
    std::vector<int32_t>& symbols = words_[w].symbols;
    const auto replace = [&](Pair before, Pair after) {
      Change(before, w, -count);
      Change(after, w, count);
      grown->insert(after);
    };
    size_t out = 0;
    for (size_t i = 0; i < symbols.size(); ++i) {
      if (i + 1 == symbols.size() || Pair(symbols[i], symbols[i + 1]) != pair) {
        symbols[out++] = symbols[i];
        continue;
      }
      if (out > 0) replace({symbols[out - 1], pair.first}, {symbols[out - 1], id});
      if (i + 2 < symbols.size()) replace({pair.second, symbols[i + 2]}, {id, symbols[i + 2]});
      symbols[out++] = id;
      ++i;
    }
    symbols.resize(out);
  }

  std::vector<Word> words_;
  absl::flat_hash_map<Pair, int64_t> counts_;
  absl::flat_hash_map<Pair, absl::flat_hash_set<size_t>> places_;
  std::priority_queue<Candidate> heap_;
};

// Adds the special tokens and the bytes to the vocabulary and returns the bytes' ids.
std::array<int32_t, 256> AddAlphabet(const BpeTrainerOptions& options, BpeSpec* spec) {
  for (const std::string& content : options.special_tokens) {
    AddedToken token;
    token.id = static_cast<int32_t>(spec->vocab.size());
    token.content = content;
    token.special = true;
    spec->added.push_back(token);
    spec->vocab.push_back(content);
  }
  std::array<int, 256> bytes;
  for (int b = 0; b < 256; ++b) bytes[b] = b;
  std::sort(bytes.begin(), bytes.end(),
            [](int a, int b) { return ByteToChar(static_cast<uint8_t>(a)) < ByteToChar(static_cast<uint8_t>(b)); });
  std::array<int32_t, 256> ids;
  for (const int b : bytes) {
    ids[b] = static_cast<int32_t>(spec->vocab.size());
    spec->vocab.push_back(MapBytes(std::string(1, static_cast<char>(b))));
  }
  return ids;
}

}  // namespace

BpeTrainer::BpeTrainer(BpeTrainerOptions options) : options_(std::move(options)), split_(options_.pretokenizer) {}

void BpeTrainer::Add(absl::string_view text) {
  std::string clean = ReplaceInvalidUtf8(text);
  if (options_.normalizer == Normalizer::kNfc) clean = NormalizeNfc(clean);
  std::vector<absl::string_view> pieces;
  split_.Split(clean, &pieces);
  for (const absl::string_view piece : pieces) ++piece_counts_[piece];
}

BpeSpec BpeTrainer::Train() const {
  BpeSpec spec;
  spec.normalizer = options_.normalizer;
  spec.pretokenizer = options_.pretokenizer;
  const std::array<int32_t, 256> byte_ids = AddAlphabet(options_, &spec);
  std::vector<Word> words;
  for (const auto& [piece, count] : piece_counts_) {
    Word word{{}, count};
    for (const char b : piece) word.symbols.push_back(byte_ids[static_cast<uint8_t>(b)]);
    words.push_back(std::move(word));
  }
  absl::flat_hash_map<std::string, int32_t> index;  // two merges may have the same product
  for (size_t id = 0; id < spec.vocab.size(); ++id) index.emplace(spec.vocab[id], static_cast<int32_t>(id));
  PairTable pairs(std::move(words));
  while (static_cast<int>(spec.vocab.size()) < options_.vocab_size) {
    const auto [count, pair] = pairs.PopMostFrequent();
    if (count < std::max<int64_t>(options_.min_frequency, 1)) break;
    const std::string product = spec.vocab[pair.first] + spec.vocab[pair.second];
    const auto [it, is_new] = index.emplace(product, static_cast<int32_t>(spec.vocab.size()));
    const int32_t id = it->second;
    if (is_new) spec.vocab.push_back(product);
    spec.merges.push_back({pair.first, pair.second, id});
    pairs.Join(pair, id);
  }
  if (!spec.added.empty()) {
    spec.eos_id = spec.pad_id = spec.added[0].id;
    spec.stop_ids = {spec.eos_id};
  }
  return spec;
}

}  // namespace lorikeet::text
