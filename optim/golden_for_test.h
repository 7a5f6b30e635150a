// Golden: the tensors of tests/golden/optim.safetensors, or of another file, by name.
//
//   const Tensor p = Golden().Read("p0.3");
#ifndef LORIKEET_OPTIM_GOLDEN_FOR_TEST_H_
#define LORIKEET_OPTIM_GOLDEN_FOR_TEST_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "tensor/check.h"
#include "tensor/io/safetensors.h"
#include "tensor/tensor.h"

namespace lorikeet {

class Golden {
 public:
  explicit Golden(const std::string& path = "tests/golden/optim.safetensors") : file_(SafetensorsFile::Open(path)) {
    LORIKEET_CHECK(file_.ok()) << file_.status();
  }
  Tensor Read(const std::string& name) const {
    absl::StatusOr<Tensor> tensor = (*file_)->Read(name);
    LORIKEET_CHECK(tensor.ok()) << tensor.status();
    return *tensor;
  }

 private:
  absl::StatusOr<std::unique_ptr<SafetensorsFile>> file_;
};

}  // namespace lorikeet

#endif  // LORIKEET_OPTIM_GOLDEN_FOR_TEST_H_
