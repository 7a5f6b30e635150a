#include "optim/page_codec.h"

#include <algorithm>

#include "optim/xxh64.h"
#include "tensor/check.h"

namespace lorikeet {
namespace {

constexpr int kLevel = 1;
constexpr size_t kSample = 16 * 1024;

size_t RoundUp(size_t n) { return (n + 63) / 64 * 64; }

size_t CompressorBytes(size_t page_bytes) {
  // A sample has other parameters than a page: room for the larger.
  size_t bytes = 0;
  for (const size_t size : {page_bytes, std::min(page_bytes, kSample)}) {
    bytes = std::max(bytes, ZSTD_estimateCCtxSize_usingCParams(ZSTD_getCParams(kLevel, size, 0)));
  }
  return RoundUp(bytes);
}

}  // namespace

size_t PageCodec::WorkspaceBytes(size_t page_bytes) {
  return RoundUp(Limit(page_bytes)) + CompressorBytes(page_bytes) + RoundUp(ZSTD_estimateDCtxSize());
}

PageCodec::PageCodec(size_t page_bytes, char* workspace) : buffer_(workspace) {
  char* const compressor = buffer_ + RoundUp(Limit(page_bytes));
  char* const decompressor = compressor + CompressorBytes(page_bytes);
  compressor_ = ZSTD_initStaticCCtx(compressor, CompressorBytes(page_bytes));
  decompressor_ = ZSTD_initStaticDCtx(decompressor, RoundUp(ZSTD_estimateDCtxSize()));
  LORIKEET_CHECK(compressor_ != nullptr && decompressor_ != nullptr) << "PageCodec: workspace for " << page_bytes;
}

size_t PageCodec::Compress(absl::Span<const char> bytes) {
  // Output that does not fit is an error of zstd's, and here the answer.
  const size_t n = ZSTD_compressCCtx(compressor_, buffer_, Limit(bytes.size()), bytes.data(), bytes.size(), kLevel);
  return ZSTD_isError(n) ? 0 : n;
}

bool PageCodec::LooksCompressible(absl::Span<const char> page) {
  if (page.size() <= 4 * kSample) return true;
  const size_t quarter = page.size() / 4;  // one sample of m, one of v
  return Compress(page.subspan(quarter, kSample)) > 0 || Compress(page.subspan(3 * quarter, kSample)) > 0;
}

PageCodec::Stored PageCodec::Encode(absl::Span<const char> page) {
  const size_t n = LooksCompressible(page) ? Compress(page) : 0;
  const absl::Span<const char> bytes = n > 0 ? absl::Span<const char>(buffer_, n) : page;
  return {bytes, n > 0, Checksum(bytes)};
}

bool PageCodec::Decode(absl::Span<const char> compressed, absl::Span<char> page) {
  return ZSTD_decompressDCtx(decompressor_, page.data(), page.size(), compressed.data(), compressed.size()) ==
         page.size();
}

uint64_t PageCodec::Checksum(absl::Span<const char> bytes, uint64_t seed) {
  for (; !bytes.empty(); bytes.remove_prefix(std::min(kChecksumChunk, bytes.size()))) {
    seed = Xxh64(bytes.subspan(0, kChecksumChunk), seed);
  }
  return seed;
}

}  // namespace lorikeet
