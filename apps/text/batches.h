// From examples to what a training step eats: sequences in a random order that never ends, packed or not, as flat
// batches.
//
//   SequenceStream stream(&train.examples, {.max_seq_length = 256, .packing = true, .seed = 42});
//   Batch batch = stream.Get(/*first=*/micro_batch * batch_size, /*count=*/batch_size);
//
// The stream is epoch after epoch, each shuffled anew. Get is a function of (examples, options, index): nothing
// advances, so a run resumes by its index alone. With packing, examples are put together once, by best fit in a seeded
// order, into sequences of at most max_seq_length tokens; an epoch then shuffles whole sequences.
//
// Documents stay apart: every example is its own sequence in cu_seqlens, with positions from 0. A packed sequence and a
// lone one therefore differ only in how many examples a batch holds.
#ifndef LORIKEET_APPS_TEXT_BATCHES_H_
#define LORIKEET_APPS_TEXT_BATCHES_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "apps/text/dataset.h"

namespace lorikeet::text {

// targets[i] is the token that follows tokens[i], or -1 where there is no loss (the last of an example always).
struct Batch {
  std::vector<int32_t> tokens;      // [total]
  std::vector<int32_t> targets;     // [total]
  std::vector<int32_t> positions;   // [total], from 0 in every example
  std::vector<int32_t> cu_seqlens;  // [examples + 1]: example e is tokens[cu_seqlens[e] .. cu_seqlens[e + 1])

  int64_t num_targets() const;  // targets that are not -1
};

// The examples one after another.
Batch MakeBatch(absl::Span<const Example* const> examples);

struct StreamOptions {
  int64_t max_seq_length = 1024;  // of a packed sequence; no example is longer
  bool packing = false;
  bool shuffle = true;
  uint64_t seed = 42;
};

class SequenceStream {
 public:
  // The examples, at least one, must outlive the stream and stay as they are.
  SequenceStream(const std::vector<Example>* examples, const StreamOptions& options);

  // Sequences in one epoch: packs with packing, examples without.
  int64_t sequences_per_epoch() const { return static_cast<int64_t>(sequences_.size()); }
  // The examples of the index-th sequence of the endless stream.
  absl::Span<const int64_t> Sequence(int64_t index) const;
  // Sequences first .. first + count - 1.
  Batch Get(int64_t first, int64_t count) const;

 private:
  void Pack();

  const std::vector<Example>* examples_;
  StreamOptions options_;
  std::vector<std::vector<int64_t>> sequences_;  // indices of examples
};

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_BATCHES_H_
