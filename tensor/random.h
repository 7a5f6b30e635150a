// Counter-based randomness: a key and a counter give the bits, so there is no hidden state to save, to share between
// threads or to get out of step when a run resumes.
//
//   RngKey root{.seed = 42};
//   RngKey step = root.Fold(step_index), layer = step.Fold(layer_index);
//   std::array<uint32_t, 4> r = Philox(layer, /*counter=*/i);
//
// Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). Compiles under nvcc.
#ifndef LORIKEET_TENSOR_RANDOM_H_
#define LORIKEET_TENSOR_RANDOM_H_

#include <cstdint>

namespace lorikeet {

struct RngKey {
  uint64_t seed = 0;
  uint64_t stream = 0;

  // A key for a part: independent of its siblings' and of this one. Mixes with splitmix64's finaliser.
  constexpr RngKey Fold(uint64_t id) const {
    uint64_t z = stream + 0x9e3779b97f4a7c15u * (id + 1);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return {seed, z ^ (z >> 31)};
  }
  friend constexpr bool operator==(const RngKey&, const RngKey&) = default;
};

// A key that a kernel is to use: one that is known when the kernel is given, or one that lies in the kernel's memory
// and is read when it runs, so that work which is given again (tensor/cuda_graph.h) draws anew.
struct KeySource {
  constexpr KeySource(RngKey key) : key(key) {}  // NOLINT: a key is a source
  constexpr KeySource(const RngKey* base, uint64_t part) : base(base), part(part) {}

  RngKey key;
  const RngKey* base = nullptr;  // not null: the key is base->Fold(part)
  uint64_t part = 0;

  constexpr RngKey Get() const { return base != nullptr ? base->Fold(part) : key; }
};

struct PhiloxBlock {
  uint32_t v[4];
};

// The 128 random bits of counter `counter` (64 bits) under `key`: words {counter, stream} keyed by the seed.
constexpr PhiloxBlock Philox(RngKey key, uint64_t counter) {
  uint32_t c0 = static_cast<uint32_t>(counter), c1 = static_cast<uint32_t>(counter >> 32);
  uint32_t c2 = static_cast<uint32_t>(key.stream), c3 = static_cast<uint32_t>(key.stream >> 32);
  uint32_t k0 = static_cast<uint32_t>(key.seed), k1 = static_cast<uint32_t>(key.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = 0xD2511F53ull * c0, p1 = 0xCD9E8D57ull * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// Uniform in [0, 1): the upper 24 bits.
constexpr float ToUnitFloat(uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1p-24f; }

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_RANDOM_H_
