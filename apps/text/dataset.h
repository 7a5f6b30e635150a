// Training data: a jsonl file -> token sequences with their loss mask.
//
//   absl::StatusOr<Dataset> data = LoadDataset("train.jsonl", tokenizer, chat, {.max_seq_length = 256});
//   auto [train, eval] = SplitDataset(*std::move(data), /*eval_fraction=*/0.05, seed);
//
// A conversation is rendered by the chat template (chat_template.h), running text as one answer. Loss falls on the
// answer's tokens (all of them, with train_on_prompt) except a sequence's first token, which nothing predicts. Prompt
// and answer are tokenized apart, at the place where a generation would begin.
//
// A row longer than max_seq_length tokens is cut at its end; if no token with loss is left it is dropped. Both are
// counted. A row that cannot be read is an error with path, line number and reason; with skip_bad_rows it is counted
// instead, and the first such error kept. No usable row is an error.
#ifndef LORIKEET_APPS_TEXT_DATASET_H_
#define LORIKEET_APPS_TEXT_DATASET_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "apps/text/chat_template.h"
#include "apps/text/jsonl.h"
#include "apps/text/rows.h"
#include "apps/text/tokenizer.h"

namespace lorikeet::text {

struct Example {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> loss_mask;  // 1: this token is to be predicted. As long as tokens; loss_mask[0] is 0
  int64_t line = 0;                // where it came from

  int64_t num_targets() const;  // ones in loss_mask
};

struct DatasetOptions {
  int64_t max_seq_length = 1024;
  bool train_on_prompt = false;
  bool skip_bad_rows = false;
  int64_t max_line_bytes = kMaxLineBytes;
};

struct DatasetStats {
  int64_t rows = 0;       // read, bad ones included
  int64_t bad = 0;        // skipped
  int64_t truncated = 0;  // cut, and kept or dropped
  int64_t dropped = 0;    // no token with loss
  absl::Status first_bad;
};

struct Dataset {
  std::vector<Example> examples;
  DatasetStats stats;  // of the whole file

  int64_t num_tokens() const;
  int64_t num_targets() const;
};

// Not cut: as long as the row is. EncodeRow's error is the chat template's.
Example EncodeSegments(absl::Span<const Segment> segments, const Tokenizer& tokenizer, bool train_on_prompt);
absl::StatusOr<Example> EncodeRow(const Row& row, const Tokenizer& tokenizer, const ChatTemplate& chat,
                                  bool train_on_prompt);

absl::StatusOr<Dataset> LoadDataset(const std::string& path, const Tokenizer& tokenizer, const ChatTemplate& chat,
                                    const DatasetOptions& options);

// {train, eval}: eval gets round(eval_fraction * size) examples, at least one if eval_fraction > 0 and there are two,
// and never all. Which ones depends on the seed and the size alone; both keep the file's order.
std::pair<Dataset, Dataset> SplitDataset(Dataset data, double eval_fraction, uint64_t seed);

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_DATASET_H_
