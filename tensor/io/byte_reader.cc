#include "tensor/io/byte_reader.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace lorikeet {
namespace {

constexpr uint64_t kBufferBytes = 256 << 10;

}  // namespace

void ByteReader::Fail(absl::string_view what) {
  if (ok()) status_ = absl::InvalidArgumentError(absl::StrCat("at byte ", position_, ": ", what));
}

void ByteReader::GetBytes(void* out, uint64_t bytes) {
  if (ok() && bytes > remaining()) Fail("it ends too early");
  char* p = static_cast<char*>(out);
  while (ok() && bytes > 0) {
    if (position_ - buffer_start_ >= buffer_.size()) {
      buffer_start_ = position_;
      buffer_.resize(std::min(kBufferBytes, remaining()));
      status_ = file_.Read(buffer_start_, &buffer_[0], buffer_.size());
      if (!ok()) break;
    }
    const uint64_t at = position_ - buffer_start_, n = std::min(bytes, buffer_.size() - at);
    std::memcpy(p, buffer_.data() + at, n);
    p += n;
    position_ += n;
    bytes -= n;
  }
  if (!ok()) std::memset(out, 0, static_cast<size_t>(p - static_cast<char*>(out)) + bytes);
}

std::string ByteReader::GetString(uint64_t max_bytes, absl::string_view what) {
  const uint64_t length = Get<uint64_t>();
  if (length > max_bytes) Fail(absl::StrCat(what, " of ", length, " bytes, at most ", max_bytes, " are allowed"));
  if (length > remaining()) Fail(absl::StrCat(what, " of ", length, " bytes is cut short"));
  if (!ok()) return "";
  std::string text(length, '\0');
  GetBytes(&text[0], length);
  return text;
}

}  // namespace lorikeet
