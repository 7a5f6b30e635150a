#include "apps/text/batches.h"

#include <algorithm>
#include <set>
#include <utility>

#include "apps/text/permutation.h"
#include "tensor/check.h"
#include "tensor/random.h"

namespace lorikeet::text {
namespace {

constexpr uint64_t kPackStream = 0x7061636b;     // "pack"
constexpr uint64_t kOrderStream = 0x6f72646572;  // "order"

}  // namespace

int64_t Batch::num_targets() const {
  return std::count_if(targets.begin(), targets.end(), [](int32_t t) { return t >= 0; });
}

Batch MakeBatch(absl::Span<const Example* const> examples) {
  Batch batch;
  batch.cu_seqlens.push_back(0);
  for (const Example* example : examples) {
    const size_t n = example->tokens.size();
    LORIKEET_CHECK_EQ(example->loss_mask.size(), n) << "MakeBatch: loss_mask";
    for (size_t i = 0; i < n; ++i) {
      const bool has_target = i + 1 < n && example->loss_mask[i + 1] != 0;
      batch.tokens.push_back(example->tokens[i]);
      batch.targets.push_back(has_target ? example->tokens[i + 1] : -1);
      batch.positions.push_back(static_cast<int32_t>(i));
    }
    batch.cu_seqlens.push_back(static_cast<int32_t>(batch.tokens.size()));
  }
  return batch;
}

SequenceStream::SequenceStream(const std::vector<Example>* examples, const StreamOptions& options)
    : examples_(examples), options_(options) {
  LORIKEET_CHECK(!examples->empty()) << "SequenceStream: no examples";
  if (options_.packing) {
    Pack();
  } else {
    for (size_t i = 0; i < examples->size(); ++i) sequences_.push_back({static_cast<int64_t>(i)});
  }
}

// Best fit: every example goes where the least room is left over, or opens a sequence.
void SequenceStream::Pack() {
  const int64_t n = static_cast<int64_t>(examples_->size());
  const RngKey key = RngKey{options_.seed, 0}.Fold(kPackStream);
  std::set<std::pair<int64_t, size_t>> open;  // {room, sequence}
  for (int64_t i = 0; i < n; ++i) {
    const int64_t e = options_.shuffle ? Permute(key, n, i) : i;
    const int64_t length = static_cast<int64_t>((*examples_)[static_cast<size_t>(e)].tokens.size());
    auto fit = open.lower_bound({length, 0});
    std::pair<int64_t, size_t> place = {options_.max_seq_length, sequences_.size()};
    if (fit != open.end()) {
      place = *fit;
      open.erase(fit);
    } else {
      sequences_.emplace_back();
    }
    sequences_[place.second].push_back(e);
    open.insert({std::max<int64_t>(place.first - length, 0), place.second});
  }
}

absl::Span<const int64_t> SequenceStream::Sequence(int64_t index) const {
  LORIKEET_CHECK_GE(index, 0) << "SequenceStream";
  const int64_t n = sequences_per_epoch(), epoch = index / n, i = index % n;
  const RngKey key = RngKey{options_.seed, 0}.Fold(kOrderStream).Fold(static_cast<uint64_t>(epoch));
  return sequences_[static_cast<size_t>(options_.shuffle ? Permute(key, n, i) : i)];
}

Batch SequenceStream::Get(int64_t first, int64_t count) const {
  std::vector<const Example*> examples;
  for (int64_t i = first; i < first + count; ++i) {
    for (const int64_t e : Sequence(i)) examples.push_back(&(*examples_)[static_cast<size_t>(e)]);
  }
  return MakeBatch(examples);
}

}  // namespace lorikeet::text
