#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "quant/nf4.h"
#include "quant/nf4_panels.h"
#include "tensor/dtype.h"
#include "tensor/kernels/parallel.h"
#include "tensor/ops/random.h"
#include "tensor/random.h"
#include "tensor/tensor.h"
#include "tests/benchmarks/ladder/ladder.h"
#include "tests/benchmarks/ladder/rungs.h"

namespace lorikeet {
namespace {

constexpr int64_t kRows = 1536, kColumns = 576, kWeights = kRows * kColumns;

struct Problem {
  Nf4Tensor q = *QuantizeNf4(tensor::Uniform({kRows, kColumns}, -1, 1, {1}, DType::kBF16));
  Nf4View w = q.view();
  std::vector<bf16> out = std::vector<bf16>(kWeights + 32), want = std::vector<bf16>(kWeights);
  bool in_panels = false;  // the order of `out`

  Problem() { Nf4Decode(w, 0, kWeights, want.data()); }
  // Panels begin at 64 bytes.
  bf16* Out() {
    bf16* p = out.data();
    while (reinterpret_cast<uintptr_t>(p) % 64 != 0) ++p;
    return p;
  }
  double Error() {
    int64_t wrong = 0;
    const bf16* p = Out();
    for (int64_t r = 0; r < kRows; ++r) {
      for (int64_t k = 0; k < kColumns; ++k) {
        const int64_t at = in_panels ? r / 64 * 64 * kColumns + k / 2 * 128 + r % 64 * 2 + k % 2 : r * kColumns + k;
        wrong += p[at].bits != want[static_cast<size_t>(r * kColumns + k)].bits;
      }
    }
    return static_cast<double>(wrong);
  }
};

float Scale(const Nf4View& w, int64_t block) {
  return w.scale_map[w.scales_u8[block]] * w.scale_scales[block / w.scale_block] + w.scale_mean;
}

void WeightByWeight(Problem& p) {
  bf16* out = p.Out();
  for (int64_t i = 0; i < kWeights; ++i) {
    const int code = i % 2 == 0 ? p.w.codes[i / 2] >> 4 : p.w.codes[i / 2] & 15;
    out[i] = bf16(p.w.code_map[code] * Scale(p.w, i / p.w.block));
  }
}

void ScalePerBlock(Problem& p) {
  bf16* out = p.Out();
  for (int64_t b = 0; b < kWeights / 64; ++b) {
    const float scale = Scale(p.w, b);
    for (int64_t i = 64 * b; i < 64 * (b + 1); i += 2) {
      out[i] = bf16(p.w.code_map[p.w.codes[i / 2] >> 4] * scale);
      out[i + 1] = bf16(p.w.code_map[p.w.codes[i / 2] & 15] * scale);
    }
  }
}

void SixteenResultsPerBlock(Problem& p) {
  bf16* out = p.Out();
  for (int64_t b = 0; b < kWeights / 64; ++b) {
    const float scale = Scale(p.w, b);
    bf16 result[16];
    for (int c = 0; c < 16; ++c) result[c] = bf16(p.w.code_map[c] * scale);
    for (int64_t i = 64 * b; i < 64 * (b + 1); i += 2) {
      out[i] = result[p.w.codes[i / 2] >> 4];
      out[i + 1] = result[p.w.codes[i / 2] & 15];
    }
  }
}

void Panels(const Nf4Panels& panels, Problem& p, int threads) {
  SetNumThreads(threads);
  ParallelFor(kRows / 64, 1, [&](int64_t panel, int64_t) {
    uint16_t* out = &p.Out()[panel * 64 * kColumns].bits;
    panels.source().pack_bf16(panels.source().context, true, 0, kColumns, panel * 64, out);
  });
  SetNumThreads(1);
}

}  // namespace

void Nf4Ladder() {
  Problem p;
  const auto panels = std::make_shared<Nf4Panels>(p.q);
  Ladder ladder{
      .title = "NF4 with double quantization to bf16, W [1536,576]",
      .work = 1e-9 * kWeights,
      .unit = "Gweights/s",
      .tolerance = 0,
      .rungs = {{"weight by weight", "the definition: round(code * scale)", [&] { WeightByWeight(p); }},
                {"a scale per block", "64 weights share it", [&] { ScalePerBlock(p); }},
                {"16 results per block", "only 16 products are possible: round those, look the rest up",
                 [&] { SixteenResultsPerBlock(p); }},
                {"shipped: rows", "look up bytes by vector shuffles", [&] { Nf4Decode(p.w, 0, kWeights, p.Out()); }}},
      .error = [&] { return p.Error(); }};
  RunLadder(ladder);
  if (panels->source().pack_bf16 == nullptr) return;
  p.in_panels = true;
  ladder.title = "The same into the panels of a product";
  ladder.rungs = {
      {"shipped, one thread", "32 finished weights in one vpermw, transposed as pairs", [&] { Panels(*panels, p, 1); }},
      {"shipped, two threads", "a panel is a task", [&] { Panels(*panels, p, 2); }}};
  RunLadder(ladder);
}

}  // namespace lorikeet
