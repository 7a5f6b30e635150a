// HostCopy: tensors' values as they are at this point of ComputeStream(), on the host later.
//
//   HostCopy loss({row_losses});          // launched; nothing waits
//   ... further kernels, which may write to the tensors ...
//   const std::vector<Tensor>& here = loss.Wait();     // until the copies are done, not what was launched after them
//
// Tensors of the CPU are cloned. Ownership: the copies are its own. Threads: one. Errors: as for any tensor.
#ifndef LORIKEET_TENSOR_HOST_COPY_H_
#define LORIKEET_TENSOR_HOST_COPY_H_

#include <memory>
#include <vector>

#include "tensor/cuda_stream.h"
#include "tensor/tensor.h"

namespace lorikeet {

class HostCopy {
 public:
  explicit HostCopy(const std::vector<Tensor>& tensors);
  ~HostCopy() { Wait(); }  // the memory may be another's then
  HostCopy(HostCopy&&) = default;
  HostCopy& operator=(HostCopy&&) = delete;

  const std::vector<Tensor>& Wait();
  // Between the moments that the device reached the two, both waited for; 0 if either is the CPU's.
  double SecondsSince(const HostCopy& earlier) const;

 private:
  std::vector<Tensor> copies_;
  std::unique_ptr<CudaEvent> done_;  // null: there is nothing to wait for
};

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_HOST_COPY_H_
