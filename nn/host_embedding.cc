#include "nn/host_embedding.h"

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nn/dense_map.h"
#include "nn/linear_map.h"
#include "tensor/cuda_memory.h"
#include "tensor/io/tensor_source.h"
#include "tensor/ops/copy.h"
#include "tensor/tensor.h"
#include "tensor/tracking_allocator.h"

namespace lorikeet {
namespace {

TrackingAllocator& MappedMemory() {
  static MappedAllocator* const mapped = new MappedAllocator;
  static TrackingAllocator* const memory = new TrackingAllocator(mapped, "embeddings in pinned memory");
  return *memory;
}

}  // namespace

MapFactory EmbeddingsInHostMemory(MapFactory factory) {
  return [factory = std::move(factory)](absl::string_view name, const MapSlot& slot,
                                        const TensorSource& source) -> absl::StatusOr<std::unique_ptr<LinearMap>> {
    absl::StatusOr<std::unique_ptr<LinearMap>> map = factory(name, slot, source);
    if (!map.ok() || !slot.embedding || !(*map)->frozen() || (*map)->device().is_cpu()) return map;
    const Tensor w = (*map)->Dense();
    Tensor there = Tensor::Empty(w.shape(), w.dtype(), MappedMemory());
    tensor::CopyInto(w, there);
    return std::make_unique<DenseMap>(there);
  };
}

}  // namespace lorikeet
