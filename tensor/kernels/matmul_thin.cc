#include "tensor/kernels/matmul_thin.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "tensor/dtype.h"
#include "tensor/kernels/matmul_finish.h"
#include "tensor/kernels/matmul_thin_tile.h"
#include "tensor/kernels/matmul_tile.h"
#include "tensor/kernels/parallel.h"
#include "tensor/kernels/scratch.h"

namespace lorikeet::internal {
namespace {

constexpr int64_t kMinTerms = 64;   // below, packing costs nothing worth saving
constexpr int64_t kBlock = 128;     // of k: a task's columns of so many rows stay in a first-level cache
constexpr int64_t kMostStrips = 4;  // of a task

bool IsWide(const Operand& x) { return x.source == nullptr && x.stride_n == 1 && x.stride_k != 1 && x.n > kThinRows; }

// Strips of a task: many, for long runs of memory, but not so many that a thread is idle at the end.
int64_t StripsOfTask(int64_t strips) {
  const int64_t threads = NumThreads();
  int64_t best = 1, least = INT64_MAX;
  for (int64_t n = kMostStrips; n > 0; --n) {
    const int64_t tasks = (strips + n - 1) / n, longest = (tasks + threads - 1) / threads * n;
    if (longest < least) {
      least = longest;
      best = n;
    }
  }
  return best;
}

// Columns [begin, end) of the wide operand, by all of the thin one.
void Task(const uint32_t* thin, int64_t rows, const Operand& wide, int64_t begin, int64_t end, const View& y,
          float alpha, float beta) {
  const int64_t width = PanelWidth(rows);
  float* sums = static_cast<float*>(
      ThreadScratch(kScratchSums, static_cast<size_t>(kMostStrips * rows * kThinColumns) * sizeof(float)));
  for (int64_t k = 0; k < wide.k; k += kBlock) {
    float* part = sums;
    for (int64_t n = begin; n < end; n += kThinColumns, part += rows * kThinColumns) {
      ThinStripBF16({.thin = thin + k / 2 * width,
                     .thin_width = width,
                     .rows = rows,
                     .wide = reinterpret_cast<const uint16_t*>(wide.at(n, k)),
                     .wide_row = wide.stride_k,
                     .k = std::min(kBlock, wide.k - k),
                     .columns = std::min(kThinColumns, end - n),
                     .sums = part,
                     .start = k == 0,
                     .finish = k + kBlock >= wide.k});
    }
  }
  for (int64_t n = begin; n < end; n += kThinColumns, sums += rows * kThinColumns) {
    FinishRows(sums, kThinColumns, y, 0, rows, n, std::min(kThinColumns, end - n), alpha, beta);
  }
}

}  // namespace

bool IsThin(const Operand& a, const Operand& b) {
  return a.dtype == DType::kBF16 && b.dtype == DType::kBF16 && HaveBF16Dot() && !HaveAmx() && a.k >= kMinTerms &&
         ((a.n <= kThinRows && a.source == nullptr && IsWide(b)) ||
          (b.n <= kThinRows && b.source == nullptr && IsWide(a)));
}

void ThinProduct(const Operand& a, const Operand& b, const View& y, float alpha, float beta) {
  const bool a_thin = a.n <= kThinRows;
  const Operand &thin = a_thin ? a : b, &wide = a_thin ? b : a;
  View out = y;  // [thin, wide]
  if (!a_thin) {
    std::swap(out.dims[0], out.dims[1]);
    std::swap(out.strides[0], out.strides[1]);
  }
  const Format pairs{.dtype = DType::kBF16, .element = 2, .pair = 2};
  void* packed = ThreadScratch(kScratchShared, static_cast<size_t>(pairs.Steps(thin.k) * PanelWidth(thin.n)) * 4);
  PackPanel(thin, pairs, 0, thin.n, 0, thin.k, packed);
  const int64_t strips = (wide.n + kThinColumns - 1) / kThinColumns;
  ParallelFor(strips, StripsOfTask(strips), [&](int64_t begin, int64_t end) {
    Task(static_cast<const uint32_t*>(packed), thin.n, wide, begin * kThinColumns, std::min(end * kThinColumns, wide.n),
         out, alpha, beta);
  });
}

}  // namespace lorikeet::internal
