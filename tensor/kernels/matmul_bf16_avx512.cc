// The inner loops for AVX512_BF16. Everything in it has internal linkage but its entry points, so that no
// instruction of that set reaches a program by way of an inline function.
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "tensor/kernels/matmul_bf16_finish.h"
#include "tensor/kernels/matmul_tile.h"

namespace lorikeet::internal {
namespace {

template <int... I>
struct Indices {};
template <int N, int... I>
struct Range : Range<N - 1, N - 1, I...> {};
template <int... I>
struct Range<0, I...> {
  using type = Indices<I...>;
};

template <int I>
struct Index {
  static constexpr int value = I;
};

// f(Index<0>), f(Index<1>), ...: sums stay in registers only if every subscript is a constant.
template <typename F, int... I>
[[gnu::always_inline]] inline void UnrollImpl(F&& f, Indices<I...>) {
  (f(Index<I>{}), ...);
}
template <int N, typename F>
[[gnu::always_inline]] inline void Unroll(F&& f) {
  UnrollImpl(f, typename Range<N>::type{});
}

inline __m512bh Pairs(__m512i v) { return reinterpret_cast<__m512bh>(v); }

inline __m512i BroadcastPair(const char* p) {
  int32_t pair;
  std::memcpy(&pair, p, sizeof pair);
  return _mm512_set1_epi32(pair);
}

// Only the last 16 columns may be fewer.
template <bool kBeta, int R, int V, typename T>
inline void FinishTile(const Strip& s, const __m512 (&sum)[R][V], T* y) {
  const int64_t last = s.columns - 16 * (V - 1);
  const __mmask16 mask = static_cast<__mmask16>((1u << last) - 1);
  __m512 scale[V];
  Unroll<V>([&](auto v) {
    constexpr int j = decltype(v)::value;
    scale[j] = _mm512_set1_ps(s.alpha);
    if (s.gain == nullptr) return;
    const __mmask16 exist = j == V - 1 ? mask : static_cast<__mmask16>(0xffff);
    scale[j] = _mm512_mul_ps(scale[j], _mm512_maskz_loadu_ps(exist, s.gain + 16 * j));
  });
  Unroll<R>([&](auto r) {
    constexpr int i = decltype(r)::value;
    T* row = y + i * s.y_row;
    Unroll<V - 1>([&](auto v) {
      constexpr int j = decltype(v)::value;
      Finish<kBeta>(sum[i][j], scale[j], s.beta, row + 16 * j);
    });
    if (last == 16) {
      Finish<kBeta>(sum[i][V - 1], scale[V - 1], s.beta, row + 16 * (V - 1));
    } else {
      Finish<kBeta>(sum[i][V - 1], scale[V - 1], s.beta, row + 16 * (V - 1), mask);
    }
  });
}
template <int R, int V, typename T>
inline void FinishTile(const Strip& s, const __m512 (&sum)[R][V], int64_t row) {
  T* y = static_cast<T*>(s.y) + row * s.y_row;
  if (s.beta != 0) {
    FinishTile<true>(s, sum, y);
  } else {
    FinishTile<false>(s, sum, y);
  }
}

// sum += rows of one matrix times steps of a panel. Both advance, and so does what a step prefetches, if it does.
template <int R, int V, bool kPrefetch>
[[gnu::always_inline]] inline void Steps(const char*& a, int64_t a_row, int64_t a_step, int64_t steps,
                                         const uint32_t*& panel, Prefetch& next, __m512 (&sum)[R][V]) {
  for (int64_t step = 0; step < steps; ++step, a += a_step, panel += 16 * V) {
    if constexpr (kPrefetch) next.Fetch();
    __m512i b[V];
    Unroll<V>([&](auto v) { b[decltype(v)::value] = _mm512_load_si512(panel + 16 * decltype(v)::value); });
    Unroll<R>([&](auto r) {
      constexpr int i = decltype(r)::value;
      const __m512i pair = BroadcastPair(a + i * a_row);
      Unroll<V>([&](auto v) {
        constexpr int j = decltype(v)::value;
        sum[i][j] = _mm512_dpbf16_ps(sum[i][j], Pairs(pair), Pairs(b[j]));
      });
    });
  }
}

// R rows by 16*V columns, in R*V registers.
template <int R, int V>
void Tile(const Strip& s, int64_t row, int64_t lines, Prefetch* next) {
  __m512 sum[R][V];
  const float* start = static_cast<const float*>(s.start) + row * 16 * V;
  Unroll<R>([&](auto r) {
    Unroll<V>([&](auto v) {
      constexpr int i = decltype(r)::value, j = decltype(v)::value;
      sum[i][j] = s.start == nullptr ? _mm512_setzero_ps() : _mm512_loadu_ps(start + (i * V + j) * 16);
    });
  });
  const uint32_t* panel = static_cast<const uint32_t*>(s.panel);
  const char* a = s.a + row * s.a_row;
  Prefetch walk = *next;
  if (lines > 0) {
    Steps<R, V, true>(a, s.a_row, s.a_step, lines, panel, walk, sum);
    *next = walk;
  }
  Steps<R, V, false>(a, s.a_row, s.a_step, s.steps - lines, panel, walk, sum);
  if (s.u_steps > 0) {
    const char* u = s.u + row * s.u_row;
    Steps<R, V, false>(u, s.u_row, s.u_step, s.u_steps, panel, walk, sum);
  }
  if (s.stop == nullptr) {
    return s.y_bf16 ? FinishTile<R, V, uint16_t>(s, sum, row) : FinishTile<R, V, float>(s, sum, row);
  }
  float* stop = static_cast<float*>(s.stop) + row * 16 * V;
  Unroll<R>([&](auto r) {
    Unroll<V>([&](auto v) {
      constexpr int i = decltype(r)::value, j = decltype(v)::value;
      _mm512_storeu_ps(stop + (i * V + j) * 16, sum[i][j]);
    });
  });
}

using TileFunction = void (*)(const Strip&, int64_t row, int64_t lines, Prefetch* next);

// [V - 1][R - 1]. 6x64, 8x48, 8x32 and 8x16 all reach the peak; more than 8 rows of one stride would evict each other.
constexpr TileFunction kTiles[4][8] = {
    {Tile<1, 1>, Tile<2, 1>, Tile<3, 1>, Tile<4, 1>, Tile<5, 1>, Tile<6, 1>, Tile<7, 1>, Tile<8, 1>},
    {Tile<1, 2>, Tile<2, 2>, Tile<3, 2>, Tile<4, 2>, Tile<5, 2>, Tile<6, 2>, Tile<7, 2>, Tile<8, 2>},
    {Tile<1, 3>, Tile<2, 3>, Tile<3, 3>, Tile<4, 3>, Tile<5, 3>, Tile<6, 3>, Tile<7, 3>, Tile<8, 3>},
    {Tile<1, 4>, Tile<2, 4>, Tile<3, 4>, Tile<4, 4>, Tile<5, 4>, Tile<6, 4>, nullptr, nullptr},
};

constexpr int64_t kAhead = 4096;  // elements of a weight that are on their way: rows lie behind each other

// Four independent sums: one would wait for the dot instruction's latency.
inline float Dot(const uint16_t* x, const uint16_t* w, int64_t k) {
  __m512 sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
  int64_t i = 0;
  for (; i + 128 <= k; i += 128) {
    _mm_prefetch(reinterpret_cast<const char*>(w + i + kAhead), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(w + i + kAhead + 32), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(w + i + kAhead + 64), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(w + i + kAhead + 96), _MM_HINT_T0);
    Unroll<4>([&](auto v) {
      constexpr int j = decltype(v)::value;
      sum[j] = _mm512_dpbf16_ps(sum[j], Pairs(_mm512_loadu_si512(x + i + 32 * j)),
                                Pairs(_mm512_loadu_si512(w + i + 32 * j)));
    });
  }
  for (; i < k; i += 32) {
    const __mmask32 mask = k - i >= 32 ? 0xffffffffu : (1u << (k - i)) - 1;
    sum[0] = _mm512_dpbf16_ps(sum[0], Pairs(_mm512_maskz_loadu_epi16(mask, x + i)),
                              Pairs(_mm512_maskz_loadu_epi16(mask, w + i)));
  }
  return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
}

}  // namespace

void StripBF16Avx512(const Strip& s) {
  const int64_t v = s.width / 16, most = v == 4 ? 6 : 8;
  Prefetch next = s.next;
  int64_t lines = next.lines();
  for (int64_t row = 0; row < s.rows;) {
    const int64_t rows = TileRows(s.rows - row, most), now = lines < s.steps ? lines : s.steps;
    kTiles[v - 1][rows - 1](s, row, now, &next);
    lines -= now;
    row += rows;
  }
}

void DotRowsBF16(const DotRows& d) {
  const uint16_t* x = static_cast<const uint16_t*>(d.x);
  const uint16_t* w = static_cast<const uint16_t*>(d.w);
  for (int64_t i = 0; i < d.rows; ++i) {
    for (int64_t m = 0; m < d.m_count; ++m) {
      d.y[m * d.y_stride + i] = Dot(x + m * d.x_stride, w + i * d.w_stride, d.k);
    }
  }
}

void PackPairsF32(const float* x, int64_t stride, int64_t k, int64_t n, uint32_t* dst, int64_t width) {
  // From 16 of the even row and 16 of the odd one to pairs.
  alignas(64) uint16_t order[32];
  for (int i = 0; i < 32; ++i) order[i] = static_cast<uint16_t>(i / 2 + i % 2 * 16);
  const __m512i interleave = _mm512_load_si512(order);
  for (int64_t s = 0; 2 * s < k; ++s, dst += width) {
    const float* even = x + 2 * s * stride;
    for (int64_t j = 0; j < n; j += 16) {
      const __m512 odd = 2 * s + 1 < k ? _mm512_loadu_ps(even + stride + j) : _mm512_setzero_ps();
      const __m512i both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(odd, _mm512_loadu_ps(even + j)));
      _mm512_storeu_si512(dst + j, _mm512_permutexvar_epi16(interleave, both));
    }
  }
}

}  // namespace lorikeet::internal
