// GGUF's element formats: small blocks of integers that share scales. Their decoding, and for some their encoding.
//
//   const GgufFormat* q4 = FindGgufFormat("Q4_1");                  // or by id, 3: 32 weights in 20 bytes
//   DecodeGgufBlocks(*q4, bytes, /*blocks=*/18, out);               // 576 floats
//   EncodeGgufBlocks(*q4, values, /*blocks=*/18, bytes);            // and back
//
// One block; h is an IEEE half, n an unsigned integer of that many bits, all little-endian:
//
//   format  weights bytes  layout                                           value
//   Q4_0         32    18  h d, q[16]                                       (n - 8) d
//   Q4_1         32    20  h d, h m, q[16]                                  n d + m
//   Q5_0         32    22  h d, u32 high, q[16]                             (n - 16) d
//   Q5_1         32    24  h d, h m, u32 high, q[16]                        n d + m
//   Q8_0         32    34  h d, i8 q[32]                                    q d
//   Q4_K        256   144  h d, h dmin, s[12], q[128]                       (d sc) n - (dmin mn)
//   Q5_K        256   176  h d, h dmin, s[12], high[32], q[128]             (d sc) n - (dmin mn)
//   Q6_K        256   210  ql[128], qh[64], i8 sc[16], h d                  (d sc) (n - 32)
//
// In the formats of 32, weight j < 16 is the low half of q[j], weight j + 16 its high half; the fifth bit of weight j
// is bit j of `high`. The formats of 256 are described beside their code. Values are computed in f32 in exactly the
// order above, without fused multiply-add, so they are ggml's to the last bit; bf16 is that rounded to nearest even.
// Scales may be Inf or NaN; that is for the reader of the values to notice.
//
// Encoding (F32, F16, BF16, Q8_0, Q4_0, Q4_1) gives the bytes of ggml's reference, which rounds like this:
//   Q8_0   d = max|w| / 127                            q = round(w / d), halves away from zero
//   Q4_0   d = w of the largest |w|, the first / -8    n = min(15, trunc(w / d + 8.5))
//   Q4_1   m = min w, d = (max w - m) / 15             n = min(15, trunc((w - m) / d + 0.5))
// where "/ d" is a product with the f32 reciprocal of the f32 d (0 where d is 0), and d is rounded to a half
// afterwards. Values must be finite and within kMaxGgufHalf where the format keeps a half; the writer checks that.
// Source: ggml/docs/gguf.md and ggml-quants.c of https://github.com/ggml-org/ggml.
#ifndef LORIKEET_TENSOR_IO_GGUF_BLOCKS_H_
#define LORIKEET_TENSOR_IO_GGUF_BLOCKS_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "tensor/dtype.h"

namespace lorikeet {

inline constexpr float kMaxGgufHalf = 65504;

struct GgufFormat {
  uint32_t id;       // in the file
  const char* name;  // "Q4_1"
  int64_t block;     // weights in a block; a row holds whole ones
  int64_t bytes;     // of a block
  void (*decode)(const uint8_t* in, int64_t blocks, float* out) = nullptr;  // nullptr: not decoded here
  void (*encode)(const float* in, int64_t blocks, uint8_t* out) = nullptr;  // nullptr: not encoded here
};

// nullptr: unknown, or removed from the format.
const GgufFormat* FindGgufFormat(uint32_t id);
const GgufFormat* FindGgufFormat(absl::string_view name);

// `format` must have a decoder; `in` needs no alignment.
void DecodeGgufBlocks(const GgufFormat& format, const uint8_t* in, int64_t blocks, float* out);
void DecodeGgufBlocks(const GgufFormat& format, const uint8_t* in, int64_t blocks, bf16* out);

// `format` must have an encoder; `out` needs no alignment.
void EncodeGgufBlocks(const GgufFormat& format, const float* in, int64_t blocks, uint8_t* out);

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_IO_GGUF_BLOCKS_H_
