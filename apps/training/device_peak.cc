#include "apps/training/device_peak.h"

#include <cstdint>

#include "tensor/cuda_stream.h"
#include "tensor/kernels/parallel.h"
#include "tensor/kernels/peak.h"
#include "tensor/ops/matmul.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

constexpr int64_t kSize = 4096;
constexpr int kProducts = 5;

double ProductRate(Device device, DType dtype) {
  const Tensor x = Tensor::Full({kSize, kSize}, 0.5, dtype, device);
  Tensor y = Tensor::Empty({kSize, kSize}, dtype, device);
  tensor::MatMulInto(y, x, false, x, true, 1, 0);  // the first one sets the library up
  const CudaEvent begin = CudaEvent::Of(ComputeStream());
  for (int i = 0; i < kProducts; ++i) tensor::MatMulInto(y, x, false, x, true, 1, 0);
  const CudaEvent end = CudaEvent::Of(ComputeStream());
  end.Synchronize();
  return kProducts * 2.0 * kSize * kSize * kSize / (1e-3 * end.MillisecondsSince(begin));
}

}  // namespace

double DevicePeakFlops(Device device, DType dtype) {
  return device.is_cpu() ? MeasurePeakFlops(dtype, NumThreads()) : ProductRate(device, dtype);
}

}  // namespace lorikeet
