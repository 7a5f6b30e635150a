// DecodeGraphs: passes of one token, for generation on a GPU, as captured graphs.
//
//   DecodeGraphs decode(&model, &cache);
//   Tensor logits = decode.Next(token);                 // f32 [1, vocab]; the cache is a token longer
//
// One token is a few hundred kernels that have little to do: the host, which launches them one by one, is what they
// wait for. The second pass whose views of the cache have a length is captured (tensor/cuda_graph.h); later ones are
// one launch, until the length, a power of two, changes. The bits are those of the plain passes. The weights, and with
// them AdapterRun::weights_version, stay as they are while it lives. Ownership: model and cache outlive it. The logits
// are overwritten by the next call. Threads: one.
#ifndef LORIKEET_APPS_MODEL_DECODE_GRAPHS_H_
#define LORIKEET_APPS_MODEL_DECODE_GRAPHS_H_

#include <cstdint>
#include <map>
#include <memory>

#include "nn/batch.h"
#include "nn/causal_lm.h"
#include "nn/kv_cache.h"
#include "tensor/cuda_graph.h"
#include "tensor/tensor.h"

namespace lorikeet {

class DecodeGraphs {
 public:
  DecodeGraphs(CausalLm* model, KvCache* cache);  // both on the GPU

  Tensor Next(int32_t token);
  int64_t launches() const { return launches_; }

 private:
  struct Pass {
    bool seen = false;
    std::unique_ptr<CudaGraph> graph;
    Tensor logits;
  };
  Tensor Run();

  CausalLm* model_;
  KvCache* cache_;
  Batch batch_;  // what the graphs read
  std::map<int64_t, Pass> passes_;
  int64_t launches_ = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_APPS_MODEL_DECODE_GRAPHS_H_
