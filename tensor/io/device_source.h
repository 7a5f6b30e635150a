// DeviceSource: a source whose tensors arrive on a device, one at a time: a model is loaded without a copy in host
// memory.
//
//   const DeviceSource there(source, Cuda(0));
//   absl::Status s = LoadWeights(*model, there, factory, /*trainable=*/false, &report);
//
// The source must outlive it. Threads and errors are those of the source.
#ifndef LORIKEET_TENSOR_IO_DEVICE_SOURCE_H_
#define LORIKEET_TENSOR_IO_DEVICE_SOURCE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tensor/device.h"
#include "tensor/io/tensor_source.h"
#include "tensor/tensor.h"

namespace lorikeet {

class DeviceSource : public TensorSource {
 public:
  DeviceSource(const TensorSource& source, Device device) : source_(source), device_(device) {}

  const std::vector<TensorInfo>& tensors() const override { return source_.tensors(); }
  const TensorInfo* Find(absl::string_view name) const override { return source_.Find(name); }
  absl::StatusOr<Tensor> Read(absl::string_view name) const override {
    absl::StatusOr<Tensor> t = source_.Read(name);
    return t.ok() ? t->To(device_) : t;
  }
  const std::string& where() const override { return source_.where(); }

 private:
  const TensorSource& source_;
  const Device device_;
};

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_IO_DEVICE_SOURCE_H_
