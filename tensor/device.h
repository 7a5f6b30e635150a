// Where a tensor lives: the host, or one CUDA device.
//
//   Device d = kCpu;  d.is_cpu();  ToString(Cuda(0)) == "cuda:0"
#ifndef LORIKEET_TENSOR_DEVICE_H_
#define LORIKEET_TENSOR_DEVICE_H_

#include <cstdint>
#include <string>

namespace lorikeet {

enum class DeviceType : uint8_t { kCpu, kCuda };

struct Device {
  DeviceType type = DeviceType::kCpu;
  int index = 0;

  bool is_cpu() const { return type == DeviceType::kCpu; }
  bool is_cuda() const { return type == DeviceType::kCuda; }
  friend bool operator==(const Device&, const Device&) = default;
};

inline constexpr Device kCpu{};
constexpr Device Cuda(int index) { return {DeviceType::kCuda, index}; }

inline std::string ToString(Device d) { return d.is_cpu() ? "cpu" : "cuda:" + std::to_string(d.index); }

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_DEVICE_H_
