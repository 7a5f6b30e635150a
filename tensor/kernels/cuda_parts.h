// Long rows, read twice: first for what the whole row tells, then to write something of every element. A block has a
// row, of which it keeps in shared memory as much as there is room for. The longest rows are cut in parts, which blocks
// read side by side; whichever of them is the last to have finished goes on to the second reading, of the whole row.
//
//   const RowParts parts = PartsOf<Summary>(rows, bytes of a row, whether it is read again, stream);
//   LaunchParts(Kernel, parts, stream, parts, ...);
//
//   __global__ void Kernel(RowParts<Summary> parts, ...) {
//     CUDA_DYNAMIC_SHARED(uint4, shared);
//     const auto kept = parts.KeptIn<T>(shared);
//     for (PartLoop loop(parts); loop.More(); loop.Next()) {
//       SpanOf(row, columns, loop, parts.parts).Each(kept, ...);
//       Summary s = ...;                                            // the same in every thread of the block
//       if (!Complete(parts, loop, &s)) continue;                 // another block has the rest to do
//       RowSpan<T>(row, 0, columns).EachAgain(kept, ...);           // s is the row's
//
// Summaries are taken together in the order of the parts, by s.Take(next), so that a result does not depend on who was
// last. Only for .cu files.
#ifndef LORIKEET_TENSOR_KERNELS_CUDA_PARTS_H_
#define LORIKEET_TENSOR_KERNELS_CUDA_PARTS_H_

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

#include "tensor/kernels/cuda_chunk.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_reduce.h"
#include "tensor/kernels/cuda_scratch.h"
#include "tensor/kernels/cuda_vector.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {

inline constexpr int kPartThreads = 1024;  // at most: one such block fills a multiprocessor, nearly
inline constexpr int64_t kPartBytes = 640 << 10, kMaxParts = 16;

// How much of a row of one part a block keeps in its shared memory, so that less is read again: what the device has,
// less 2 KB for variables, in steps of what all threads take at once.
inline int64_t KeptBytes(int64_t row_bytes) {
  static const int64_t limit = [] {
    int most = 0;
    return cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0) == cudaSuccess ? most : 0;
  }();
  constexpr int64_t kStep = kPartThreads * kPackBytes;
  const int64_t most = (limit - 2048) / kStep, wanted = (row_bytes + kStep - 1) / kStep;
  return (wanted < most ? wanted : most < 0 ? 0 : most) * kStep;
}

inline int64_t MostKeptBytes() { return KeptBytes(INT64_MAX / 2); }

// Chunks of a row in shared memory: its first ones.
template <typename T>
struct Kept {
  using Raw = RawChunk<T, static_cast<int>(kPackBytes / sizeof(T))>;
  Raw* chunk;
  int64_t chunks;  // no more than these
};

template <typename Summary>
struct RowParts {
  int64_t rows, parts, kept_bytes;  // of dynamic shared memory
  unsigned threads;                 // of a block: fewer for short rows
  Summary* summaries;               // [rows, parts]
  uint32_t* finished;               // [rows], of the parts

  template <typename T>
  __device__ Kept<T> KeptIn(void* shared) const {
    return {static_cast<typename Kept<T>::Raw*>(shared), kept_bytes / kPackBytes};
  }
  unsigned blocks() const { return static_cast<unsigned>(rows * parts < (1 << 30) ? rows * parts : 1 << 30); }
};

// How many parts is a matter of the row's size alone. A row of several is read again as a whole, by a block that knows
// one of them: nothing is kept of it.
template <typename Summary>
RowParts<Summary> PartsOf(int64_t rows, int64_t row_bytes, bool reads_again, cudaStream_t stream) {
  static_assert(std::is_trivially_copyable_v<Summary>);
  const int64_t parts = (row_bytes + kPartBytes - 1) / kPartBytes;
  unsigned threads = 128;
  while (threads < kPartThreads && 4 * kPackBytes * threads < row_bytes) threads *= 2;
  RowParts<Summary> p = {rows, parts < 1 ? 1 : (parts < kMaxParts ? parts : kMaxParts), 0, threads, nullptr, nullptr};
  if (p.parts == 1) {
    p.kept_bytes = reads_again ? KeptBytes(row_bytes) : 0;
    return p;
  }
  const size_t counts = static_cast<size_t>(rows) * sizeof(uint32_t);
  const size_t aligned = (counts + alignof(Summary) - 1) / alignof(Summary) * alignof(Summary);
  void* scratch = CudaScratch(kCudaScratchPartials, aligned + static_cast<size_t>(rows * p.parts) * sizeof(Summary));
  p.finished = static_cast<uint32_t*>(scratch);
  p.summaries = reinterpret_cast<Summary*>(static_cast<char*>(scratch) + aligned);
  CheckCuda(cudaMemsetAsync(p.finished, 0, counts, stream), "parts of rows");
  return p;
}

template <typename Kernel, typename Summary, typename... A>
cudaError_t LaunchParts(Kernel* kernel, const RowParts<Summary>& p, cudaStream_t stream, A&&... args) {
  const auto shared = static_cast<size_t>(p.kept_bytes);
  if (shared > 0) {
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(MostKeptBytes()));
    if (error != cudaSuccess) return error;
  }
  return Launch(kernel, p.blocks(), p.threads, shared, stream, std::forward<A>(args)...);
}

// A block's tasks: all parts of a row, then those of the next.
class PartLoop {
 public:
  template <typename Summary>
  __device__ explicit PartLoop(const RowParts<Summary>& p)
      : parts_(p.parts), tasks_(p.rows * p.parts), at_(blockIdx.x) {}
  __device__ bool More() const { return at_ < tasks_; }
  __device__ void Next() { at_ += gridDim.x; }
  __device__ int64_t row() const { return parts_ == 1 ? at_ : at_ / parts_; }
  __device__ int64_t part() const { return parts_ == 1 ? 0 : at_ % parts_; }

 private:
  int64_t parts_, tasks_, at_;
};

// Elements [begin, end) of a row that is a run, of any length and so at any address: elements up to the first multiple
// of 16 bytes, chunks, and what is left.
template <typename T>
struct RowSpan {
  static constexpr int kCount = static_cast<int>(kPackBytes / sizeof(T));
  static constexpr int kAhead = 4;  // chunks that a thread asks for before it looks at the first
  const T* x;                       // the row
  int64_t begin, end, first, chunks;

  __device__ RowSpan(const T* row, int64_t begin, int64_t end) : x(row), begin(begin), end(end) {
    const auto past = reinterpret_cast<uintptr_t>(x + begin) % kPackBytes;
    first = min(end, begin + static_cast<int64_t>((kPackBytes - past) % kPackBytes / sizeof(T)));
    chunks = (end - first) / kCount;
  }
  // f(v, i): kCount or one elements from i on. The first chunks are kept.
  template <typename F>
  __device__ void Each(const Kept<T>& kept, F f) const {
    const auto use = [&](const auto& chunk, int64_t c) {
      if (c < kept.chunks) kept.chunk[c] = chunk;
      Pass(chunk, first + c * kCount, f);
    };
    InChunks(
        chunks, [&](int64_t c) { return Read<false>(c); }, use);
    Ends(f);
  }
  // Once more, after a barrier: what was read last is the first, since it is still in the device's cache.
  template <typename F>
  __device__ void EachAgain(const Kept<T>& kept, F f) const {
    Ends(f);
    const int64_t mine = min(chunks, kept.chunks), last = chunks - 1;
    const auto use = [&](const auto& chunk, int64_t c) { Pass(chunk, first + c * kCount, f); };
    const auto use_from_end = [&](const auto& chunk, int64_t c) { use(chunk, last - c); };
    InChunks(
        chunks - mine, [&](int64_t c) { return Read<true>(last - c); }, use_from_end);
    InChunks(
        mine, [&](int64_t c) { return kept.chunk[c]; }, use);  // by the thread that kept them
  }

 private:
  template <bool kOnce>
  __device__ RawChunk<T, kCount> Read(int64_t c) const {
    return LoadRaw<kCount, kOnce>(x + first + c * kCount);
  }
  // use(read(c), c) for those c from 0 to n - 1 that are this thread's.
  template <typename R, typename F>
  __device__ void InChunks(int64_t n, R read, F use) const {
    const int64_t step = blockDim.x;
    for (int64_t c = threadIdx.x; c < n; c += kAhead * step) {
      RawChunk<T, kCount> ahead[kAhead] = {};
      CUDA_UNROLL
      for (int k = 0; k < kAhead; ++k) {
        if (c + k * step < n) ahead[k] = read(c + k * step);
      }
      CUDA_UNROLL
      for (int k = 0; k < kAhead; ++k) {
        if (c + k * step < n) use(ahead[k], c + k * step);
      }
    }
  }
  template <typename F>
  __device__ void Ends(F f) const {
    if (begin + threadIdx.x < first) One(begin + threadIdx.x, f);
    const int64_t tail = first + chunks * kCount + threadIdx.x;
    if (tail < end) One(tail, f);
  }
  template <int kN, typename F>
  __device__ static void Pass(const RawChunk<T, kN>& chunk, int64_t i, F f) {
    float v[kN];
    Widen(chunk, v);
    f(v, i);
  }
  template <typename F>
  __device__ void One(int64_t i, F f) const {
    Pass(LoadRaw<1>(x + i), i, f);
  }
};

// The part of the row that the loop is at.
template <typename T>
__device__ RowSpan<T> SpanOf(const T* row, int64_t columns, const PartLoop& loop, int64_t parts) {
  const int64_t each = (columns + parts - 1) / parts;
  return {row, min(columns, loop.part() * each), min(columns, (loop.part() + 1) * each)};
}

// e^x, with an error that grows with |x|: |x|/2 units in the last place. For sums, in which such terms count for
// little, and for results of 16 bits.
__device__ inline float RoughExp(float x) { return Exp2Approx(x * 1.4426950408889634f); }

// m = max x and s = sum e^(x - m), of no numbers -infinity and 0; of -infinities s is 0, and NaN where a NaN or
// +infinity is among the numbers (fmaxf passes over a NaN, the sum does not).
struct MaxSum {
  float max = -std::numeric_limits<float>::infinity(), sum = 0;

  // What to subtract in place of m: minus -infinity would give NaN.
  __device__ static float Shift(float max) { return max == -std::numeric_limits<float>::infinity() ? 0.0f : max; }

  // The largest of x.
  template <int kN>
  __device__ float Add(const float (&x)[kN]) {
    float larger = x[0], more = 0;
    for (int j = 1; j < kN; ++j) larger = fmaxf(larger, x[j]);
    if (larger > max) {
      sum *= RoughExp(max - larger);
      max = larger;
    }
    const float shift = Shift(max);
    for (int j = 0; j < kN; ++j) more += RoughExp(x[j] - shift);
    sum += more;
    return larger;
  }
  __device__ void Take(const MaxSum& other) {
    const float all = fmaxf(max, other.max), shift = Shift(all);
    sum = sum * expf(max - shift) + other.sum * expf(other.max - shift);
    max = all;
  }
  // Of the whole block: every thread gets it.
  __device__ void Combine() {
    const float all =
        BlockReduce(max, -std::numeric_limits<float>::infinity(), [](float a, float b) { return fmaxf(a, b); });
    sum = BlockSum(sum * expf(max - Shift(all)));
    max = all;
  }
};

template <typename Summary>
__device__ inline Summary ReadPastL1(const Summary* p) {
  struct Words {
    uint32_t v[sizeof(Summary) / sizeof(uint32_t)];
  } words;
  static_assert(sizeof(Words) == sizeof(Summary));
  for (size_t i = 0; i < sizeof(Summary) / sizeof(uint32_t); ++i) {
    words.v[i] = LoadBitsPastL1<uint32_t>(reinterpret_cast<const char*>(p) + i * sizeof(uint32_t));
  }
  return std::bit_cast<Summary>(words);
}

// Whether this block has the row's last part, and then the row's summary. The first thread hands its part's over before
// it counts it, and the last block reads them past the cache of its multiprocessor, which other rows' may be in.
template <typename Summary>
__device__ bool Complete(const RowParts<Summary>& p, const PartLoop& loop, Summary* s) {
  if (p.parts == 1) return true;
  CUDA_SHARED(bool, last);
  Summary* const all = p.summaries + loop.row() * p.parts;
  if (threadIdx.x == 0) {
    all[loop.part()] = *s;
    __threadfence();
    last = atomicAdd(&p.finished[loop.row()], 1u) + 1 == static_cast<uint32_t>(p.parts);
    __threadfence();
  }
  __syncthreads();
  const bool mine = last;
  __syncthreads();  // it may be written again
  if (!mine) return false;
  Summary sum = ReadPastL1(all);
  for (int64_t part = 1; part < p.parts; ++part) sum.Take(ReadPastL1(all + part));
  *s = sum;
  return true;
}

}  // namespace lorikeet::internal

#endif  // LORIKEET_TENSOR_KERNELS_CUDA_PARTS_H_
