#include "tensor/ops/rope.h"

#include <cstdint>

#include "tensor/check.h"
#include "tensor/device.h"
#include "tensor/kernels/rope.h"
#include "tensor/ops/kernel_or_die.h"
#include "tensor/shape.h"

namespace lorikeet::tensor {
namespace {

const RopeKernels& KernelsFor(Device device) { return device.is_cpu() ? kCpuRope : kCudaRope; }

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

RopeTable MakeRopeTable(const Tensor& positions, const Tensor& inv_freq, double factor, int64_t long_from) {
  LORIKEET_CHECK(positions.defined() && positions.rank() == 1 && positions.dtype() == DType::kI32)
      << "MakeRopeTable: positions is " << Describe(positions) << ", expected i32[tokens]";
  LORIKEET_CHECK(inv_freq.defined() && (inv_freq.rank() == 1 || (inv_freq.rank() == 2 && inv_freq.dim(0) == 2)) &&
                 (inv_freq.dtype() == DType::kF32 || inv_freq.dtype() == DType::kF64))
      << "MakeRopeTable: inv_freq is " << Describe(inv_freq) << ", expected f32[head_dim/2] or f32[2,head_dim/2]";
  const Device device = positions.device();
  const auto kernel = KernelOrDie(KernelsFor(device).rope_table, "MakeRopeTable", positions);
  const Shape shape = {positions.dim(0), inv_freq.dim(-1)};
  RopeTable table{Tensor::Empty(shape, inv_freq.dtype(), device), Tensor::Empty(shape, inv_freq.dtype(), device)};
  kernel(positions.view(), inv_freq.To(device).view(), factor, long_from, table.cos.view(), table.sin.view(), {});
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
