#include "tensor/ops/rope.h"

#include <cmath>
#include <numbers>
#include <vector>

#include "absl/types/span.h"
#include "tensor/check.h"
#include "tensor/device.h"
#include "tensor/kernels/rope.h"
#include "tensor/ops/kernel_or_die.h"
#include "tensor/shape.h"

namespace lorikeet::tensor {
namespace {

const RopeKernels& KernelsFor(Device device) { return device.is_cpu() ? kCpuRope : kCudaRope; }

double Scaled(double frequency, const RopeScaling& s) {
  if (s.kind == RopeScaling::Kind::kNone) return frequency;
  if (s.kind == RopeScaling::Kind::kLinear) return frequency / s.factor;
  const double wavelength = 2 * std::numbers::pi / frequency;
  const double context = static_cast<double>(s.original_max_position);
  if (wavelength > context / s.low_freq_factor) return frequency / s.factor;
  if (wavelength < context / s.high_freq_factor) return frequency;
  const double smooth = (context / wavelength - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
  return (1 - smooth) * frequency / s.factor + smooth * frequency;
}

void CheckTable(const char* op, const Tensor& x, const RopeTable& table) {
  LORIKEET_CHECK(x.defined() && x.rank() == 3 && IsFloat(x.dtype()))
      << op << ": x is " << Describe(x) << ", expected a float tensor [tokens, heads, head_dim]";
  for (const Tensor* t : {&table.cos, &table.sin}) {
    LORIKEET_CHECK(t->defined() && t->rank() == 2 && t->dim(0) == x.dim(0) && 2 * t->dim(1) <= x.dim(2))
        << op << ": the table is " << Describe(*t) << ", expected at most [" << x.dim(0) << "," << x.dim(2) / 2
        << "] to match x " << Describe(x);
    LORIKEET_CHECK(t->device() == x.device())
        << op << ": x is on " << ToString(x.device()) << ", the table on " << ToString(t->device());
  }
}

void Run(const char* op, const Tensor& x, const RopeTable& table, RopeLayout layout, bool inverse, const Tensor& y) {
  const auto kernel = KernelOrDie(KernelsFor(x.device()).rope, op, x);
  kernel(x.view(), table.cos.view(), table.sin.view(), layout == RopeLayout::kInterleaved, inverse, y.view(), {});
}

Tensor Rotated(const char* op, const Tensor& x, const RopeTable& table, RopeLayout layout, bool inverse) {
  CheckTable(op, x, table);
  Tensor y = Tensor::Empty(x.shape(), x.dtype(), x.device());
  Run(op, x, table, layout, inverse, y);
  return y;
}

}  // namespace

Tensor RopeFrequencies(double theta, int64_t head_dim, const RopeScaling& scaling, DType dtype) {
  LORIKEET_CHECK(theta > 0 && head_dim >= 0 && head_dim % 2 == 0)
      << "RopeFrequencies: theta " << theta << ", head_dim " << head_dim << " (must be even)";
  LORIKEET_CHECK(dtype == DType::kF32 || dtype == DType::kF64) << "RopeFrequencies: dtype " << Name(dtype);
  std::vector<double> f(static_cast<size_t>(head_dim / 2));
  for (size_t i = 0; i < f.size(); ++i) {
    f[i] = Scaled(std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim)), scaling);
  }
  return Tensor::From(absl::MakeConstSpan(f), {head_dim / 2}).Cast(dtype);
}

RopeTable MakeRopeTable(const Tensor& positions, const Tensor& inv_freq, double factor) {
  LORIKEET_CHECK(positions.defined() && positions.rank() == 1 && positions.dtype() == DType::kI32)
      << "MakeRopeTable: positions is " << Describe(positions) << ", expected i32[tokens]";
  LORIKEET_CHECK(inv_freq.defined() && inv_freq.rank() == 1 &&
                 (inv_freq.dtype() == DType::kF32 || inv_freq.dtype() == DType::kF64))
      << "MakeRopeTable: inv_freq is " << Describe(inv_freq) << ", expected f32[head_dim/2]";
  const Device device = positions.device();
  const auto kernel = KernelOrDie(KernelsFor(device).rope_table, "MakeRopeTable", positions);
  const Shape shape = {positions.dim(0), inv_freq.dim(0)};
  RopeTable table{Tensor::Empty(shape, inv_freq.dtype(), device), Tensor::Empty(shape, inv_freq.dtype(), device)};
  kernel(positions.view(), inv_freq.To(device).view(), factor, table.cos.view(), table.sin.view(), {});
  return table;
}

Tensor Rope(const Tensor& x, const RopeTable& table, RopeLayout layout) {
  return Rotated("Rope", x, table, layout, false);
}

void RopeInPlace(Tensor& x, const RopeTable& table, RopeLayout layout) {
  CheckTable("RopeInPlace", x, table);
  Run("RopeInPlace", x, table, layout, false, x);
}

Tensor RopeGrad(const Tensor& dy, const RopeTable& table, RopeLayout layout) {
  return Rotated("RopeGrad", dy, table, layout, true);
}

}  // namespace lorikeet::tensor
