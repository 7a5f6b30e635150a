#include "optim/update_gate.h"

#include <cmath>
#include <cstdint>
#include <limits>

#include "optim/clip_factor.h"
#include "optim/update_gate_kernels.h"
#include "tensor/kernels/launch.h"
#include "tensor/ops/kernel_or_die.h"

namespace lorikeet {
namespace {

void Decide(View sums, int64_t gradients, double max_norm, View gate, LaunchContext) {
  const double* const each = sums.ptr<const double>();
  double* const out = gate.ptr<double>();
  double sum = 0;
  bool open = out[1] != 0;
  for (int64_t i = 0; i < sums.size(); ++i) {
    if (i < gradients) sum += each[i];
    open = open && std::isfinite(each[i]);
  }
  out[0] = open ? ClipFactor(std::sqrt(sum), max_norm) : std::numeric_limits<double>::quiet_NaN();
  out[1] = open ? 1 : 0;
}

}  // namespace

const UpdateGateKernels kCpuUpdateGate = {.decide = Decide};

UpdateGate::UpdateGate(double max_norm, Device device) : max_norm_(max_norm), device_(device) { Open(); }

void UpdateGate::Open() { state_ = Tensor::From<double>({1, 1}, {2}, device_); }

void UpdateGate::Look(const GradNorm& norm) {
  const UpdateGateKernels& kernels = device_.is_cpu() ? kCpuUpdateGate : kCudaUpdateGate;
  const Tensor sums = norm.sums().To(device_);
  tensor::KernelOrDie(kernels.decide, "UpdateGate", sums)(sums.view(), norm.gradients(), max_norm_, state_.view(), {});
}

}  // namespace lorikeet
