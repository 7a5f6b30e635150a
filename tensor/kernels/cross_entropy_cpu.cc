#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "tensor/check.h"
#include "tensor/kernels/block_loop.h"
#include "tensor/kernels/cross_entropy.h"
#include "tensor/kernels/elementwise_op.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/parallel.h"
#include "tensor/kernels/row_blocks.h"
#include "tensor/kernels/vec_f32.h"
#include "tensor/kernels/vec_f64.h"
#include "tensor/view.h"

namespace lorikeet {
namespace {

using internal::DispatchCompute;
using internal::kBlock;
using internal::LogSumExp;
using internal::Narrow;
using internal::RowBlocks;

// out = tanh(x / cap).
template <typename C>
void CapTanh(const C* x, C cap, C* out, int64_t n) {
  for (int64_t j = 0; j < n; ++j) out[j] = x[j] / cap;
  internal::VecUnary(UnaryOp::kTanh, out, out, n);
}

// Calls f(z, begin, n) for the row's blocks of capped logits.
template <typename C, typename F>
void ReadCapped(const RowBlocks<C>& row, C cap, F&& f) {
  row.Read([&](const C* x, int64_t begin, int64_t n) {
    if (cap == 0) return f(x, begin, n);
    alignas(64) C z[kBlock];
    CapTanh(x, cap, z, n);
    for (int64_t j = 0; j < n; ++j) z[j] *= cap;
    f(z, begin, n);
  });
}

template <typename C>
bool FirstIs(const RowBlocks<C>& row, C cap, int64_t target, C value) {
  bool first = true;
  ReadCapped(row, cap, [&](const C* z, int64_t begin, int64_t n) {
    for (int64_t j = 0; j < n && begin + j < target; ++j) first = first && z[j] != value;
  });
  return first;
}

template <typename C>
struct RowLoss {
  LogSumExp<C> lse;
  C loss;
  bool correct;
};

template <typename C>
RowLoss<C> Loss(const RowBlocks<C>& row, C cap, int64_t target) {
  RowLoss<C> result;
  C z_target = 0;
  ReadCapped(row, cap, [&](const C* z, int64_t begin, int64_t n) {
    result.lse.Add(z, n);
    if (target >= begin && target < begin + n) z_target = z[target - begin];
  });
  result.loss =
      static_cast<C>(static_cast<double>(result.lse.max) - static_cast<double>(z_target) + std::log(result.lse.sum));
  result.correct = z_target == result.lse.max && FirstIs(row, cap, target, z_target);
  return result;
}

// The target's own entry, which loses almost all of its digits to the subtraction, is kept apart until it is rounded.
template <typename C>
void Grad(const RowBlocks<C>& row, C cap, int64_t target, const LogSumExp<C>& lse, C scale, RowBlocks<C>& drow) {
  const C factor = static_cast<C>(static_cast<double>(scale) / lse.sum);
  C at_target = 0;
  drow.Map(row, [&](const C* x, auto* dx, int64_t begin, int64_t n) {
    alignas(64) C capped[kBlock], slope[kBlock];
    if (cap != 0) {
      CapTanh(x, cap, slope, n);
      for (int64_t j = 0; j < n; ++j) {
        capped[j] = cap * slope[j];
        slope[j] = 1 - slope[j] * slope[j];
      }
      x = capped;
    }
    const bool here = target >= begin && target < begin + n;
    if (here) {
      internal::VecScaledExp(x + (target - begin), lse.max, factor, &at_target, 1);
      at_target -= scale;
      if (cap != 0) at_target *= slope[target - begin];
    }
    if (cap == 0) {
      internal::VecScaledExp(x, lse.max, factor, dx, n);
    } else {
      internal::VecScaledExp(x, lse.max, factor, capped, n);
      for (int64_t j = 0; j < n; ++j) dx[j] = Narrow<std::remove_pointer_t<decltype(dx)>>(capped[j] * slope[j]);
    }
    if (here) dx[target - begin] = Narrow<std::remove_pointer_t<decltype(dx)>>(at_target);
  });
}

// A row is a task: a vocabulary is long. `dlogits` null: no gradient.
template <typename C>
void Run(const View& logits, const View& targets, double softcap, C scale, const View& losses, const View& correct,
         const View* dlogits) {
  const C cap = static_cast<C>(softcap);
  ParallelFor(logits.dims[0], 1, [&](int64_t i, int64_t) {
    const int64_t target = targets.ptr<int32_t>()[i], vocab = logits.dims[1];
    LORIKEET_CHECK(target >= -1 && target < vocab)
        << "CrossEntropy: targets[" << i << "] is " << target << ", the vocabulary has " << vocab << " entries";
    const RowBlocks<C> row(logits, i);
    RowLoss<C> r = {.lse = {}, .loss = 0, .correct = false};
    if (target >= 0) r = Loss(row, cap, target);
    losses.ptr<C>()[i] = r.loss;
    correct.ptr<int32_t>()[i] = r.correct;
    if (dlogits == nullptr) return;
    RowBlocks<C> drow(*dlogits, i);
    if (target >= 0) {
      Grad(row, cap, target, r.lse, scale, drow);
    } else {
      drow.Map(row, [](const C*, auto* dx, int64_t, int64_t n) {
        std::fill(dx, dx + n, std::remove_pointer_t<decltype(dx)>());
      });
    }
  });
}

void LossOnly(View logits, View targets, double softcap, View losses, View correct, LaunchContext) {
  DispatchCompute(logits.dtype, [&]<typename C>() { Run<C>(logits, targets, softcap, 0, losses, correct, nullptr); });
}

void LossAndGrad(View logits, View targets, View scale, double softcap, View losses, View correct, View dlogits,
                 LaunchContext) {
  DispatchCompute(logits.dtype,
                  [&]<typename C>() { Run<C>(logits, targets, softcap, *scale.ptr<C>(), losses, correct, &dlogits); });
}

}  // namespace

const CrossEntropyKernels kCpuCrossEntropy = {.loss = LossOnly, .loss_and_grad = LossAndGrad};

}  // namespace lorikeet
