// Embeddings in host memory: a GPU reads the rows that it needs over the bus, and has the matrix's room for other
// things: of Llama-3-8B 1.05 GB.
//
//   MapFactory factory = EmbeddingsInHostMemory(Nf4Factory(DType::kBF16));   // of a model whose head is not tied
//   absl::Status s = LoadWeights(*model, source, factory, false, nullptr);
//
// Every other slot's map is as the factory makes it; and so is the embedding's if that is not frozen, or on the CPU.
// 8192 tokens of 4096 numbers in bf16 are 67 MB, some 3 ms over 16 lanes of PCIe 4. A head tied to the embedding would
// read all of it for every product: such a model's embedding belongs on the device. Source: CUDA C++ Programming Guide,
// "Mapped memory".
#ifndef LORIKEET_NN_HOST_EMBEDDING_H_
#define LORIKEET_NN_HOST_EMBEDDING_H_

#include "nn/load.h"

namespace lorikeet {

MapFactory EmbeddingsInHostMemory(MapFactory factory);

}  // namespace lorikeet

#endif  // LORIKEET_NN_HOST_EMBEDDING_H_
