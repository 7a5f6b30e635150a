#include "apps/model/zstd_file.h"

#include <zstd.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tensor/io/atomic_file.h"

namespace lorikeet {
namespace {

constexpr int kLevel = 19;

class MemoryFile : public RandomAccessFile {
 public:
  MemoryFile(std::string path, std::string bytes) : path_(std::move(path)), bytes_(std::move(bytes)) {}
  absl::Status Read(uint64_t offset, void* out, size_t bytes) const override {
    if (offset > bytes_.size() || bytes > bytes_.size() - offset) {
      return absl::DataLossError(absl::StrCat(path_, ": ends before byte ", offset + bytes));
    }
    std::memcpy(out, bytes_.data() + offset, bytes);
    return absl::OkStatus();
  }
  uint64_t size() const override { return bytes_.size(); }
  const std::string& path() const override { return path_; }

 private:
  std::string path_, bytes_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenZstdFile(const std::string& path, uint64_t max_bytes) {
  absl::StatusOr<std::string> stored = ReadFileToString(path, max_bytes);
  if (!stored.ok()) return stored.status();
  const auto malformed = [&](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", what, "; fetch the file again"));
  };
  const size_t frame = ZSTD_findFrameCompressedSize(stored->data(), stored->size());
  if (ZSTD_isError(frame) || frame != stored->size()) return malformed("not one whole zstd frame");
  const unsigned long long size = ZSTD_getFrameContentSize(stored->data(), stored->size());
  if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN) {
    return malformed("a zstd frame that does not say how large its content is");
  }
  if (size > max_bytes) return malformed(absl::StrCat("decoded it has ", size, " bytes; at most ", max_bytes));
  std::string bytes(size, '\0');
  const size_t decoded = ZSTD_decompress(bytes.data(), bytes.size(), stored->data(), stored->size());
  if (ZSTD_isError(decoded) || decoded != size) {
    return absl::DataLossError(
        absl::StrCat(path, ": damaged: ", ZSTD_isError(decoded) ? ZSTD_getErrorName(decoded) : "too short",
                     "; fetch the file again"));
  }
  return std::make_unique<MemoryFile>(path, std::move(bytes));
}

absl::Status WriteZstdFile(const std::string& path, absl::string_view bytes) {
  const std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(), ZSTD_freeCCtx);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, kLevel);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 1);
  std::string stored(ZSTD_compressBound(bytes.size()), '\0');
  const size_t size = ZSTD_compress2(context.get(), stored.data(), stored.size(), bytes.data(), bytes.size());
  if (ZSTD_isError(size)) return absl::ResourceExhaustedError(absl::StrCat(path, ": ", ZSTD_getErrorName(size)));
  stored.resize(size);
  return WriteFileAtomically(path, stored);
}

}  // namespace lorikeet
