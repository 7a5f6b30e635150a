#include <algorithm>
#include <cstdint>

#include "optim/adamw8.h"
#include "optim/state_block.h"
#include "quant/blockwise8_cuda.h"
#include "quant/code_maps.h"
#include "tensor/dtype.h"
#include "tensor/kernels/adamw.h"
#include "tensor/kernels/adamw_constants.h"
#include "tensor/kernels/adamw_cuda.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_reduce.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/segment_table_cuda.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet {
namespace {

using internal::AdamWConstants;
using internal::BlockReduce;
using internal::CheckCuda;
using internal::kMaxBlocks;
using internal::LoadThresholds;
using internal::MagnitudeBits;
using internal::Map8Values;
using internal::NearestCode;
using internal::Opened;
using internal::RoundedConstants;
using internal::ScaleOf;
using internal::SegmentTable;
using internal::StreamOf;
using internal::UpdateElement;

constexpr int64_t kBytes = BlockElements(DType::kU8);

struct Pointers {
  const float* g;
  float* p;
  uint8_t *m, *v;
  int64_t n;
  AdamWConstants<float> constants;
};

// Segments and both maps: 4 kB, what a launch could always carry.
struct Parameters {
  SegmentTable<Pointers, 26> table;
  Map8Values with_sign, without_sign;
  const double* gate;
};
static_assert(sizeof(Parameters) <= 4096);

struct Tables {
  float map[256], thresholds[256];
};

__device__ void LoadTables(const Map8Values& map, Tables& tables) {
  tables.map[threadIdx.x] = map.v[threadIdx.x];
  LoadThresholds(map, tables.thresholds);
}

__device__ float Decoded(const Tables& tables, const uint8_t* block) {
  return tables.map[block[threadIdx.x]] * *reinterpret_cast<const float*>(block + kStateBlock);
}

// All threads have read the block before any writes to it: the reduction waits for them.
__device__ void Encode(const Tables& tables, float x, uint8_t* block) {
  const float scale = ScaleOf(BlockReduce(MagnitudeBits(x), 0u, [](uint32_t a, uint32_t b) { return max(a, b); }));
  block[threadIdx.x] = scale > 0 ? NearestCode(tables.thresholds, x / scale) : uint8_t{0};
  if (threadIdx.x == 0) *reinterpret_cast<float*>(block + kStateBlock) = scale;
}

// A thread to an element. Blocks of the grid go on to further blocks of state, so that the tables are loaded seldom.
__global__ void StepKernel(const __grid_constant__ Parameters parameters) {
  CUDA_SHARED(Tables, with_sign);
  CUDA_SHARED(Tables, without_sign);
  LoadTables(parameters.with_sign, with_sign);
  LoadTables(parameters.without_sign, without_sign);
  __syncthreads();
  for (uint32_t block = blockIdx.x; block < parameters.table.blocks(); block += gridDim.x) {
    uint32_t index = 0;
    const Pointers& s = parameters.table.Find(block, &index);
    uint8_t* const m_block = s.m + index * kBytes;
    uint8_t* const v_block = s.v + index * kBytes;
    AdamWConstants<float> constants = s.constants;
    if (!Opened(parameters.gate, &constants)) return;
    const int64_t i = index * kStateBlock + threadIdx.x;
    float m = Decoded(with_sign, m_block), v = Decoded(without_sign, v_block);
    if (i < s.n) {
      UpdateElement(constants, s.g[i], s.p[i], m, v);
    } else {
      m = v = 0;
    }
    Encode(with_sign, m, m_block);
    Encode(without_sign, v, v_block);
  }
}

void LaunchAndClear(Parameters& parameters, LaunchContext context) {
  const int64_t blocks = parameters.table.blocks();
  if (blocks > 0) {
    CheckCuda(Launch(StepKernel, static_cast<unsigned>(std::min(blocks, kMaxBlocks)),
                     static_cast<unsigned>(kStateBlock), 0, StreamOf(context), parameters),
              "adamw8 step");
  }
  parameters.table.Clear();
}

void Step(const AdamWSegment* segments, int64_t count, const AdamWStep& step, LaunchContext context) {
  Parameters parameters{.table = {},
                        .with_sign = Map8Values(SignedDynamicMap()),
                        .without_sign = Map8Values(UnsignedDynamicMap()),
                        .gate = step.gate};
  for (int64_t i = 0; i < count; ++i) {
    const AdamWSegment& s = segments[i];
    if (parameters.table.Full()) LaunchAndClear(parameters, context);
    const int64_t n = s.p.size();
    parameters.table.Add({.g = s.g.ptr<const float>(),
                          .p = s.p.ptr<float>(),
                          .m = s.m.ptr<uint8_t>(),
                          .v = s.v.ptr<uint8_t>(),
                          .n = n,
                          .constants = RoundedConstants<float>(s, step)},
                         (n + kStateBlock - 1) / kStateBlock);
  }
  LaunchAndClear(parameters, context);
}

}  // namespace

extern const AdamW8Kernels kCudaAdamW8 = {.step = Step};

}  // namespace lorikeet
