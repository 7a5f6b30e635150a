#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/kernels/matmul_tile.h"
#include "tensor/kernels/parallel.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/random.h"
#include "tensor/random.h"
#include "tensor/tensor.h"
#include "tests/benchmarks/ladder/ladder.h"
#include "tests/benchmarks/ladder/rungs.h"

namespace lorikeet {
namespace {

constexpr int64_t kM = 256, kN = 576, kK = 576;

struct Problem {
  Tensor x = tensor::Uniform({kM, kK}, -1, 1, {1}, DType::kBF16),
         w = tensor::Uniform({kN, kK}, -1, 1, {2}, DType::kBF16);
  Tensor y = Tensor::Zeros({kM, kN}, DType::kF32),
         want = tensor::MatMul(x.Cast(DType::kF32), w.Cast(DType::kF32), false, true);
  const bf16* xp = x.data<bf16>().data();
  const bf16* wp = w.data<bf16>().data();
  float* yp = y.data<float>().data();

  double Error() const {
    double worst = 0;
    const float* expected = want.data<float>().data();
    for (int64_t i = 0; i < kM * kN; ++i) {
      const double e = std::fabs(yp[i] - expected[i]);
      if (!(e <= worst)) worst = e;
    }
    return worst;
  }
};

void ThreeLoops(const Problem& p) {
  for (int64_t i = 0; i < kM; ++i) {
    for (int64_t j = 0; j < kN; ++j) {
      float sum = 0;
      for (int64_t k = 0; k < kK; ++k)
        sum += static_cast<float>(p.xp[i * kK + k]) * static_cast<float>(p.wp[j * kK + k]);
      p.yp[i * kN + j] = sum;
    }
  }
}

// W as f32 with the reduction outermost: [kK][kN].
std::vector<float> Transposed(const Problem& p) {
  std::vector<float> wt(static_cast<size_t>(kK * kN));
  for (int64_t j = 0; j < kN; ++j) {
    for (int64_t k = 0; k < kK; ++k) wt[static_cast<size_t>(k * kN + j)] = p.wp[j * kK + k];
  }
  return wt;
}

void RowsOfY(const Problem& p) {
  const std::vector<float> wt = Transposed(p);
  for (int64_t i = 0; i < kM; ++i) {
    float* y = p.yp + i * kN;
    std::fill(y, y + kN, 0.0f);
    for (int64_t k = 0; k < kK; ++k) {
      const float x = p.xp[i * kK + k];
      const float* w = wt.data() + k * kN;
      for (int64_t j = 0; j < kN; ++j) y[j] += x * w[j];
    }
  }
}

// 4 x 16 sums in eight registers of eight floats; GCC's vectors.
using Vector = float __attribute__((vector_size(32), aligned(4)));

void RegisterTiles(const Problem& p) {
  const std::vector<float> wt = Transposed(p);
  for (int64_t j = 0; j < kN; j += 16) {
    for (int64_t i = 0; i < kM; i += 4) {
      Vector sum[4][2] = {};
      for (int64_t k = 0; k < kK; ++k) {
        const Vector* w = reinterpret_cast<const Vector*>(wt.data() + k * kN + j);
        for (int r = 0; r < 4; ++r) {
          const float x = p.xp[(i + r) * kK + k];
          sum[r][0] += x * w[0];
          sum[r][1] += x * w[1];
        }
      }
      for (int r = 0; r < 4; ++r) std::memcpy(p.yp + (i + r) * kN + j, sum[r], sizeof sum[r]);
    }
  }
}

// A shipped inner loop over panels of pairs that are packed in the plainest way: [kK / 2][64][2].
void PairsAnd(void (*strip)(const internal::Strip&), const Problem& p) {
  std::vector<bf16> memory(static_cast<size_t>(kK * 64 + 32));
  bf16* panel = memory.data();
  while (reinterpret_cast<uintptr_t>(panel) % 64 != 0) ++panel;
  for (int64_t j = 0; j < kN; j += 64) {
    for (int64_t n = 0; n < 64; ++n) {
      for (int64_t k = 0; k < kK; ++k) panel[k / 2 * 128 + 2 * n + k % 2] = p.wp[(j + n) * kK + k];
    }
    strip({.a = reinterpret_cast<const char*>(p.xp),
           .a_row = kK * 2,
           .a_step = 4,
           .rows = kM,
           .panel = panel,
           .width = 64,
           .columns = 64,
           .steps = kK / 2,
           .y = p.yp + j,
           .y_row = kN});
  }
}

void Shipped(Problem& p, int threads) {
  SetNumThreads(threads);
  tensor::MatMulInto(p.y, p.x, false, p.w, true);
  SetNumThreads(1);
}

}  // namespace

void MatMulLadder() {
  Problem p;
  Ladder ladder{.title = "Matrix product: y = x*W^T, x [256,576], W [576,576], bf16 with f32 sums",
                .work = 2e-9 * kM * kN * kK,
                .unit = "GFLOP/s",
                .tolerance = 1e-2,
                .rungs = {{"three loops", "the definition", [&] { ThreeLoops(p); }},
                          {"whole rows of y", "neighbouring outputs are one vector", [&] { RowsOfY(p); }},
                          {"4 x 16 sums in registers", "y leaves the inner loop; a load feeds four products",
                           [&] { RegisterTiles(p); }}},
                .error = [&] { return p.Error(); }};
  if (internal::HaveBF16Dot()) {
    ladder.rungs.push_back({"6 x 64 sums of bf16 pairs", "an instruction that multiplies two pairs: twice f32's peak",
                            [&] { PairsAnd(internal::StripBF16Avx512, p); }});
  }
  if (internal::HaveAmx()) {
    ladder.rungs.push_back({"32 x 32 sums in tiles",
                            "an instruction that multiplies two tiles of 16 x 32: 32 times that peak",
                            [&] { PairsAnd(internal::StripBF16Amx, p); }});
  }
  ladder.rungs.push_back({"shipped, one thread", "panels packed in vector instructions", [&] { Shipped(p, 1); }});
  ladder.rungs.push_back({"shipped, two threads", "tasks of rows x panels, no sum split", [&] { Shipped(p, 2); }});
  RunLadder(ladder);
}

}  // namespace lorikeet
