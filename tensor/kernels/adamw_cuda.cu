#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tensor/dtype.h"
#include "tensor/kernels/adamw.h"
#include "tensor/kernels/adamw_constants.h"
#include "tensor/kernels/adamw_cuda.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_vector.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/segment_table_cuda.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet {
namespace {

using internal::AdamWConstants;
using internal::CheckCuda;
using internal::kBlockThreads;
using internal::Load;
using internal::Opened;
using internal::Pack;
using internal::RoundedConstants;
using internal::SegmentTable;
using internal::Store;
using internal::StreamOf;
using internal::UpdateElement;
using internal::Vectorisable;

using Floats = Pack<float>;
// Short blocks: the last of them keep few multiprocessors busy, and for as long as one block takes.
constexpr int64_t kElementsABlock = 2 * Floats::kCount * kBlockThreads;

struct Pointers {
  const float* g;
  float *p, *m, *v;
  int64_t n;
  AdamWConstants<float> constants;
  bool whole;  // 16 bytes at once
};

// 4 kB, what a launch could always carry.
using Table = SegmentTable<Pointers, 48>;
static_assert(sizeof(Table) + sizeof(double*) <= 4096);

// Bound by memory: 28 bytes of traffic an element, in packs of 16.
__device__ void UpdateWhole(const Pointers& s, const AdamWConstants<float>& constants, int64_t begin, int64_t end) {
  const int64_t stride = static_cast<int64_t>(kBlockThreads) * Floats::kCount;
  for (int64_t i = begin + static_cast<int64_t>(threadIdx.x) * Floats::kCount; i < end; i += stride) {
    const auto g = Load<Floats>(s.g + i);
    auto p = Load<Floats>(s.p + i), m = Load<Floats>(s.m + i), v = Load<Floats>(s.v + i);
    for (int j = 0; j < Floats::kCount; ++j) UpdateElement(constants, g.v[j], p.v[j], m.v[j], v.v[j]);
    Store(s.p + i, p);
    Store(s.m + i, m);
    Store(s.v + i, v);
  }
}

__global__ void StepKernel(const __grid_constant__ Table table, const double* gate) {
  uint32_t block = 0;
  const Pointers& s = table.Find(blockIdx.x, &block);
  AdamWConstants<float> constants = s.constants;
  if (!Opened(gate, &constants)) return;
  const int64_t begin = block * kElementsABlock, end = min(begin + kElementsABlock, s.n);
  if (s.whole) return UpdateWhole(s, constants, begin, end);
  for (int64_t i = begin + threadIdx.x; i < end; i += kBlockThreads) {
    UpdateElement(constants, s.g[i], s.p[i], s.m[i], s.v[i]);
  }
}

void LaunchAndClear(Table& table, const double* gate, LaunchContext context) {
  if (table.blocks() > 0) {
    CheckCuda(Launch(StepKernel, table.blocks(), kBlockThreads, 0, StreamOf(context), table, gate), "adamw step");
  }
  table.Clear();
}

void Step(const AdamWSegment* segments, int64_t count, const AdamWStep& step, LaunchContext context) {
  Table table;
  for (int64_t i = 0; i < count; ++i) {
    const AdamWSegment& s = segments[i];
    if (s.p.dtype != DType::kF32) {
      std::fprintf(stderr, "CUDA adamw step: expected f32, got %s\n", Name(s.p.dtype));
      std::abort();
    }
    if (table.Full()) LaunchAndClear(table, step.gate, context);
    const int64_t n = s.p.size();
    table.Add({.g = s.g.ptr<const float>(),
               .p = s.p.ptr<float>(),
               .m = s.m.ptr<float>(),
               .v = s.v.ptr<float>(),
               .n = n,
               .constants = RoundedConstants<float>(s, step),
               .whole = Vectorisable(s.g) && Vectorisable(s.p) && Vectorisable(s.m) && Vectorisable(s.v)},
              (n + kElementsABlock - 1) / kElementsABlock);
  }
  LaunchAndClear(table, step.gate, context);
}

}  // namespace

extern const AdamWKernels kCudaAdamW = {.step = Step};

}  // namespace lorikeet
