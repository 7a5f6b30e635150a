#include <cmath>
#include <cstdint>
#include <cstdio>

#include "tensor/dtype.h"
#include "tensor/kernels/cross_entropy.h"
#include "tensor/kernels/cuda_chunk.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_parts.h"
#include "tensor/kernels/cuda_reduce.h"
#include "tensor/kernels/cuda_vector.h"
#include "tensor/kernels/launch.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet {
namespace {

using internal::BlockReduce;
using internal::CheckCuda;
using internal::Chunk;
using internal::Data;
using internal::DispatchFloat;
using internal::Kept;
using internal::kPackBytes;
using internal::kPartThreads;
using internal::LaunchParts;
using internal::MaxSum;
using internal::Narrow;
using internal::PartLoop;
using internal::PartsOf;
using internal::RoughExp;
using internal::RowParts;
using internal::RowSpan;
using internal::SpanOf;
using internal::StoreChunk;
using internal::StreamOf;
using internal::ToFloat;

// z = cap * tanh(x / cap), or x; slope = dz/dx.
struct SoftCap {
  float cap, inverse;
  __device__ float operator()(float x) const { return cap * tanhf(x * inverse); }
  __device__ float Slope(float z) const { return 1.0f - z * inverse * (z * inverse); }
};
struct NoCap {
  __device__ float operator()(float x) const { return x; }
  __device__ float Slope(float) const { return 1.0f; }
};
template <typename F>
__device__ void WithCap(float cap, F f) {
  cap == 0 ? f(NoCap()) : f(SoftCap{cap, 1.0f / cap});
}

// Whether one of z, logits from i on, comes before the target.
template <int kN>
__device__ bool Beats(const float (&z)[kN], int64_t i, int64_t target, float z_target) {
  bool beats = false;
  for (int j = 0; j < kN; ++j) beats = beats || z[j] > z_target || (z[j] == z_target && i + j < target);
  return beats;
}

// What a part tells, or the row: m and s, and whether another logit comes before the target.
struct RowSummary {
  MaxSum z;
  uint32_t beaten = 0;

  template <int kN>
  __device__ void Add(const float (&x)[kN], int64_t i, int64_t target, float z_target) {
    const float larger = z.Add(x);
    if (beaten == 0 && larger >= z_target) beaten = Beats(x, i, target, z_target);
  }
  __device__ void Take(const RowSummary& other) {
    z.Take(other.z);
    beaten |= other.beaten;
  }
  // Of the whole block: every thread gets it.
  __device__ void Combine() {
    z.Combine();
    beaten = BlockReduce(beaten, 0u, [](uint32_t a, uint32_t b) { return a | b; });
  }
};

template <typename T>
struct Args {
  View logits;
  const int32_t* targets;
  float cap;
  const float* scale;  // null: no gradient
  float* losses;
  int32_t* correct;

  __device__ const T* Row(int64_t i) const { return Data<T>(logits) + i * logits.dims[1]; }
  // The part that the loop is at.
  __device__ RowSpan<T> Part(const PartLoop& loop, int64_t parts) const {
    return SpanOf(Row(loop.row()), logits.dims[1], loop, parts);
  }
};

// True for the block that has the row's last part, with the row's summary; the loss is then known.
template <typename T>
__device__ bool Summarise(const Args<T>& a, const RowParts<RowSummary>& parts, const PartLoop& loop, int64_t target,
                          const Kept<T>& kept, RowSummary* row) {
  RowSummary r;
  float z_target = 0;
  WithCap(a.cap, [&](auto cap) {
    z_target = cap(ToFloat(a.Row(loop.row())[target]));
    a.Part(loop, parts.parts).Each(kept, [&](const auto& x, int64_t at) {
      constexpr int kN = sizeof(x) / sizeof(float);
      float z[kN];
      for (int j = 0; j < kN; ++j) z[j] = cap(x[j]);
      r.Add(z, at, target, z_target);
    });
  });
  r.Combine();
  if (!Complete(parts, loop, &r)) return false;
  if (threadIdx.x == 0) {
    a.losses[loop.row()] = static_cast<float>(static_cast<double>(r.z.max) - static_cast<double>(z_target) +
                                              log(static_cast<double>(r.z.sum)));
    a.correct[loop.row()] = r.beaten == 0 && r.z.sum == r.z.sum;
  }
  *row = r;
  return true;
}

// The target of row i, or -1. Any other one is the caller's mistake: the message is printed, and the launch fails.
template <typename T>
__device__ int64_t TargetOf(const Args<T>& a, int64_t i) {
  const int32_t target = a.targets[i];
  if (target >= -1 && target < a.logits.dims[1]) return target;
  if (threadIdx.x == 0) {
    printf("CrossEntropy: targets[%lld] is %d, the vocabulary has %lld entries\n", static_cast<long long>(i), target,
           static_cast<long long>(a.logits.dims[1]));
  }
  __syncthreads();  // not before it is printed
  __trap();
}

template <typename T>
__device__ void Ignore(const Args<T>& a, int64_t i) {
  if (threadIdx.x != 0) return;
  a.losses[i] = 0;
  a.correct[i] = 0;
}

template <typename T>
__global__ void __launch_bounds__(kPartThreads)
    LossKernel(const __grid_constant__ Args<T> a, RowParts<RowSummary> parts) {
  for (PartLoop loop(parts); loop.More(); loop.Next()) {
    const int64_t target = TargetOf(a, loop.row());
    RowSummary r;
    if (target < 0) {
      Ignore(a, loop.row());
    } else {
      Summarise(a, parts, loop, target, Kept<T>{nullptr, 0}, &r);
    }
  }
}

// Writes dlogits where the logits are: chunks where both lie alike. They are not read again soon, the logits are.
template <typename D, int kN>
__device__ inline void StoreGrad(const float (&dx)[kN], D* at) {
  if (kN > 1 && reinterpret_cast<uintptr_t>(at) % (kN * sizeof(D) < kPackBytes ? kN * sizeof(D) : kPackBytes) == 0) {
    StoreChunk<true>(Narrow<D>(dx), at);
    return;
  }
  const Chunk<D, kN> chunk = Narrow<D>(dx);
  for (int j = 0; j < kN; ++j) at[j] = chunk.v[j];
}

// dlogits may be the logits.
template <typename T, typename D, typename Cap>
__device__ void WriteGrad(const RowSpan<T>& row, const Kept<T>& kept, Cap cap, const RowSummary& r, int64_t target,
                          float scale, D* out) {
  const float factor = scale / r.z.sum;
  row.EachAgain(kept, [&](const auto& x, int64_t at) {
    constexpr int kN = sizeof(x) / sizeof(float);
    float dx[kN];
    for (int j = 0; j < kN; ++j) {
      const float z = cap(x[j]), t = z - r.z.max;
      dx[j] = factor * (sizeof(D) == 2 ? RoughExp(t) : expf(t)) * cap.Slope(z);
    }
    if (static_cast<uint64_t>(target - at) < kN) {
      for (int j = 0; j < kN; ++j) dx[j] -= at + j == target ? scale * cap.Slope(cap(x[j])) : 0.0f;
    }
    StoreGrad(dx, out + at);
  });
}

template <typename T, typename D>
__device__ void WriteZeros(const RowSpan<T>& span, D* out) {
  span.Each(Kept<T>{nullptr, 0}, [&](const auto& x, int64_t at) {
    constexpr int kN = sizeof(x) / sizeof(float);
    const float zeros[kN] = {};
    StoreGrad(zeros, out + at);
  });
}

template <typename T, typename D>
__global__ void __launch_bounds__(kPartThreads)
    LossAndGradKernel(const __grid_constant__ Args<T> a, RowParts<RowSummary> parts, D* dlogits) {
  CUDA_DYNAMIC_SHARED(uint4, shared);
  const auto kept = parts.template KeptIn<T>(shared);
  for (PartLoop loop(parts); loop.More(); loop.Next()) {
    const int64_t target = TargetOf(a, loop.row()), vocab = a.logits.dims[1];
    D* out = dlogits + loop.row() * vocab;
    RowSummary r;
    if (target < 0) {
      Ignore(a, loop.row());
      WriteZeros(a.Part(loop, parts.parts), out);
    } else if (Summarise(a, parts, loop, target, kept, &r)) {
      const RowSpan<T> row(a.Row(loop.row()), 0, vocab);
      WithCap(a.cap, [&](auto cap) { WriteGrad(row, kept, cap, r, target, *a.scale, out); });
    }
  }
}

template <typename T>
Args<T> ArgsOf(const View& logits, const View& targets, const float* scale, double softcap, const View& losses,
               const View& correct) {
  return {logits, targets.ptr<int32_t>(), static_cast<float>(softcap),
          scale,  losses.ptr<float>(),    correct.ptr<int32_t>()};
}

RowParts<RowSummary> PartsOfRows(const View& logits, bool reads_again, LaunchContext context) {
  const int64_t bytes = logits.dims[1] * static_cast<int64_t>(SizeOf(logits.dtype));
  return PartsOf<RowSummary>(logits.dims[0], bytes, reads_again, StreamOf(context));
}

void Loss(View logits, View targets, double softcap, View losses, View correct, LaunchContext context) {
  if (logits.dims[0] == 0) return;
  const auto parts = PartsOfRows(logits, false, context);
  DispatchFloat(logits.dtype, "CrossEntropy", [&]<typename T>(T) {
    CheckCuda(LaunchParts(LossKernel<T>, parts, StreamOf(context),
                          ArgsOf<T>(logits, targets, nullptr, softcap, losses, correct), parts),
              "cross-entropy");
  });
}

void LossAndGrad(View logits, View targets, View scale, double softcap, View losses, View correct, View dlogits,
                 LaunchContext context) {
  if (logits.dims[0] == 0) return;
  const auto parts = PartsOfRows(logits, true, context);
  DispatchFloat(logits.dtype, "CrossEntropy", [&]<typename T>(T) {
    DispatchFloat(dlogits.dtype, "CrossEntropy", [&]<typename D>(D) {
      CheckCuda(LaunchParts(LossAndGradKernel<T, D>, parts, StreamOf(context),
                            ArgsOf<T>(logits, targets, scale.ptr<float>(), softcap, losses, correct), parts,
                            dlogits.ptr<D>()),
                "cross-entropy gradient");
    });
  });
}

}  // namespace

extern const CrossEntropyKernels kCudaCrossEntropy = {.loss = Loss, .loss_and_grad = LossAndGrad};

}  // namespace lorikeet
