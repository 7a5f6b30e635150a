#include "third_party/cusim/cusim_mma.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace cusim {
namespace {

uint32_t BitsOf(float x) {
  uint32_t u;
  std::memcpy(&u, &x, 4);
  return u;
}
float FloatOf(uint32_t u) {
  float x;
  std::memcpy(&x, &u, 4);
  return x;
}

uint32_t BF16(float x) {
  const uint32_t u = BitsOf(x);
  if (std::isnan(x)) return 0x7fff;  // as cvt.rn.bf16x2 does
  return (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

uint32_t F16(float x) {
  const uint32_t sign = BitsOf(x) >> 16 & 0x8000;
  const float magnitude = std::fabs(x);
  if (std::isnan(x)) return 0x7fff;
  if (magnitude >= 65520) return sign | 0x7c00;
  // A step of the last place is 2^-24 below 2^-14, and grows with the exponent above. Carries run into the exponent.
  const int exponent = magnitude < 0x1p-14f ? -14 : std::ilogb(magnitude);
  const uint32_t steps = static_cast<uint32_t>(std::nearbyint(std::ldexp(magnitude, 10 - exponent)));
  return sign | (steps + static_cast<uint32_t>(exponent + 14) * 1024);
}

float FromF16(uint32_t h) {
  const uint32_t sign = (h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 1023;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  return FloatOf(sign | (exponent == 31 ? 255 : exponent + 112) << 23 | mantissa << 13);
}

struct MmaLane {
  bool f16;
  float* c;
  const uint32_t* a;
  uint32_t b[2];
};

float Half(bool f16, uint32_t pair, int which) {
  return HalfToFloat(f16, static_cast<uint16_t>(which == 0 ? pair & 0xffff : pair >> 16));
}

// Lane 4 * g + t holds, of a: rows g and g + 8, columns 2t, 2t + 1 and 8 on; of b: column g, the same k; of c: rows g
// and g + 8, columns 2t and 2t + 1.
void RunMma(void* const lanes[32]) {
  float a[16][16], b[8][16];
  for (int l = 0; l < 32; ++l) {
    const MmaLane& lane = *static_cast<const MmaLane*>(lanes[l]);
    const int g = l / 4, t = l % 4;
    for (int i = 0; i < 8; ++i) {
      a[g + i / 2 % 2 * 8][2 * t + i % 2 + i / 4 * 8] = Half(lane.f16, lane.a[i / 2], i % 2);
    }
    for (int i = 0; i < 4; ++i) b[g][2 * t + i % 2 + i / 2 * 8] = Half(lane.f16, lane.b[i / 2], i % 2);
  }
  for (int l = 0; l < 32; ++l) {
    float* c = static_cast<const MmaLane*>(lanes[l])->c;
    for (int i = 0; i < 4; ++i) {
      const float* row = a[l / 4 + i / 2 * 8];
      const float* column = b[2 * (l % 4) + i % 2];
      for (int k = 0; k < 16; ++k) c[i] += row[k] * column[k];
    }
  }
}

// Row i of matrix m comes from lane 8 * m + i. Lane 4 * g + t gets the elements (g, 2t) and (g, 2t + 1), or,
// transposed, (2t, g) and (2t + 1, g).
void RunLoadMatrices(void* const lanes[32]) {
  const auto lane = [&](int l) { return static_cast<const MatrixLane*>(lanes[l]); };
  for (int l = 0; l < 32; ++l) {
    const int g = l / 4, t = l % 4;
    for (int m = 0; m < lane(l)->count; ++m) {
      const auto at = [&](int row, int column) -> uint32_t { return lane(8 * m + row)->row[column]; };
      lane(l)->registers[m] =
          lane(l)->transposed ? at(2 * t, g) | at(2 * t + 1, g) << 16 : at(g, 2 * t) | at(g, 2 * t + 1) << 16;
    }
  }
}

struct Queued {
  AsyncCopy copy;
  int group;
};
struct CopyQueue {
  std::vector<Queued> copies;
  int groups = 0;
};
// Of the threads of one block; stats().threads grows with every block.
thread_local std::vector<CopyQueue> queues;
thread_local uint64_t queues_of = 0;

CopyQueue& MyQueue() {
  if (queues_of != stats().threads) {
    queues.assign(blockDim.x * blockDim.y * blockDim.z, {});
    queues_of = stats().threads;
  }
  return queues[threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)];
}

}  // namespace

float HalfToFloat(bool f16, uint16_t bits) { return f16 ? FromF16(bits) : FloatOf(uint32_t{bits} << 16); }

uint32_t PackBF16(float low, float high) { return BF16(low) | BF16(high) << 16; }
uint32_t PackF16(float low, float high) { return F16(low) | F16(high) << 16; }

void Mma(bool f16, float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  MmaLane lane{.f16 = f16, .c = c, .a = a, .b = {b0, b1}};
  RunWarp(RunMma, &lane);
}

void LoadMatrices(MatrixLane* lane) { RunWarp(RunLoadMatrices, lane); }

void QueueCopy(const AsyncCopy& copy) {
  CopyQueue& q = MyQueue();
  q.copies.push_back({copy, q.groups});
}

void CommitCopies() { ++MyQueue().groups; }

bool NextDue(int pending, AsyncCopy* copy) {
  CopyQueue& q = MyQueue();
  if (q.copies.empty() || q.copies.front().group >= q.groups - pending) return false;
  *copy = q.copies.front().copy;
  q.copies.erase(q.copies.begin());
  return true;
}

void Misaligned(const char* instruction, const void* p) {
  std::fprintf(stderr, "cusim: %s of %p, which is no multiple of 16 bytes\n", instruction, p);
  std::abort();
}

}  // namespace cusim
