// 16 bytes at once: what a thread loads and stores where memory is what a kernel waits for.
//
//   const auto x = Load<Pack<bf16>>(row + i);  Pack<bf16> y;
//   for (int j = 0; j < Pack<bf16>::kCount; ++j) y.v[j] = bf16(2 * float(x.v[j]));
//   Store(out + i, y);
//
// The address is a multiple of 16 bytes: Vectorisable(view) says whether every row of a view begins at one and has
// whole packs. kOnce: of what is not soon used again, and the first to leave the caches. Only for .cu files; nvcc and
// the simulator both take it.
#ifndef LORIKEET_TENSOR_KERNELS_CUDA_VECTOR_H_
#define LORIKEET_TENSOR_KERNELS_CUDA_VECTOR_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "tensor/dtype.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {

inline constexpr int64_t kPackBytes = 16;

template <typename T>
struct alignas(16) Pack {
  static constexpr int kCount = static_cast<int>(kPackBytes / sizeof(T));
  T v[kCount];
};

// What a struct of kBytes is moved as: its members, assigned, would be moved one by one where the compiler has lost
// sight of their alignment.
template <size_t kBytes>
using WordOf =
    std::conditional_t<kBytes == 2, uint16_t,
                       std::conditional_t<kBytes == 4, uint32_t, std::conditional_t<kBytes == 8, uint2, uint4>>>;
template <typename P>
struct WordsOf {
  using Word = WordOf<sizeof(P)>;
  static constexpr int kCount = static_cast<int>(sizeof(P) / sizeof(Word));
  static_assert(sizeof(Word) * kCount == sizeof(P));
  Word v[kCount];
};

template <typename P, bool kOnce = false>
__device__ inline WordsOf<P> LoadWords(const void* at) {
  using Word = typename WordsOf<P>::Word;
  WordsOf<P> words;
  for (int i = 0; i < WordsOf<P>::kCount; ++i) {
    const Word* from = static_cast<const Word*>(at) + i;
    words.v[i] = kOnce ? LoadBitsOnce<Word>(from) : LoadBits<Word>(from);
  }
  return words;
}
template <typename P, bool kOnce = false>
__device__ inline P Load(const void* at) {
  return std::bit_cast<P>(LoadWords<P, kOnce>(at));
}

template <bool kOnce = false, typename P>
__device__ inline void Store(void* at, const P& pack) {
  using Word = typename WordsOf<P>::Word;
  const auto words = std::bit_cast<WordsOf<P>>(pack);
  for (int i = 0; i < WordsOf<P>::kCount; ++i) {
    Word* to = static_cast<Word*>(at) + i;
    kOnce ? StoreBitsOnce<Word>(to, words.v[i]) : StoreBits<Word>(to, words.v[i]);
  }
}

// Rows of whole packs, each at a multiple of 16 bytes. A rank of 0 is no obstacle: an absent view.
inline bool Vectorisable(const View& v) {
  if (v.rank == 0) return true;
  const int64_t pack = kPackBytes / static_cast<int64_t>(SizeOf(v.dtype));
  if (reinterpret_cast<uintptr_t>(v.data) % kPackBytes != 0 || v.dims[v.rank - 1] % pack != 0) return false;
  if (v.strides[v.rank - 1] != 1) return false;
  for (int i = 0; i + 1 < v.rank; ++i) {
    if (v.strides[i] % pack != 0) return false;
  }
  return true;
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_CUDA_VECTOR_H_
