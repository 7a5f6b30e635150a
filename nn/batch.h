// Batch: sequences laid end to end, without padding.
//
//   tokens      i32 [total]            7 8 9 | 4 5
//   positions   i32 [total]            0 1 2 | 0 1
//   cu_seqlens  i32 [sequences + 1]    0 3 5
//
// Packing, ragged batches, a prompt and one cached decoding step are all this one form; sequences never attend to each
// other. All three are on the model's device:
//
//   Batch b = BatchOf(tokens, positions, cu_seqlens, model.device());
//   Batch next = OneSequence({token}, /*first_position=*/cache.length(), model.device());
#ifndef LORIKEET_NN_BATCH_H_
#define LORIKEET_NN_BATCH_H_

#include <cstdint>
#include <numeric>
#include <vector>

#include "absl/types/span.h"
#include "tensor/device.h"
#include "tensor/tensor.h"

namespace lorikeet {

struct Batch {
  Tensor tokens;
  Tensor positions;
  Tensor cu_seqlens;
};

inline Batch BatchOf(absl::Span<const int32_t> tokens, absl::Span<const int32_t> positions,
                     absl::Span<const int32_t> cu_seqlens, Device device) {
  const auto there = [device](absl::Span<const int32_t> v) {
    return Tensor::From<int32_t>(v, {static_cast<int64_t>(v.size())}, device);
  };
  return {there(tokens), there(positions), there(cu_seqlens)};
}

inline Batch OneSequence(absl::Span<const int32_t> tokens, int64_t first_position, Device device) {
  std::vector<int32_t> positions(tokens.size());
  std::iota(positions.begin(), positions.end(), static_cast<int32_t>(first_position));
  return BatchOf(tokens, positions, {0, static_cast<int32_t>(tokens.size())}, device);
}

}  // namespace lorikeet

#endif  // LORIKEET_NN_BATCH_H_
