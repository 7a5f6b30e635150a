// Numbers in 8 bits: blocks share one float32 scale, and each number is the nearest of 256 values (quant/code_maps.h).
//
//   std::vector<uint8_t> codes(n);  std::vector<float> scales(NumBlocks(n, 256));
//   EncodeBlocks8(x, /*block=*/256, Map8::kSigned, absl::MakeSpan(codes), absl::MakeSpan(scales));
//   DecodeBlocks8(codes, scales, 256, SignedDynamicMap(), absl::MakeSpan(y));       // y ~ x
//
// scale = max|x| of the block, code = nearest map entry to x / scale (an IEEE division), ties to the lower entry;
// decoded, it is map[code] * scale in float32. An exact zero comes back as zero. Errors for normally distributed x:
// about 1% of an element on average. The signed map ends at -0.993: an extreme negative element shrinks by 0.7%.
//
// Edges: a block of zeros has scale 0 and codes 0. A block that holds an infinity or a NaN gets the scale NaN, so that
// it decodes to NaN throughout: damage stays visible. kUnsigned turns negative numbers into zero. The last block may be
// short. Threads: runs on the pool of tensor/kernels/parallel.h; the bits do not depend on the number of threads.
// Source: Dettmers et al., "8-bit Optimizers via Block-wise Quantization" (ICLR 2022).
#ifndef LORIKEET_QUANT_BLOCKWISE8_H_
#define LORIKEET_QUANT_BLOCKWISE8_H_

#include <cstdint>

#include "absl/types/span.h"

namespace lorikeet {

enum class Map8 : uint8_t { kSigned, kUnsigned };

constexpr int64_t NumBlocks(int64_t n, int64_t block) { return (n + block - 1) / block; }

// codes: as many as x. scales: NumBlocks(x.size(), block).
void EncodeBlocks8(absl::Span<const float> x, int block, Map8 map, absl::Span<uint8_t> codes, absl::Span<float> scales);

// One block at a time, on the calling thread, for loops of one's own. The same bits.
void EncodeBlock8(const float* x, int64_t n, Map8 map, uint8_t* codes, float* scale);
void DecodeBlock8(const uint8_t* codes, int64_t n, float scale, const float* map, float* x);

// map: 256 values, those the codes were made with; a file brings its own.
void DecodeBlocks8(absl::Span<const uint8_t> codes, absl::Span<const float> scales, int block,
                   absl::Span<const float> map, absl::Span<float> x);

}  // namespace lorikeet

#endif  // LORIKEET_QUANT_BLOCKWISE8_H_
