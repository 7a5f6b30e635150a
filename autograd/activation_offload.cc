#include "autograd/activation_offload.h"

#include <utility>
#include <vector>

#include "autograd/saved_value.h"
#include "autograd/tape.h"
#include "tensor/allocator.h"
#include "tensor/caching_allocator.h"
#include "tensor/cuda_memory.h"
#include "tensor/cuda_stream.h"
#include "tensor/device.h"
#include "tensor/tensor.h"
#include "tensor/tracking_allocator.h"

namespace lorikeet {
namespace {

// Apart from other host memory: a buffer goes from one value to the next while a copy may still read it, which is right
// only because every copy into it is ordered behind that one.
Allocator& PinnedBuffers() {
  static PinnedAllocator* const pinned = new PinnedAllocator;
  static CachingAllocator* const cache = new CachingAllocator(pinned);
  static TrackingAllocator* const memory = new TrackingAllocator(cache, "activations in pinned memory");
  return *memory;
}

}  // namespace

struct ActivationOffload::Value {
  ~Value() { LetGo(); }
  // The device's memory may be another's from here on: whatever kernels come next start after the copy.
  void LetGo() {
    if (!device.defined()) return;
    ComputeStream().Wait(copied);
    device = Tensor();
  }

  Tensor host, device;  // device: undefined while the value is in host memory only
  CudaEvent copied;     // the last copy, in whichever direction
};

struct ActivationOffload::State {
  void Leave(const std::shared_ptr<Value>& value) {
    if (std::shared_ptr<Value> before = Newest()) before->LetGo();
    out.Wait(CudaEvent::Of(ComputeStream()));
    out.Copy(value->host.raw(), value->device.raw(), static_cast<size_t>(value->device.nbytes()));
    value->copied.Record(out);
    values.push_back(value);
  }

  void Fetch(Value& value) {
    if (value.device.defined()) return;
    value.device = Tensor::Empty(value.host.shape(), value.host.dtype(), Cuda(0));
    in.Wait(value.copied);
    in.Wait(CudaEvent::Of(ComputeStream()));  // the memory may have been another tensor's
    in.Copy(value.device.raw(), value.host.raw(), static_cast<size_t>(value.host.nbytes()));
    value.copied.Record(in);
  }

  // The value on the device, for kernels given from here on; and the one that will be asked for next, on its way.
  Tensor Take(Value& value) {
    Fetch(value);
    ComputeStream().Wait(value.copied);
    Tensor t = std::exchange(value.device, Tensor());
    value.host = Tensor();
    if (!values.empty() && values.back().lock().get() == &value) values.pop_back();
    if (std::shared_ptr<Value> next = Newest()) Fetch(*next);
    return t;
  }

  // The newest value that some record still saves.
  std::shared_ptr<Value> Newest() {
    while (!values.empty()) {
      std::shared_ptr<Value> value = values.back().lock();
      if (value != nullptr && value->host.defined()) return value;
      values.pop_back();
    }
    return nullptr;
  }

  CudaStream out, in;
  std::vector<std::weak_ptr<Value>> values;  // oldest first
};

Variable ActivationOffload::operator()(Variable v) {
  if (v.value().device().is_cpu() || Tape::Current() == nullptr) return v;
  if (state_ == nullptr) state_ = std::make_shared<State>();
  auto value = std::make_shared<Value>();
  value->device = v.value().Contiguous();
  value->host = Tensor::Empty(v.shape(), v.dtype(), PinnedBuffers());
  state_->Leave(value);
  v.set_recipe(std::make_shared<Recipe>([state = state_, value] { return state->Take(*value); }));
  return v;
}

}  // namespace lorikeet
