#include "apps/text/golden_vectors.h"

#include <zstd.h>

#include <cstring>
#include <fstream>
#include <iterator>

#include "tensor/check.h"

namespace lorikeet::text {
namespace {

// Takes little-endian numbers and strings off the front of a record.
class Cursor {
 public:
  explicit Cursor(const std::string& bytes) : bytes_(bytes) {}

  template <typename T>
  std::vector<T> Take(size_t count) {
    std::vector<T> values(count);
    const std::string raw = TakeBytes(count * sizeof(T));
    if (count != 0) std::memcpy(values.data(), raw.data(), raw.size());
    return values;
  }

  std::string TakeBytes(size_t count) {
    LORIKEET_CHECK_LE(count, bytes_.size() - pos_) << "the fixture ends too early";
    pos_ += count;
    return bytes_.substr(pos_ - count, count);
  }

 private:
  const std::string& bytes_;
  size_t pos_ = 0;
};

}  // namespace

std::string ReadZstdFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  LORIKEET_CHECK(file.good()) << "cannot open " << path;
  const std::string packed((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const unsigned long long size = ZSTD_getFrameContentSize(packed.data(), packed.size());
  LORIKEET_CHECK(size < (1ull << 32)) << path << ": not a zstd frame of known size";
  std::string bytes(size, '\0');
  LORIKEET_CHECK_EQ(ZSTD_decompress(bytes.data(), bytes.size(), packed.data(), packed.size()), size) << path;
  return bytes;
}

GoldenVectors ReadGoldenVectors(const std::string& path) {
  const std::string bytes = ReadZstdFile(path);
  Cursor cursor(bytes);
  const uint32_t count = cursor.Take<uint32_t>(1)[0];
  const std::vector<uint32_t> text_lengths = cursor.Take<uint32_t>(count), id_counts = cursor.Take<uint32_t>(count);
  GoldenVectors vectors;
  for (const uint32_t length : text_lengths) vectors.texts.push_back(cursor.TakeBytes(length));
  for (const uint32_t n : id_counts) {
    const std::vector<uint16_t> ids = cursor.Take<uint16_t>(n);
    vectors.ids.emplace_back(ids.begin(), ids.end());
  }
  return vectors;
}

}  // namespace lorikeet::text
