#include "tensor/ops/gather.h"

#include "tensor/check.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/kernels/gather.h"
#include "tensor/ops/checks.h"
#include "tensor/ops/kernel_or_die.h"

namespace lorikeet::tensor {
namespace {

const GatherKernels& KernelsFor(Device device) { return device.is_cpu() ? kCpuGather : kCudaGather; }

void CheckTableAndIds(const char* op, const Tensor& table, const Tensor& ids) {
  LORIKEET_CHECK(table.rank() == 2) << op << ": the table is " << Describe(table) << ", expected rank 2";
  CheckDType(op, "ids", ids, DType::kI32);
  LORIKEET_CHECK(ids.rank() == 1) << op << ": ids is " << Describe(ids) << ", expected rank 1";
  CheckSameDevice(op, table, ids);
}

bool HasContiguousRows(const Tensor& x) { return x.stride(1) == 1 || x.dim(1) <= 1; }

}  // namespace

Tensor GatherRows(const Tensor& table, const Tensor& ids) {
  CheckTableAndIds("GatherRows", table, ids);
  const Tensor rows = HasContiguousRows(table) ? table : table.Contiguous();
  Tensor y = Tensor::Empty({ids.dim(0), table.dim(1)}, table.dtype(), table.device());
  KernelOrDie(KernelsFor(table.device()).gather_rows, "GatherRows", table)(rows.view(), ids.Contiguous().view(),
                                                                           y.view(), {});
  return y;
}

void ScatterRows(const Tensor& x, const Tensor& ids, Tensor& table) {
  CheckTableAndIds("ScatterRows", table, ids);
  CheckDType("ScatterRows", "x", x, table.dtype());
  CheckShape("ScatterRows", "x", x, {ids.dim(0), table.dim(1)});
  CheckSameDevice("ScatterRows", table, x);
  CheckWritable("ScatterRows", table);
  LORIKEET_CHECK(HasContiguousRows(table))
      << "ScatterRows: the table is " << Describe(table) << ", expected contiguous rows";
  const Tensor rows = HasContiguousRows(x) ? x : x.Contiguous();
  KernelOrDie(KernelsFor(table.device()).scatter_rows, "ScatterRows", table)(rows.view(), ids.Contiguous().view(),
                                                                             table.view(), {});
}

void ScatterAddRows(Tensor& dtable, const Tensor& ids, const Tensor& dy) {
  CheckTableAndIds("ScatterAddRows", dtable, ids);
  CheckFloat("ScatterAddRows", dy);
  CheckShape("ScatterAddRows", "dy", dy, {ids.dim(0), dtable.dim(1)});
  CheckSameDevice("ScatterAddRows", dtable, dy);
  CheckWritable("ScatterAddRows", dtable);
  LORIKEET_CHECK((dtable.dtype() == DType::kF32 || dtable.dtype() == DType::kF64) && HasContiguousRows(dtable))
      << "ScatterAddRows: dtable is " << Describe(dtable) << ", expected f32 or f64 with contiguous rows";
  const Tensor rows = HasContiguousRows(dy) ? dy : dy.Contiguous();
  KernelOrDie(KernelsFor(dtable.device()).scatter_add_rows, "ScatterAddRows", dtable)(
      rows.view(), ids.Contiguous().view(), dtable.view(), {});
}

}  // namespace lorikeet::tensor
