#include "apps/model/nf4_factory.h"

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "nn/linear_map.h"
#include "quant/nf4_map.h"
#include "tensor/io/tensor_source.h"
#include "tensor/tensor.h"

namespace lorikeet {

MapFactory Nf4Factory(DType dtype, const Nf4Options& options) {
  return [options, dense = DenseFactory(dtype, /*trainable=*/false)](
             absl::string_view name, const MapSlot& slot,
             const TensorSource& source) -> absl::StatusOr<std::unique_ptr<LinearMap>> {
    if (slot.embedding || name == "lm_head") return dense(name, slot, source);
    const absl::StatusOr<Tensor> w = ReadWeight(source, name, slot);
    if (!w.ok()) return w.status();
    absl::StatusOr<Nf4Tensor> q = QuantizeNf4(*w, options);
    if (q.ok()) return std::make_unique<Nf4Map>(*std::move(q));
    return absl::Status(q.status().code(), absl::StrCat(source.where(), ": ", name, ".weight: ", q.status().message()));
  };
}

}  // namespace lorikeet
