// Batch: sequences laid end to end, without padding.
//
//   tokens      i32 [total]            7 8 9 | 4 5
//   positions   i32 [total]            0 1 2 | 0 1
//   cu_seqlens  i32 [sequences + 1]    0 3 5
//
// Packing, ragged batches, a prompt and one cached decoding step are all this one form; sequences never attend to each
// other. All three are on the model's device.
#ifndef LORIKEET_NN_BATCH_H_
#define LORIKEET_NN_BATCH_H_

#include "tensor/tensor.h"

namespace lorikeet {

struct Batch {
  Tensor tokens;
  Tensor positions;
  Tensor cu_seqlens;
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_BATCH_H_
