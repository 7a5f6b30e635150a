// 4-bit weights in files, as transformers and bitsandbytes store them.
//
//   for (auto& [name, tensor] : Nf4ToCheckpoint("model.layers.0.mlp.up_proj.weight", q)) ...          // write
//   absl::StatusOr<Nf4Tensor> q = Nf4FromCheckpoint("model.layers.0.mlp.up_proj.weight", names, read); // read
//
// A weight W = "P.weight" of n elements in `blocks` blocks is these tensors:
//
//   key                                     dtype                     shape                    when
//   W                                       u8, or the same bytes     [(n+1)/2, 1] of u8       always
//                                           under a float's name
//   W.absmax                                u8 if double-quantized,   [blocks]                 always
//                                           else f32
//   W.quant_map                             f32                       [16]                     always
//   W.nested_absmax                         f32                       [ceil(blocks/nested)]    double-quantized
//   W.nested_quant_map                      f32                       [256]                    double-quantized
//   W.quant_state.bitsandbytes__nf4, __fp4  u8, JSON text             [length]                 always
//
//   {"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [4096, 4096],
//    "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.041234567761421204}
//
// Written in one line, in this order, as Python's json prints it; read in any order. Reading takes the maps from the
// file; writing emits the tensor's own, which are the canonical ones for a weight of QuantizeNf4. What bitsandbytes
// wrote is therefore written again byte for byte.
//
// Errors: files are not to be trusted. A key that is missing, unknown or there twice, and a dtype, shape, number or
// JSON that does not fit is an error that names the tensor.
// Source: bitsandbytes 0.50 (QuantState), Hugging Face transformers.
#ifndef LORIKEET_QUANT_BNB_CHECKPOINT_H_
#define LORIKEET_QUANT_BNB_CHECKPOINT_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "quant/nf4.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace lorikeet {

// The tensors of one weight, in the table's order. They share memory with q, but for codes that are not stored as u8.
std::vector<std::pair<std::string, Tensor>> Nf4ToCheckpoint(absl::string_view weight, const Nf4Tensor& q);

// `names`: every name of the file (only those that begin with `weight` matter); `read` gets one tensor by its name.
absl::StatusOr<Nf4Tensor> Nf4FromCheckpoint(absl::string_view weight, absl::Span<const std::string> names,
                                            absl::FunctionRef<absl::StatusOr<Tensor>(absl::string_view)> read);

// The weight that a key of the table belongs to, other than the weight's own name: "P.weight" of "P.weight.absmax" and
// of "P.weight.quant_state.bitsandbytes__nf4". Empty for any other name. A weight is a 4-bit one if and only if
// some name of the file is its quant_state.
absl::string_view Nf4WeightOfKey(absl::string_view name);
bool IsNf4QuantState(absl::string_view name);

// The JSON object for "quantization_config" in config.json, by which transformers recognises such a checkpoint.
std::string Nf4QuantizationConfig(const Nf4Options& options, DType compute_dtype);

}  // namespace lorikeet

#endif  // LORIKEET_QUANT_BNB_CHECKPOINT_H_
