// Nf4Factory: loads a model with its linear layers in 4 bits, quantizing each as it is read.
//
//   absl::Status s = LoadWeights(*model, source, Nf4Factory(DType::kBF16), /*trainable=*/false, nullptr);
//
// Embeddings and the head stay dense, frozen, in `dtype`, as in QLoRA and bitsandbytes: what every token goes through
// once is not where the memory is. A tensor is quantized where it is read to, on the host or on a device, so a dense
// copy of the model never exists. Errors: a weight that is missing, of another shape or not finite, with the source and
// the tensor's name.
#ifndef LORIKEET_APPS_MODEL_NF4_FACTORY_H_
#define LORIKEET_APPS_MODEL_NF4_FACTORY_H_

#include "nn/load.h"
#include "quant/nf4.h"
#include "tensor/dtype.h"

namespace lorikeet {

MapFactory Nf4Factory(DType dtype, const Nf4Options& options = {});

}  // namespace lorikeet

#endif  // LORIKEET_APPS_MODEL_NF4_FACTORY_H_
