// Reads a file of JSON lines, line by line, in bounded memory.
//
//   absl::StatusOr<JsonlReader> reader = JsonlReader::Open("train.jsonl");
//   JsonlLine line;
//   while (reader->Next(&line)) Use(line.number, line.value);
//   if (!reader->status().ok()) ...
//
// Lines end with LF or CR LF, the last one needs no end; a byte order mark at the start and empty lines are skipped. A
// line longer than max_line_bytes, or one that is not one JSON value (ill-formed UTF-8, lone surrogates, a key twice,
// deep nesting), is an error with path and line number; the reader can go on after the latter.
#ifndef LORIKEET_APPS_TEXT_JSONL_H_
#define LORIKEET_APPS_TEXT_JSONL_H_

#include <cstdint>
#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace lorikeet::text {

inline constexpr int64_t kMaxLineBytes = int64_t{16} << 20;

struct JsonlLine {
  int64_t number = 0;   // from 1, as editors count
  absl::Status status;  // why the line is no JSON value
  nlohmann::json value;
};

class JsonlReader {
 public:
  static absl::StatusOr<JsonlReader> Open(const std::string& path, int64_t max_line_bytes = kMaxLineBytes);

  // The next line that is not empty. False at the end or at an error of the file; status() tells which.
  bool Next(JsonlLine* line);
  const absl::Status& status() const { return status_; }

 private:
  JsonlReader() = default;
  bool ReadLine(std::string* text);
  bool Refill();

  std::string path_;
  int64_t max_line_bytes_ = 0;
  std::ifstream file_;
  std::string buffer_;
  size_t pos_ = 0;
  int64_t line_number_ = 0;
  absl::Status status_;
};

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_JSONL_H_
