#include "tensor/ops/attention.h"

#include "tensor/check.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/kernels/attention.h"
#include "tensor/ops/kernel_or_die.h"
#include "tensor/shape.h"
#include "tensor/view.h"

namespace lorikeet::tensor {
namespace {

const AttentionKernels& KernelsFor(Device device) { return device.is_cpu() ? kCpuAttention : kCudaAttention; }

DType SumDType(DType t) { return t == DType::kF64 ? DType::kF64 : DType::kF32; }

// On a device the values stay unread: a read would wait for the stream.
void CheckSeqlens(const char* op, const char* name, const Tensor& cu, int64_t total, Device device) {
  LORIKEET_CHECK(cu.defined() && cu.rank() == 1 && cu.dim(0) >= 1 && cu.dtype() == DType::kI32 && cu.device() == device)
      << op << ": " << name << " is " << Describe(cu) << ", expected i32[sequences + 1] on " << ToString(device);
  if (!device.is_cpu()) return;
  const View v = cu.view();
  int64_t last = 0;
  for (int64_t i = 0; i < v.dims[0]; ++i) {
    const int64_t at = v.ptr<const int32_t>()[i * v.strides[0]];
    LORIKEET_CHECK(i == 0 ? at == 0 : at >= last)
        << op << ": " << name << "[" << i << "] is " << at << " after " << last << "; it must ascend from 0";
    last = at;
  }
  LORIKEET_CHECK(last == total) << op << ": " << name << " ends at " << last << ", expected " << total;
}

void CheckArgs(const char* op, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionArgs& args) {
  LORIKEET_CHECK(q.defined() && q.rank() == 3 && q.dim(1) >= 1 && q.dim(2) >= 1 && IsFloat(q.dtype()))
      << op << ": q is " << Describe(q) << ", expected a float tensor [tokens, heads, d]";
  LORIKEET_CHECK(k.defined() && k.rank() == 3 && k.dim(2) == q.dim(2) && k.dtype() == q.dtype() &&
                 k.device() == q.device())
      << op << ": k is " << Describe(k) << ", q is " << Describe(q);
  LORIKEET_CHECK(v.defined() && v.shape() == k.shape() && v.dtype() == k.dtype() && v.device() == k.device())
      << op << ": v is " << Describe(v) << ", k is " << Describe(k);
  LORIKEET_CHECK(k.dim(1) >= 1 && q.dim(1) % k.dim(1) == 0)
      << op << ": " << q.dim(1) << " heads over " << k.dim(1) << " key-value heads";
  LORIKEET_CHECK(args.window >= 0 && args.softcap >= 0)
      << op << ": window " << args.window << ", softcap " << args.softcap;
  CheckSeqlens(op, "cu_seqlens_q", args.cu_seqlens_q, q.dim(0), q.device());
  CheckSeqlens(op, "cu_seqlens_k", args.cu_seqlens_k, k.dim(0), q.device());
  LORIKEET_CHECK(args.cu_seqlens_q.dim(0) == args.cu_seqlens_k.dim(0))
      << op << ": cu_seqlens_q is " << Describe(args.cu_seqlens_q) << ", cu_seqlens_k is "
      << Describe(args.cu_seqlens_k);
}

AttentionParams Params(const AttentionArgs& args) {
  return {.cu_seqlens_q = args.cu_seqlens_q.view(),
          .cu_seqlens_k = args.cu_seqlens_k.view(),
          .scale = args.scale,
          .causal = args.causal,
          .window = args.window,
          .softcap = args.softcap};
}

}  // namespace

AttentionResult Attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionArgs& args) {
  CheckArgs("Attention", q, k, v, args);
  AttentionResult out{Tensor::Empty(q.shape(), q.dtype(), q.device()),
                      Tensor::Empty({q.dim(0), q.dim(1)}, SumDType(q.dtype()), q.device())};
  KernelOrDie(KernelsFor(q.device()).attention, "Attention", q)(q.view(), k.view(), v.view(), Params(args),
                                                                out.y.view(), out.lse.view(), {});
  return out;
}

AttentionGradResult AttentionGrad(const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& y,
                                  const Tensor& lse, const AttentionArgs& args) {
  const char* op = "AttentionGrad";
  CheckArgs(op, q, k, v, args);
  for (const Tensor* t : {&dy, &y}) {
    LORIKEET_CHECK(t->defined() && t->shape() == q.shape() && t->dtype() == q.dtype() && t->device() == q.device())
        << op << ": dy is " << Describe(dy) << ", y is " << Describe(y) << ", q is " << Describe(q);
  }
  LORIKEET_CHECK(lse.defined() && lse.shape() == (Shape{q.dim(0), q.dim(1)}) && lse.dtype() == SumDType(q.dtype()))
      << op << ": lse is " << Describe(lse) << ", q is " << Describe(q);
  AttentionGradResult out{Tensor::Empty(q.shape(), q.dtype(), q.device()),
                          Tensor::Empty(k.shape(), k.dtype(), k.device()),
                          Tensor::Empty(v.shape(), v.dtype(), v.device())};
  KernelOrDie(KernelsFor(q.device()).attention_grad, op, q)(dy.view(), q.view(), k.view(), v.view(), y.view(),
                                                            lse.view(), Params(args), out.dq.view(), out.dk.view(),
                                                            out.dv.view(), {});
  return out;
}

}  // namespace lorikeet::tensor
