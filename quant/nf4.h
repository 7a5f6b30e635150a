// Weights in 4 bits: NF4 (or FP4) with double quantization, the storage of QLoRA.
//
//   absl::StatusOr<Nf4Tensor> q = QuantizeNf4(w);                // w: f32, bf16 or f16, any shape
//   Tensor back = Dequantize(*q, DType::kBF16);                  // the shape of w
//   q->nbytes() == 4.127 bits a weight
//
// The rule. Blocks of `block` consecutive elements of the flattened row-major weight share a scale a = max|w|. With
// inv = 1 / a (IEEE), element t = w * inv in float32 gets the nearest of 16 codes, ties to the lower one. Decoded it is
// round_to_dtype(code_map[code] * a). Double quantization stores the scales themselves in 8 bits: their mean is
// subtracted and the differences go through quant/blockwise8.h in blocks of `scale_block`.
// These are the bits of bitsandbytes, but for what its CUDA kernel's approximate reciprocal may move across a
// threshold.
//
// Edges: a block of zeros gets the code of zero and scale 0, and decodes to zero (bitsandbytes on CUDA stores code 0).
// Scales below 1e-38 divide as 1e-38. An odd number of elements is padded with a zero. A weight that is not finite is
// an error that names its position, where bitsandbytes damages the whole block silently.
// Devices: everything stays on the weight's device, with the same bits everywhere (nf4_kernels.h). Quantizing there
// brings the scales to the host, 1/32 of a bf16 weight or less, to look at them and to form their mean in order.
// Threads: both directions run on the pool of tensor/kernels/parallel.h; the bits do not depend on the number of
// threads. Source: Dettmers et al., "QLoRA: Efficient Finetuning of Quantized LLMs" (NeurIPS 2023); bitsandbytes 0.50.
#ifndef LORIKEET_QUANT_NF4_H_
#define LORIKEET_QUANT_NF4_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "quant/nf4_decode.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {

struct Nf4Options {
  Nf4Kind kind = Nf4Kind::kNf4;
  int block = 64;         // 32, 64, ... 4096
  int scale_block = 256;  // scales that share a scale of their own; a power of two from 32 to 4096
  bool double_quant = true;
  friend bool operator==(const Nf4Options&, const Nf4Options&) = default;
};

struct Nf4Tensor {
  Shape shape;                 // of the weight
  DType dtype = DType::kBF16;  // of the weight before it was quantized
  Nf4Kind kind = Nf4Kind::kNf4;
  int block = 64;
  int scale_block = 256;
  Tensor codes;                // u8 [(n+1)/2, 1]: element 2j in the high half of byte j, 2j+1 in the low half
  Tensor scales;               // f32 [blocks], or u8 [blocks] when double-quantized
  Tensor scale_scales;         // f32 [ceil(blocks/scale_block)] when double-quantized, else undefined
  Tensor code_map;             // f32 [16]
  Tensor scale_map;            // f32 [256] when double-quantized, else undefined
  float scale_mean = 0;        // added to a decoded scale
  DType storage = DType::kU8;  // what a file calls the bytes of `codes` (bitsandbytes' quant_storage)

  bool double_quantized() const { return scale_map.defined(); }
  int64_t size() const { return shape.size(); }  // weights
  int64_t num_blocks() const { return (size() + block - 1) / block; }
  int64_t nbytes() const;  // held: codes, scales and maps
  Device device() const { return codes.device(); }
  Nf4Tensor To(Device device) const;  // may copy, or share memory
  Nf4View view() const;               // valid while this tensor lives
};

// Invalid argument: an option out of range, or a weight that is not finite ("bf16[8,4] is nan at [2,1]").
absl::StatusOr<Nf4Tensor> QuantizeNf4(const Tensor& w, const Nf4Options& options = {});

// A dense copy of the weight's shape, in any float dtype.
Tensor Dequantize(const Nf4Tensor& q, DType dtype);

// The absmax of every block as float32 [blocks], double quantization undone.
Tensor DequantizeScales(const Nf4Tensor& q);

// Rows of a matrix by index, decoded: [ids.size(), columns]. ids: i32, on q's device; one out of range ends the
// process.
Tensor GatherRows(const Nf4Tensor& q, const Tensor& ids, DType dtype);

// Whether the options are within the ranges above; QuantizeNf4 asks this first.
absl::Status Validate(const Nf4Options& options);

// "nf4" or "fp4", and back; InvalidArgument for anything else.
const char* Name(Nf4Kind kind);
absl::StatusOr<Nf4Kind> ParseNf4Kind(absl::string_view name);

}  // namespace lorikeet

#endif  // LORIKEET_QUANT_NF4_H_
