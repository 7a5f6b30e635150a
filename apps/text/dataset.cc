#include "apps/text/dataset.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "apps/text/permutation.h"
#include "tensor/random.h"

namespace lorikeet::text {
namespace {

constexpr uint64_t kSplitStream = 0x73706c6974;  // "split"

// The ids of segments that words may cross, at their place in the text.
std::vector<int32_t> EncodeRun(absl::Span<const Segment> segments, const Tokenizer& tokenizer, TextPlace* place) {
  std::vector<TextPart> parts;
  for (const Segment& segment : segments) parts.push_back({segment.text, segment.allow_special});
  std::vector<int32_t> ids = tokenizer.EncodeParts(parts, place);
  if (segments.back().before_text) *place = TextPlace::kStart;
  return ids;
}

bool SameRun(const Segment& a, const Segment& b) {
  return a.is_answer == b.is_answer && a.before_text == b.before_text;
}

void Cut(int64_t max_seq_length, Example* example) {
  example->tokens.resize(static_cast<size_t>(max_seq_length));
  example->loss_mask.resize(static_cast<size_t>(max_seq_length));
}

absl::StatusOr<Example> EncodeLine(const std::string& path, const JsonlLine& line, const Tokenizer& tokenizer,
                                   const ChatTemplate& chat, bool train_on_prompt) {
  if (!line.status.ok()) return line.status;
  const absl::StatusOr<Row> row = ParseRow(line.value);
  absl::StatusOr<Example> example = row.ok() ? EncodeRow(*row, tokenizer, chat, train_on_prompt) : row.status();
  if (!example.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ":", line.number, ": ", example.status().message()));
  }
  example->line = line.number;
  return example;
}

// Adds the row to the data, or counts why not.
void Keep(Example example, const DatasetOptions& options, Dataset* data) {
  if (static_cast<int64_t>(example.tokens.size()) > options.max_seq_length) {
    ++data->stats.truncated;
    Cut(options.max_seq_length, &example);
  }
  if (example.num_targets() == 0) {
    ++data->stats.dropped;
    return;
  }
  data->examples.push_back(std::move(example));
}

absl::Status NoRows(const std::string& path, const DatasetStats& stats) {
  if (stats.rows == 0) return absl::InvalidArgumentError(absl::StrCat(path, ": has no rows"));
  std::string message = absl::StrCat(path, ": no usable row: of ", stats.rows, " rows ", stats.dropped,
                                     " have no answer token within"
                                     " --max_seq_length (",
                                     stats.truncated, " were cut), ", stats.bad, " could not be read");
  if (!stats.first_bad.ok()) absl::StrAppend(&message, "; the first: ", stats.first_bad.message());
  return absl::InvalidArgumentError(message);
}

}  // namespace

int64_t Example::num_targets() const { return std::count(loss_mask.begin(), loss_mask.end(), 1); }

int64_t Dataset::num_tokens() const {
  int64_t n = 0;
  for (const Example& example : examples) n += static_cast<int64_t>(example.tokens.size());
  return n;
}

int64_t Dataset::num_targets() const {
  int64_t n = 0;
  for (const Example& example : examples) n += example.num_targets();
  return n;
}

Example EncodeSegments(absl::Span<const Segment> segments, const Tokenizer& tokenizer, bool train_on_prompt) {
  Example example;
  TextPlace place = TextPlace::kStart;
  for (size_t begin = 0; begin < segments.size();) {
    size_t end = begin + 1;
    while (end < segments.size() && SameRun(segments[begin], segments[end])) ++end;
    const std::vector<int32_t> ids = EncodeRun(segments.subspan(begin, end - begin), tokenizer, &place);
    example.tokens.insert(example.tokens.end(), ids.begin(), ids.end());
    example.loss_mask.resize(example.tokens.size(), segments[begin].is_answer || train_on_prompt ? 1 : 0);
    begin = end;
  }
  if (!example.loss_mask.empty()) example.loss_mask[0] = 0;
  return example;
}

absl::StatusOr<Example> EncodeRow(const Row& row, const Tokenizer& tokenizer, const ChatTemplate& chat,
                                  bool train_on_prompt) {
  if (row.is_text) return EncodeSegments(chat.RenderText(row.text), tokenizer, train_on_prompt);
  const absl::StatusOr<std::vector<Segment>> segments = chat.Render(row.messages);
  if (!segments.ok()) return segments.status();
  return EncodeSegments(*segments, tokenizer, train_on_prompt);
}

absl::StatusOr<Dataset> LoadDataset(const std::string& path, const Tokenizer& tokenizer, const ChatTemplate& chat,
                                    const DatasetOptions& options) {
  if (options.max_seq_length < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("--max_seq_length=", options.max_seq_length, ": must be at least 2"));
  }
  absl::StatusOr<JsonlReader> reader = JsonlReader::Open(path, options.max_line_bytes);
  if (!reader.ok()) return reader.status();
  Dataset data;
  JsonlLine line;
  while (reader->Next(&line)) {
    ++data.stats.rows;
    absl::StatusOr<Example> example = EncodeLine(path, line, tokenizer, chat, options.train_on_prompt);
    if (example.ok()) {
      Keep(*std::move(example), options, &data);
      continue;
    }
    if (!options.skip_bad_rows) return example.status();
    if (data.stats.bad++ == 0) data.stats.first_bad = example.status();
  }
  if (!reader->status().ok()) return reader->status();
  if (data.examples.empty()) return NoRows(path, data.stats);
  return data;
}

std::pair<Dataset, Dataset> SplitDataset(Dataset data, double eval_fraction, uint64_t seed) {
  const int64_t n = static_cast<int64_t>(data.examples.size());
  int64_t eval_size = eval_fraction > 0 ? std::llround(eval_fraction * static_cast<double>(n)) : 0;
  if (eval_fraction > 0) eval_size = std::max<int64_t>(eval_size, 1);
  eval_size = std::clamp<int64_t>(eval_size, 0, std::max<int64_t>(n - 1, 0));
  std::vector<bool> is_eval(static_cast<size_t>(n), false);
  const RngKey key = RngKey{seed, 0}.Fold(kSplitStream);
  for (int64_t i = 0; i < eval_size; ++i) is_eval[static_cast<size_t>(Permute(key, n, i))] = true;
  std::pair<Dataset, Dataset> split;
  split.first.stats = split.second.stats = data.stats;
  for (int64_t i = 0; i < n; ++i) {
    Dataset& side = is_eval[static_cast<size_t>(i)] ? split.second : split.first;
    side.examples.push_back(std::move(data.examples[static_cast<size_t>(i)]));
  }
  return split;
}

}  // namespace lorikeet::text
