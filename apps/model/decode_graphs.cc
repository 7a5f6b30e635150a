#include "apps/model/decode_graphs.h"

#include <utility>

#include "tensor/check.h"
#include "tensor/device.h"
#include "tensor/ops/copy.h"

namespace lorikeet {

DecodeGraphs::DecodeGraphs(CausalLm* model, KvCache* cache)
    : model_(model), cache_(cache), batch_(OneSequence({0}, 0, model->device())) {
  LORIKEET_CHECK(model->device().is_cuda()) << "DecodeGraphs: the model is on " << ToString(model->device());
}

Tensor DecodeGraphs::Run() { return model_->Logits(model_->Hidden(batch_, cache_).value()); }

Tensor DecodeGraphs::Next(int32_t token) {
  const Batch next = OneSequence({token}, cache_->length(), model_->device());
  tensor::CopyInto(next.tokens, batch_.tokens);
  tensor::CopyInto(next.positions, batch_.positions);
  cache_->CuSeqlens(1);  // written now: a graph only reads it
  Pass& pass = passes_[cache_->Rows(1)];
  if (!std::exchange(pass.seen, true)) return Run();
  if (pass.graph == nullptr || !pass.graph->valid()) {
    pass.graph = std::make_unique<CudaGraph>();
    const int64_t length = cache_->length();
    if (!pass.graph->Capture([&] { pass.logits = Run(); })) {
      cache_->Truncate(length);
      return Run();
    }
  } else {
    cache_->Advance(1);
  }
  pass.graph->Launch();
  ++launches_;
  return pass.logits;
}

}  // namespace lorikeet
