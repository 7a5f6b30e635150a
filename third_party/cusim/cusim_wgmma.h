// Products by a warpgroup on the simulator (third_party/cuda/wgmma.h says what they do): each warp multiplies its own
// rows, at once. The sums are in f32, over k in ascending order; a device may add in another order.
#ifndef CUSIM_CUSIM_WGMMA_H_
#define CUSIM_CUSIM_WGMMA_H_

#include <cstdint>

#include "third_party/cusim/cusim.h"

// What a device has as a descriptor.
struct SharedMatrix {
  const void* data;
  uint32_t leading_bytes;
};

namespace cusim {

// columns: N. a_registers, or else a.
struct WgmmaCall {
  bool f16, mn_major_b, accumulate;
  int columns;
  float* c;  // [columns / 8][4]
  const uint32_t* a_registers;
  SharedMatrix a, b;
};
void Wgmma(WgmmaCall* call);

}  // namespace cusim

inline bool HasWgmma() { return true; }
inline SharedMatrix KMajor(const void* p) { return {p, 16}; }
inline SharedMatrix MnMajor(const void* p, uint32_t panel_bytes) { return {p, panel_bytes}; }
inline SharedMatrix Behind(const SharedMatrix& m, uint32_t bytes) {
  return {static_cast<const char*>(m.data) + bytes, m.leading_bytes};
}
// Which of two products comes first is a matter of speed.
inline void AwaitTurn(int, int) {}
inline void PassTurn(int, int) {}
inline void WgmmaFence() {}
inline void WgmmaCommit() {}
inline void FenceSharedForWgmma() {}
template <int kTiles>
void WgmmaWait(float (&)[kTiles][4]) {}

inline void WgmmaKeep(const uint32_t (&)[4]) {}

template <bool kF16, bool kMnMajorB, int kTiles>
void Wgmma(float (&c)[kTiles][4], const SharedMatrix& a, const SharedMatrix& b, bool accumulate) {
  cusim::WgmmaCall call{kF16, kMnMajorB, accumulate, 8 * kTiles, &c[0][0], nullptr, a, b};
  cusim::Wgmma(&call);
}
template <bool kF16, bool kMnMajorB, int kTiles>
void Wgmma(float (&c)[kTiles][4], const uint32_t (&a)[4], const SharedMatrix& b, bool accumulate) {
  cusim::WgmmaCall call{kF16, kMnMajorB, accumulate, 8 * kTiles, &c[0][0], a, {}, b};
  cusim::Wgmma(&call);
}

#endif  // CUSIM_CUSIM_WGMMA_H_
