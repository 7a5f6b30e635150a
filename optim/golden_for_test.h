// Golden: the tensors of tests/golden/optim.safetensors, by name.
//
//   const Tensor p = Golden().Read("p0.3");
//
// The format: u64 length of a JSON header, the header {"name": {"dtype", "shape", "data_offsets"}}, the bytes.
#ifndef LORIKEET_OPTIM_GOLDEN_FOR_TEST_H_
#define LORIKEET_OPTIM_GOLDEN_FOR_TEST_H_

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "nlohmann/json.hpp"
#include "tensor/check.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {

class Golden {
 public:
  Golden() {
    std::ifstream file("tests/golden/optim.safetensors", std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
    LORIKEET_CHECK(bytes_.size() > 8) << "tests/golden/optim.safetensors cannot be read";
    std::memcpy(&header_bytes_, bytes_.data(), 8);
    header_ = nlohmann::json::parse(bytes_.substr(8, header_bytes_));
  }

  Tensor Read(const std::string& name) const {
    const nlohmann::json& entry = header_.at(name);
    Shape shape;
    for (int64_t d : entry.at("shape")) shape.push_back(d);
    const Tensor t = Tensor::Empty(shape, entry.at("dtype") == "F64" ? DType::kF64 : DType::kF32);
    const uint64_t begin = entry.at("data_offsets").at(0);
    std::memcpy(t.raw(), bytes_.data() + 8 + header_bytes_ + begin, static_cast<size_t>(t.nbytes()));
    return t;
  }

 private:
  std::string bytes_;
  uint64_t header_bytes_ = 0;
  nlohmann::json header_;
};

}  // namespace lorikeet

#endif  // LORIKEET_OPTIM_GOLDEN_FOR_TEST_H_
