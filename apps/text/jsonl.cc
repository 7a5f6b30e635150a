#include "apps/text/jsonl.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "apps/text/json.h"

namespace lorikeet::text {

absl::StatusOr<JsonlReader> JsonlReader::Open(const std::string& path, int64_t max_line_bytes) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return absl::NotFoundError(absl::StrCat(path, ": ", std::strerror(errno)));
  if (S_ISDIR(info.st_mode))
    return absl::InvalidArgumentError(absl::StrCat(path, ": is a directory; name a .jsonl file"));
  JsonlReader reader;
  reader.path_ = path;
  reader.max_line_bytes_ = max_line_bytes;
  reader.file_.open(path, std::ios::binary);
  if (!reader.file_) return absl::InvalidArgumentError(absl::StrCat(path, ": ", std::strerror(errno)));
  return reader;
}

bool JsonlReader::Refill() {
  constexpr size_t kChunk = 1 << 16;
  buffer_.resize(kChunk);
  file_.read(buffer_.data(), kChunk);
  buffer_.resize(static_cast<size_t>(file_.gcount()));
  pos_ = 0;
  if (file_.bad()) status_ = absl::DataLossError(absl::StrCat(path_, ": could not be read to its end"));
  return !buffer_.empty() && status_.ok();
}

// The next line without its LF. False at the end of the file or at an error.
bool JsonlReader::ReadLine(std::string* text) {
  text->clear();
  bool any = false;
  while (pos_ < buffer_.size() || Refill()) {
    any = true;
    const size_t end = buffer_.find('\n', pos_);
    const size_t stop = end == std::string::npos ? buffer_.size() : end;
    text->append(buffer_, pos_, stop - pos_);
    pos_ = end == std::string::npos ? stop : stop + 1;
    if (static_cast<int64_t>(text->size()) > max_line_bytes_) {
      status_ =
          absl::InvalidArgumentError(absl::StrCat(path_, ":", line_number_ + 1, ": the line is longer than ",
                                                  max_line_bytes_, " bytes. Is the file JSON lines, one row a line?"));
      return false;
    }
    if (end != std::string::npos) break;
  }
  if (any) ++line_number_;
  return any && status_.ok();
}

bool JsonlReader::Next(JsonlLine* line) {
  std::string text;
  while (ReadLine(&text)) {
    absl::string_view row = text;
    if (line_number_ == 1) absl::ConsumePrefix(&row, "\xEF\xBB\xBF");
    row = absl::StripAsciiWhitespace(row);
    if (row.empty()) continue;
    line->number = line_number_;
    absl::StatusOr<nlohmann::json> value = ParseJson(row);
    line->status =
        value.ok() ? absl::OkStatus()
                   : absl::InvalidArgumentError(absl::StrCat(path_, ":", line_number_, ": ", value.status().message()));
    line->value = value.ok() ? *std::move(value) : nlohmann::json();
    return true;
  }
  return false;
}

}  // namespace lorikeet::text
