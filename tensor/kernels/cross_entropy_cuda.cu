#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>

#include "tensor/dtype.h"
#include "tensor/kernels/cross_entropy.h"
#include "tensor/kernels/cuda_chunk.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_reduce.h"
#include "tensor/kernels/cuda_vector.h"
#include "tensor/kernels/launch.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet {
namespace {

using internal::BlockReduce;
using internal::BlockSum;
using internal::CheckCuda;
using internal::Chunk;
using internal::Data;
using internal::DispatchFloat;
using internal::kPackBytes;
using internal::LoadChunk;
using internal::Narrow;
using internal::StoreChunk;
using internal::StreamOf;
using internal::ToFloat;
using internal::Widen;

constexpr int kThreads = 512;  // of a block, which has one row at a time
constexpr int kAhead = 4;      // chunks that a thread asks for before it looks at the first
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// A row of logits, of any length and so at any address: elements up to the first multiple of 16 bytes, chunks, and
// what is left.
template <typename T>
struct LogitRow {
  static constexpr int kCount = static_cast<int>(kPackBytes / sizeof(T));
  const T* x;
  int64_t vocab, head, chunks;

  __device__ LogitRow(const View& logits, int64_t row)
      : x(Data<T>(logits) + row * logits.dims[1]), vocab(logits.dims[1]) {
    const auto past = reinterpret_cast<uintptr_t>(x) % kPackBytes;
    head = min(vocab, static_cast<int64_t>((kPackBytes - past) % kPackBytes / sizeof(T)));
    chunks = (vocab - head) / kCount;
  }
  // f(v, i): kCount or one logits from i on. A thread comes to the same elements in every pass.
  template <typename F>
  __device__ void Each(F f) const {
    const int64_t first = threadIdx.x, step = kThreads;
    if (first < head) One(first, f);
    int64_t c = first;
    for (; c + (kAhead - 1) * step < chunks; c += kAhead * step) {
      Chunk<T, kCount> ahead[kAhead];
      CUDA_UNROLL
      for (int k = 0; k < kAhead; ++k) ahead[k] = LoadChunk<kCount>(x + head + (c + k * step) * kCount);
      CUDA_UNROLL
      for (int k = 0; k < kAhead; ++k) Pass(ahead[k], head + (c + k * step) * kCount, f);
    }
    for (; c < chunks; c += step) Pass(LoadChunk<kCount>(x + head + c * kCount), head + c * kCount, f);
    const int64_t tail = head + chunks * kCount + first;
    if (tail < vocab) One(tail, f);
  }

 private:
  template <int kN, typename F>
  __device__ static void Pass(const Chunk<T, kN>& chunk, int64_t i, F f) {
    float v[kN];
    Widen(chunk, v);
    f(v, i);
  }
  template <typename F>
  __device__ void One(int64_t i, F f) const {
    Pass(LoadChunk<1>(x + i), i, f);
  }
};

// z = cap * tanh(x / cap), or x; slope = dz/dx.
struct Cap {
  float cap;

  __device__ float operator()(float x) const { return cap == 0 ? x : cap * tanhf(x / cap); }
  __device__ float Slope(float z) const {
    const float t = z / cap;
    return cap == 0 ? 1.0f : 1.0f - t * t;
  }
};

// What one read of a row tells: m, s = sum e^(z - m), and whether another logit comes before the target.
struct RowSummary {
  float max = -kInfinity, sum = 0;
  bool beaten = false;

  template <int kN>
  __device__ void Add(const float (&z)[kN], int64_t i, int64_t target, float z_target) {
    float larger = max;
    for (int j = 0; j < kN; ++j) larger = fmaxf(larger, z[j]);
    if (larger > max) sum *= expf(max - larger);
    max = larger;
    const float shift = larger == -kInfinity ? 0 : larger;
    for (int j = 0; j < kN; ++j) {
      sum += expf(z[j] - shift);
      beaten = beaten || z[j] > z_target || (z[j] == z_target && i + j < target);
    }
  }
  // Of the whole block: every thread gets it.
  __device__ void Combine() {
    const float all = BlockReduce(max, -kInfinity, [](float a, float b) { return fmaxf(a, b); });
    sum = BlockSum(max == -kInfinity ? sum : sum * expf(max - all));
    beaten = BlockReduce(beaten ? 1 : 0, 0, [](int a, int b) { return a | b; }) != 0;
    max = all;
  }
};

template <typename T>
struct Args {
  View logits;
  const int32_t* targets;
  Cap cap;
  const float* scale;  // null: no gradient
  float* losses;
  int32_t* correct;
};

template <typename T>
__device__ RowSummary Summarise(const Args<T>& a, const LogitRow<T>& row, int64_t i, int64_t target) {
  RowSummary r;
  const float z_target = a.cap(ToFloat(row.x[target]));
  row.Each([&](const auto& x, int64_t at) {
    constexpr int kN = sizeof(x) / sizeof(float);
    float z[kN];
    for (int j = 0; j < kN; ++j) z[j] = a.cap(x[j]);
    r.Add(z, at, target, z_target);
  });
  r.Combine();
  if (threadIdx.x == 0) {
    a.losses[i] = static_cast<float>(static_cast<double>(r.max) - static_cast<double>(z_target) +
                                     log(static_cast<double>(r.sum)));
    a.correct[i] = !r.beaten && r.sum == r.sum;
  }
  return r;
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
__global__ void __launch_bounds__(kThreads) LossKernel(Args<T> a) {
  for (int64_t i = blockIdx.x; i < a.logits.dims[0]; i += gridDim.x) {
    const int64_t target = TargetOf(a, i);
    if (target < 0) {
      Ignore(a, i);
    } else {
      Summarise(a, LogitRow<T>(a.logits, i), i, target);
    }
  }
}

// Writes dlogits where the logits are: chunks where both lie alike.
template <typename D, int kN>
__device__ inline void StoreGrad(const float (&dx)[kN], D* at) {
  if (kN > 1 && reinterpret_cast<uintptr_t>(at) % (kN * sizeof(D) < kPackBytes ? kN * sizeof(D) : kPackBytes) == 0) {
    StoreChunk(Narrow<D>(dx), at);
    return;
  }
  const Chunk<D, kN> chunk = Narrow<D>(dx);
  for (int j = 0; j < kN; ++j) at[j] = chunk.v[j];
}

// The second read of a row, which is often in the cache still, writes the gradient; dlogits may be the logits. At the
// target e^(z - m)/s - 1 is rounded once.
template <typename T, typename D>
__global__ void __launch_bounds__(kThreads) LossAndGradKernel(Args<T> a, D* dlogits) {
  for (int64_t i = blockIdx.x; i < a.logits.dims[0]; i += gridDim.x) {
    const int64_t target = TargetOf(a, i);
    const LogitRow<T> row(a.logits, i);
    D* out = dlogits + i * row.vocab;
    if (target < 0) {
      Ignore(a, i);
      row.Each([&](const auto& x, int64_t at) {
        constexpr int kN = sizeof(x) / sizeof(float);
        const float zeros[kN] = {};
        StoreGrad(zeros, out + at);
      });
      continue;
    }
    const RowSummary r = Summarise(a, row, i, target);
    const float scale = *a.scale, factor = scale / r.sum;
    row.Each([&](const auto& x, int64_t at) {
      constexpr int kN = sizeof(x) / sizeof(float);
      float dx[kN];
      for (int j = 0; j < kN; ++j) {
        const float z = a.cap(x[j]), p = factor * expf(z - r.max);
        dx[j] = (at + j == target ? p - scale : p) * a.cap.Slope(z);
      }
      StoreGrad(dx, out + at);
    });
  }
}

template <typename T>
Args<T> ArgsOf(const View& logits, const View& targets, const float* scale, double softcap, const View& losses,
               const View& correct) {
  return {logits, targets.ptr<int32_t>(), {static_cast<float>(softcap)},
          scale,  losses.ptr<float>(),    correct.ptr<int32_t>()};
}

unsigned BlocksFor(const View& logits) {
  return static_cast<unsigned>(logits.dims[0] < (1 << 30) ? logits.dims[0] : 1 << 30);
}

void Loss(View logits, View targets, double softcap, View losses, View correct, LaunchContext context) {
  if (logits.dims[0] == 0) return;
  DispatchFloat(logits.dtype, "CrossEntropy", [&]<typename T>(T) {
    CheckCuda(Launch(LossKernel<T>, BlocksFor(logits), kThreads, 0, StreamOf(context),
                     ArgsOf<T>(logits, targets, nullptr, softcap, losses, correct)),
              "cross-entropy");
  });
}

void LossAndGrad(View logits, View targets, View scale, double softcap, View losses, View correct, View dlogits,
                 LaunchContext context) {
  if (logits.dims[0] == 0) return;
  DispatchFloat(logits.dtype, "CrossEntropy", [&]<typename T>(T) {
    DispatchFloat(dlogits.dtype, "CrossEntropy", [&]<typename D>(D) {
      CheckCuda(Launch(LossAndGradKernel<T, D>, BlocksFor(logits), kThreads, 0, StreamOf(context),
                       ArgsOf<T>(logits, targets, scale.ptr<float>(), softcap, losses, correct), dlogits.ptr<D>()),
                "cross-entropy gradient");
    });
  });
}

}  // namespace

extern const CrossEntropyKernels kCudaCrossEntropy = {.loss = Loss, .loss_and_grad = LossAndGrad};

}  // namespace lorikeet
