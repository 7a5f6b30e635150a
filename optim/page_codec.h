// PageCodec: how a page of optimizer state is stored: compressed where that pays, with a checksum.
//
//   PageCodec codec(page_bytes, workspace);                  // workspace: PageCodec::WorkspaceBytes(page_bytes) bytes
//   PageCodec::Stored s = codec.Encode(page);                // s.bytes: the page itself, or in the workspace
//   codec.Checksum(s.bytes) == s.checksum;
//   absl::Status ok = codec.Decode(s.bytes, page);           // after it was read to codec.buffer()
//
// zstd, level 1. A page that this shrinks by less than a fifth is stored as it is: reading it back is then a plain
// read. Moments of trained parameters mostly are such pages, so a sample is tried first. All memory is the workspace's.
// Threads: one at a time, but for Checksum.
#ifndef LORIKEET_OPTIM_PAGE_CODEC_H_
#define LORIKEET_OPTIM_PAGE_CODEC_H_

#define ZSTD_STATIC_LINKING_ONLY  // contexts in memory that the caller counts
#include <zstd.h>

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"

namespace lorikeet {

class PageCodec {
 public:
  // A checksum runs over chunks of this size, each seeded with the one before, so that it needs no whole page.
  static constexpr size_t kChecksumChunk = 64 * 1024;

  struct Stored {
    absl::Span<const char> bytes;
    bool compressed = false;
    uint64_t checksum = 0;
  };

  static size_t WorkspaceBytes(size_t page_bytes);
  // `workspace` is aligned to 8 bytes and outlives the codec.
  PageCodec(size_t page_bytes, char* workspace);

  // `bytes` is valid until the page or the codec is used again.
  Stored Encode(absl::Span<const char> page);
  // False if `compressed` is not a frame of exactly page.size() bytes.
  bool Decode(absl::Span<const char> compressed, absl::Span<char> page);
  // Room for the bytes of a compressed page.
  char* buffer() const { return buffer_; }

  static uint64_t Checksum(absl::Span<const char> bytes, uint64_t seed = 0);

 private:
  // At most this many bytes, or a page is stored as it is.
  static size_t Limit(size_t bytes) { return bytes / 5 * 4; }
  // Bytes written to the buffer; 0 if they would be more than Limit(bytes.size()).
  size_t Compress(absl::Span<const char> bytes);
  bool LooksCompressible(absl::Span<const char> page);

  char* buffer_;
  ZSTD_CCtx* compressor_;
  ZSTD_DCtx* decompressor_;
};

}  // namespace lorikeet

#endif  // LORIKEET_OPTIM_PAGE_CODEC_H_
