// StoredSource: a model's tensors by checkpoint name, packed weights in their packed form.
//
//   StoredSource source(*model, DType::kBF16);          // model.layers.0.mlp.up_proj.weight.absmax, ...
//   absl::Status status = SaveModel(dir, config, tokenizer_files, source, {.quantization_config = ...});
//   StoredSource again(*model, model_files.weights());  // as those files have it, byte for byte
//
// Parameters are rounded as they are read, to `dtype` or to what the original file has; what is packed, codes and
// scales, is handed out as it is. What an adapter would become in a dense weight is peft/merge.h's business. The model
// must outlive the source, and its structure must not change.
#ifndef LORIKEET_APPS_MODEL_STORED_SOURCE_H_
#define LORIKEET_APPS_MODEL_STORED_SOURCE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nn/module.h"
#include "tensor/dtype.h"
#include "tensor/io/tensor_index.h"
#include "tensor/io/tensor_source.h"
#include "tensor/tensor.h"

namespace lorikeet {

class StoredSource : public TensorSource {
 public:
  StoredSource(Module& model, DType dtype);
  // Dtypes and shards are those of `original`, safetensors from which the model was loaded; it need not outlive this. A
  // model in f32 holds every parameter exactly.
  StoredSource(Module& model, const TensorSource& original);

  const std::vector<TensorInfo>& tensors() const override { return index_.tensors(); }
  const TensorInfo* Find(absl::string_view name) const override { return index_.Find(name); }
  absl::StatusOr<Tensor> Read(absl::string_view name) const override;
  const std::string& where() const override { return where_; }

 private:
  class Collect;
  struct Value {
    Tensor tensor;
    DType dtype;  // to read it in
  };
  TensorIndex index_;
  std::vector<Value> values_;  // beside index_.tensors()
  std::string where_ = "the model in memory";
};

}  // namespace lorikeet

#endif  // LORIKEET_APPS_MODEL_STORED_SOURCE_H_
