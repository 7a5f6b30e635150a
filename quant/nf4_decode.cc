#include "quant/nf4_decode.h"

#include <algorithm>

#include "hwy/highway.h"

namespace lorikeet {
namespace {

float Scale(const Nf4View& w, int64_t b) {
  if (w.scales_f32 != nullptr) return w.scales_f32[b];
  return w.scale_map[w.scales_u8[b]] * w.scale_scales[b / w.scale_block] + w.scale_mean;
}

namespace hn = hwy::HWY_NAMESPACE;
using Bytes = hn::Full128<uint8_t>;
using Words = hn::Full128<uint16_t>;
using V = hn::Vec<Bytes>;

// The 16 values of a block as byte planes: plane j holds byte j of each, so that a byte shuffle by 16 codes looks
// up one byte of 16 values.
template <typename T>
class Table {
 public:
  explicit Table(const T* value) {
    const Bytes d;
    const uint8_t* bytes = reinterpret_cast<const uint8_t*>(value);
    V v[kPlanes];
    for (int j = 0; j < kPlanes; ++j) v[j] = hn::LoadU(d, bytes + 16 * j);
    if constexpr (kPlanes == 2) {
      plane_[0] = hn::ConcatEven(d, v[1], v[0]);
      plane_[1] = hn::ConcatOdd(d, v[1], v[0]);
    } else {
      const V even0 = hn::ConcatEven(d, v[1], v[0]), even1 = hn::ConcatEven(d, v[3], v[2]);  // bytes 0 and 2
      const V odd0 = hn::ConcatOdd(d, v[1], v[0]), odd1 = hn::ConcatOdd(d, v[3], v[2]);      // bytes 1 and 3
      plane_[0] = hn::ConcatEven(d, even1, even0);
      plane_[1] = hn::ConcatEven(d, odd1, odd0);
      plane_[2] = hn::ConcatOdd(d, even1, even0);
      plane_[3] = hn::ConcatOdd(d, odd1, odd0);
    }
  }

  // The 16 values of 16 codes.
  void Store(V codes, T* out) const {
    const Bytes d;
    const Words w;
    uint8_t* to = reinterpret_cast<uint8_t*>(out);
    const V a = hn::TableLookupBytes(plane_[0], codes), b = hn::TableLookupBytes(plane_[1], codes);
    const V low = hn::InterleaveLower(d, a, b), high = hn::InterleaveUpper(d, a, b);
    if constexpr (kPlanes == 2) {
      hn::StoreU(low, d, to);
      hn::StoreU(high, d, to + 16);
    } else {
      const V e = hn::TableLookupBytes(plane_[2], codes), f = hn::TableLookupBytes(plane_[3], codes);
      const V low2 = hn::InterleaveLower(d, e, f), high2 = hn::InterleaveUpper(d, e, f);
      const auto store = [&](V x, V y, uint8_t* at) {
        const auto p = hn::BitCast(w, x), q = hn::BitCast(w, y);
        hn::StoreU(hn::BitCast(d, hn::InterleaveLower(w, p, q)), d, at);
        hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(w, p, q)), d, at + 16);
      };
      store(low, low2, to);
      store(high, high2, to + 32);
    }
  }

 private:
  static constexpr int kPlanes = sizeof(T);
  V plane_[kPlanes];
};

// 32 elements a step, from whole bytes on; returns how many were done.
template <typename T>
int64_t DecodeWide(const uint8_t* codes, const T* value, int64_t n, T* out) {
  const Bytes d;
  const Table<T> table(value);
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) {
    const V pairs = hn::LoadU(d, codes + i / 2);
    const V even = hn::ShiftRight<4>(pairs), odd = hn::And(pairs, hn::Set(d, 15));
    table.Store(hn::InterleaveLower(d, even, odd), out + i);
    table.Store(hn::InterleaveUpper(d, even, odd), out + i + 16);
  }
  return i;
}

// Elements [begin, end) of one block, whose 16 possible values are in `value`.
template <typename T>
void DecodeRun(const uint8_t* codes, const T* value, int64_t begin, int64_t end, T* out) {
  int64_t i = begin;
  if (i < end && i % 2 == 1) *out++ = value[codes[i++ / 2] & 15];
  if constexpr (sizeof(T) <= 4) {
    if (end - i >= 32) {
      const int64_t done = DecodeWide(codes + i / 2, value, end - i, out);
      i += done;
      out += done;
    }
  }
  for (; i + 1 < end; i += 2, out += 2) {
    const uint8_t pair = codes[i / 2];
    out[0] = value[pair >> 4];
    out[1] = value[pair & 15];
  }
  if (i < end) *out = value[codes[i / 2] >> 4];
}

}  // namespace

void Nf4Scales(const Nf4View& w, int64_t first, int64_t last, float* scales) {
  for (int64_t b = first; b < last; ++b) scales[b - first] = Scale(w, b);
}

template <typename T>
void Nf4Decode(const Nf4View& w, int64_t begin, int64_t end, T* out) {
  for (int64_t i = begin; i < end;) {
    const int64_t b = i / w.block, stop = std::min((b + 1) * w.block, end);
    const float scale = Scale(w, b);
    T value[16];  // a block's weights take 16 values only: round each once
    for (int c = 0; c < 16; ++c) value[c] = T(w.code_map[c] * scale);
    DecodeRun(w.codes, value, i, stop, out);
    out += stop - i;
    i = stop;
  }
}

template void Nf4Decode<float>(const Nf4View&, int64_t, int64_t, float*);
template void Nf4Decode<bf16>(const Nf4View&, int64_t, int64_t, bf16*);
template void Nf4Decode<f16>(const Nf4View&, int64_t, int64_t, f16*);
template void Nf4Decode<double>(const Nf4View&, int64_t, int64_t, double*);

}  // namespace lorikeet
