#include "tensor/ops/cross_entropy.h"

#include "tensor/check.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/kernels/cross_entropy.h"
#include "tensor/ops/checks.h"
#include "tensor/ops/kernel_or_die.h"

namespace lorikeet::tensor {
namespace {

const CrossEntropyKernels& KernelsFor(Device device) { return device.is_cpu() ? kCpuCrossEntropy : kCudaCrossEntropy; }

CrossEntropyResult MakeResult(const char* op, const Tensor& logits, const Tensor& targets, double softcap) {
  CheckFloat(op, logits);
  LORIKEET_CHECK(logits.rank() == 2) << op << ": logits is " << Describe(logits) << ", expected [n,vocab]";
  CheckDType(op, "targets", targets, DType::kI32);
  CheckShape(op, "targets", targets, {logits.dim(0)});
  CheckSameDevice(op, logits, targets);
  LORIKEET_CHECK(softcap >= 0) << op << ": softcap is " << softcap;
  const DType dtype = logits.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  return {Tensor::Empty({logits.dim(0)}, dtype, logits.device()),
          Tensor::Empty({logits.dim(0)}, DType::kI32, logits.device())};
}

}  // namespace

CrossEntropyResult CrossEntropy(const Tensor& logits, const Tensor& targets, double softcap) {
  CrossEntropyResult r = MakeResult("CrossEntropy", logits, targets, softcap);
  KernelOrDie(KernelsFor(logits.device()).loss, "CrossEntropy", logits)(
      logits.Contiguous().view(), targets.Contiguous().view(), softcap, r.losses.view(), r.correct.view(), {});
  return r;
}

CrossEntropyResult CrossEntropyInto(const Tensor& logits, const Tensor& targets, const Tensor& scale, double softcap,
                                    Tensor& dlogits) {
  CrossEntropyResult r = MakeResult("CrossEntropyInto", logits, targets, softcap);
  CheckDType("CrossEntropyInto", "scale", scale, r.losses.dtype());
  CheckShape("CrossEntropyInto", "scale", scale, {});
  CheckSameDevice("CrossEntropyInto", logits, scale);
  CheckFloat("CrossEntropyInto", dlogits);
  CheckShape("CrossEntropyInto", "dlogits", dlogits, logits.shape());
  LORIKEET_CHECK(dlogits.contiguous() && (dlogits.dtype() == DType::kF64) == (logits.dtype() == DType::kF64))
      << "CrossEntropyInto: dlogits is " << Describe(dlogits) << " for logits " << Describe(logits)
      << ", expected it contiguous, and f64 for f64";
  const Tensor rows = logits.Contiguous();
  KernelOrDie(KernelsFor(logits.device()).loss_and_grad, "CrossEntropyInto", logits)(
      rows.view(), targets.Contiguous().view(), scale.view(), softcap, r.losses.view(), r.correct.view(),
      dlogits.view(), {});
  return r;
}

}  // namespace lorikeet::tensor
