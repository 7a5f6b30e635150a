// Merging: the model with its adapters worked into the weights, ordinary matrices again.
//
//   Merge(*model);                                      // in memory: every adapted map becomes a dense one
//
//   MergedSource merged(*model, DType::kBF16);          // or tensor by tensor, as a file of the merged model would be
//   for (const TensorInfo& info : merged.tensors()) Write(info, *merged.Read(info.name));
//
// W' = W + s*B*A for LoRA, (m/n) * (W + s*B*A) row by row for DoRA, summed in f32 and rounded once. Over a 4-bit base W
// is what the codes decode to; W' stays in 16 or 32 bits, since coding it anew would throw away most of what was
// learned. With f32 weights the merged model computes what the adapted one did, up to rounding; in 16 bits what the
// rounding costs is for the caller to measure.
// Threads: one at a time; the model must outlive a MergedSource and stay as it is.
#ifndef LORIKEET_PEFT_MERGE_H_
#define LORIKEET_PEFT_MERGE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "autograd/parameter.h"
#include "nn/linear_map.h"
#include "nn/module.h"
#include "tensor/io/tensor_source.h"
#include "tensor/tensor.h"

namespace lorikeet {

// Replaces every adapted map, and every one with rows that train, by a frozen dense one in the base's dtype. Returns
// how many adapters there were.
int Merge(Module& model);

// Whether a map has an adapter, or rows that train: its merged weight is then another than its base's.
bool IsAdapted(const LinearMap& map);

// The weight of a map, adapted or not, [out, in] in `dtype`, rounded once.
Tensor MergedWeight(const LinearMap& map, DType dtype);

// A model's parameters under their checkpoint names, merged and rounded to `dtype` one at a time as they are read:
// beside the model, never more than one dense weight exists.
class MergedSource : public TensorSource {
 public:
  MergedSource(Module& model, DType dtype);

  const std::vector<TensorInfo>& tensors() const override { return infos_; }
  const TensorInfo* Find(absl::string_view name) const override;
  absl::StatusOr<Tensor> Read(absl::string_view name) const override;
  const std::string& where() const override { return where_; }

 private:
  // One of the two is set.
  struct Origin {
    const MapSlot* slot = nullptr;
    const Parameter* parameter = nullptr;
  };
  class Collect;

  DType dtype_;
  std::vector<TensorInfo> infos_;
  std::vector<Origin> origins_;
  std::string where_ = "the merged model";
};

}  // namespace lorikeet

#endif  // LORIKEET_PEFT_MERGE_H_
