#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "optim/adamw8.h"
#include "optim/state_block.h"
#include "quant/blockwise8.h"
#include "quant/code_maps.h"
#include "tensor/dtype.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/parallel.h"
#include "tensor/view.h"

namespace lorikeet {
namespace {

constexpr int64_t kBytes = BlockElements(DType::kU8);
constexpr int64_t kGrain = 64;  // blocks a task

View Vector(float* data, int64_t n) {
  View v;
  v.data = data;
  v.dtype = DType::kF32;
  v.rank = 1;
  v.dims[0] = n;
  v.strides[0] = 1;
  return v;
}

// The scale lies behind the codes.
void Decode(const uint8_t* block, const float* map, float* x) {
  float scale;
  std::memcpy(&scale, block + kStateBlock, sizeof scale);
  DecodeBlock8(block, kStateBlock, scale, map, x);
}

void Encode(const float* x, Map8 map, uint8_t* block) {
  float scale;
  EncodeBlock8(x, kStateBlock, map, block, &scale);
  std::memcpy(block + kStateBlock, &scale, sizeof scale);
}

void UpdateBlock(const AdamWSegment& s, int64_t index, const AdamWStep& step) {
  uint8_t* const m_block = s.m.ptr<uint8_t>() + index * kBytes;
  uint8_t* const v_block = s.v.ptr<uint8_t>() + index * kBytes;
  float m[kStateBlock], v[kStateBlock];
  Decode(m_block, SignedDynamicMap().data(), m);
  Decode(v_block, UnsignedDynamicMap().data(), v);
  const int64_t first = index * kStateBlock, n = std::min(kStateBlock, s.p.size() - first);
  kCpuAdamW.update({.g = Vector(s.g.ptr<float>() + first, n),
                    .p = Vector(s.p.ptr<float>() + first, n),
                    .m = Vector(m, n),
                    .v = Vector(v, n),
                    .lr = s.lr,
                    .weight_decay = s.weight_decay},
                   step);
  std::fill(m + n, m + kStateBlock, 0.0f);
  std::fill(v + n, v + kStateBlock, 0.0f);
  Encode(m, Map8::kSigned, m_block);
  Encode(v, Map8::kUnsigned, v_block);
}

void Step(const AdamWSegment* segments, int64_t count, const AdamWStep& step, LaunchContext) {
  std::vector<int64_t> blocks_before = {0};
  for (int64_t s = 0; s < count; ++s) {
    blocks_before.push_back(blocks_before.back() + NumBlocks(segments[s].p.size(), kStateBlock));
  }
  ParallelFor(blocks_before.back(), kGrain, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      const auto after = std::upper_bound(blocks_before.begin(), blocks_before.end(), block);
      const int64_t s = after - blocks_before.begin() - 1;
      UpdateBlock(segments[s], block - blocks_before[s], step);
    }
  });
}

}  // namespace

const AdamW8Kernels kCpuAdamW8 = {.step = Step};

}  // namespace lorikeet
