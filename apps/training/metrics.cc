#include "apps/training/metrics.h"

#include <fcntl.h>

#include <cerrno>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "apps/text/json.h"
#include "apps/training/number_text.h"
#include "nlohmann/json.hpp"
#include "tensor/io/atomic_file.h"
#include "tensor/io/file.h"

namespace lorikeet {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{1} << 30;

std::string ToJson(const StepMetrics& s) {
  return absl::StrCat("{\"step\":", s.step, ",\"loss\":", ShortestDouble(s.loss), ",\"lr\":", ShortestDouble(s.lr),
                      ",\"grad_norm\":", ShortestDouble(s.grad_norm), ",\"tokens\":", s.tokens,
                      ",\"tokens_per_second\":", ShortestDouble(s.tokens_per_second),
                      ",\"seconds\":", ShortestDouble(s.seconds), ",\"resident_bytes\":", s.resident_bytes, "}");
}

std::string ToJson(const EvalMetrics& e) {
  return absl::StrCat("{\"step\":", e.step, ",\"eval_loss\":", ShortestDouble(e.eval_loss), "}");
}

// null stands for a number that was not finite.
double Number(const nlohmann::json& line, const char* key) {
  const nlohmann::json* value = text::Member(line, key);
  return value != nullptr && value->is_number() ? value->get<double>() : std::nan("");
}

int64_t Integer(const nlohmann::json& line, const char* key, int64_t otherwise) {
  const nlohmann::json* value = text::Member(line, key);
  return value != nullptr && value->is_number_integer() ? value->get<int64_t>() : otherwise;
}

// False if it is not one of ours.
bool ParseLine(absl::string_view text, MetricsSeries* series, int64_t* step) {
  const absl::StatusOr<nlohmann::json> line = text::ParseJson(text);
  if (!line.ok() || !line->is_object()) return false;
  *step = Integer(*line, "step", -1);
  if (*step < 0) return false;
  if (line->contains("eval_loss")) {
    series->evals.push_back({*step, Number(*line, "eval_loss")});
  } else if (line->contains("loss")) {
    series->steps.push_back({.step = *step,
                             .loss = Number(*line, "loss"),
                             .lr = Number(*line, "lr"),
                             .grad_norm = Number(*line, "grad_norm"),
                             .tokens = Integer(*line, "tokens", 0),
                             .tokens_per_second = Number(*line, "tokens_per_second"),
                             .seconds = Number(*line, "seconds"),
                             .resident_bytes = Integer(*line, "resident_bytes", 0)});
  } else {
    return false;
  }
  return true;
}

// The lines that a run resumed after `step` keeps.
std::string KeptLines(const std::string& text, int64_t step) {
  std::string kept;
  size_t begin = 0;
  for (size_t end; (end = text.find('\n', begin)) != text.npos; begin = end + 1) {
    const std::string line = text.substr(begin, end - begin);
    MetricsSeries ignored;
    int64_t line_step = 0;
    if (ParseLine(line, &ignored, &line_step) && line_step <= step) absl::StrAppend(&kept, line, "\n");
  }
  return kept;
}

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsWriter>> MetricsWriter::Open(const std::string& path, int flags, FileSystem& fs) {
  const int fd = fs.Open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC | flags, 0666);
  if (fd < 0) return ErrnoStatus(errno, "open", path);
  return std::unique_ptr<MetricsWriter>(new MetricsWriter(path, fd, fs));
}

absl::StatusOr<std::unique_ptr<MetricsWriter>> MetricsWriter::Create(const std::string& path, FileSystem& file_system) {
  return Open(path, O_TRUNC, file_system);
}

absl::StatusOr<std::unique_ptr<MetricsWriter>> MetricsWriter::Resume(const std::string& path, int64_t step,
                                                                     FileSystem& file_system) {
  const absl::StatusOr<std::string> text = ReadFileToString(path, kMaxBytes);
  if (!text.ok() && !absl::IsNotFound(text.status())) return text.status();
  absl::Status status = WriteFileAtomically(path, KeptLines(text.value_or(""), step), file_system);
  if (!status.ok()) return status;
  return Open(path, 0, file_system);
}

MetricsWriter::~MetricsWriter() { file_system_.Close(fd_); }

void MetricsWriter::Write(const StepMetrics& step) { WriteLine(absl::StrCat(ToJson(step), "\n")); }
void MetricsWriter::Write(const EvalMetrics& eval) { WriteLine(absl::StrCat(ToJson(eval), "\n")); }

void MetricsWriter::WriteLine(const std::string& line) {
  if (!status_.ok()) return;
  ssize_t n;
  do n = file_system_.Write(fd_, line.data(), line.size());
  while (n < 0 && errno == EINTR);
  if (n == static_cast<ssize_t>(line.size())) return;
  // Half a line is what a full disk leaves.
  const absl::Status error = ErrnoStatus(n < 0 ? errno : ENOSPC, "write", path_);
  status_ = absl::Status(error.code(), absl::StrCat(error.message(), "; training goes on without metrics"));
}

absl::StatusOr<MetricsSeries> ReadMetrics(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFileToString(path, kMaxBytes);
  if (!text.ok()) return text.status();
  MetricsSeries series;
  int64_t number = 0, step = 0;
  const std::vector<absl::string_view> lines = absl::StrSplit(*text, '\n');
  for (absl::string_view line : lines) {
    ++number;
    if (line.empty() || ParseLine(line, &series, &step)) continue;
    // The last line of a run that was killed, or still writes.
    if (number == static_cast<int64_t>(lines.size())) break;
    return absl::DataLossError(absl::StrCat(path, ", line ", number, ": not a line of metrics: ", Quoted(line)));
  }
  return series;
}

}  // namespace lorikeet
