// Every block has a part of one tensor and leaves its sum in scratch; then a block for each tensor adds up its parts.
#include "tensor/kernels/sum_squares_cuda.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tensor/dtype.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_reduce.h"
#include "tensor/kernels/cuda_scratch.h"
#include "tensor/kernels/cuda_vector.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/segment_table_cuda.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {
namespace {

using Floats = Pack<float>;
constexpr int64_t kElementsABlock = 16 * Floats::kCount * kBlockThreads;

struct Part {
  const float* x;
  int64_t n;
  bool whole;  // 16 bytes at once
};

using Table = SegmentTable<Part, 112>;
static_assert(sizeof(Table) <= 4000);

__device__ double SumOf(const Part& s, int64_t begin, int64_t end) {
  double sum = 0;
  if (s.whole) {
    const int64_t stride = static_cast<int64_t>(kBlockThreads) * Floats::kCount;
    for (int64_t i = begin + static_cast<int64_t>(threadIdx.x) * Floats::kCount; i < end; i += stride) {
      const auto pack = Load<Floats>(s.x + i);
      for (float v : pack.v) sum += static_cast<double>(v) * static_cast<double>(v);
    }
  } else {
    for (int64_t i = begin + threadIdx.x; i < end; i += kBlockThreads) {
      sum += static_cast<double>(s.x[i]) * static_cast<double>(s.x[i]);
    }
  }
  return sum;
}

__global__ void __launch_bounds__(kBlockThreads) PartsKernel(const __grid_constant__ Table table, double* sums) {
  uint32_t block = 0;
  const Part& s = table.Find(blockIdx.x, &block);
  const int64_t begin = block * kElementsABlock;
  const double sum = BlockSum(SumOf(s, begin, min(begin + kElementsABlock, s.n)));
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kBlockThreads)
    TotalsKernel(const __grid_constant__ Table table, const double* sums, double* y) {
  double sum = 0;
  for (uint32_t i = table.blocks_before[blockIdx.x] + threadIdx.x; i < table.blocks_before[blockIdx.x + 1];
       i += kBlockThreads) {
    sum += sums[i];
  }
  sum = BlockSum(sum);
  if (threadIdx.x == 0) y[blockIdx.x] = sum;
}

void LaunchBoth(const Table& table, double* y, LaunchContext context) {
  double* sums = static_cast<double*>(CudaScratch(kCudaScratchPartials, table.blocks() * sizeof(double)));
  if (table.blocks() > 0) {
    CheckCuda(Launch(PartsKernel, table.blocks(), kBlockThreads, 0, StreamOf(context), table, sums), "sum of squares");
  }
  CheckCuda(Launch(TotalsKernel, static_cast<unsigned>(table.count), kBlockThreads, 0, StreamOf(context), table,
                   static_cast<const double*>(sums), y),
            "sum of squares");
}

}  // namespace

void CudaSumSquaresEach(const View* xs, int64_t count, View y, LaunchContext context) {
  Table table;
  double* at = y.ptr<double>();
  for (int64_t i = 0; i < count; ++i) {
    if (xs[i].dtype != DType::kF32) {
      std::fprintf(stderr, "CUDA sum_squares_each: expected f32, got %s\n", Name(xs[i].dtype));
      std::abort();
    }
    const int64_t n = xs[i].size();
    table.Add({xs[i].ptr<const float>(), n, n % Floats::kCount == 0 && Vectorisable(xs[i])},
              (n + kElementsABlock - 1) / kElementsABlock);
    if (!table.Full() && i + 1 < count) continue;
    LaunchBoth(table, at, context);
    at += table.count;
    table.Clear();
  }
}

}  // namespace lorikeet::internal
