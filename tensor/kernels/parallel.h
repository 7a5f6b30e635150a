// Parallel loops for CPU kernels, over a process-wide pool of worker threads.
//
//   ParallelFor(rows, /*grain=*/16, [&](int64_t begin, int64_t end) { ... });   // chunks [0,16) [16,32) ...
//
// The chunks depend on n and grain only, never on the number of threads, and each is run by exactly one thread; so a
// kernel that keeps its sums inside a chunk gives the same bits for any number of threads. The caller takes part and
// returns when every chunk is done. A loop inside a loop runs in the calling thread. Each thread begins with the same
// part of the range in every loop, so that loops over the same data find it in their core's cache; then it helps out.
// Threads: loops may be started from several threads at once; they then share the workers in turn.
#ifndef LORIKEET_TENSOR_KERNELS_PARALLEL_H_
#define LORIKEET_TENSOR_KERNELS_PARALLEL_H_

#include <cstdint>
#include <type_traits>

namespace lorikeet {

// How many threads loops use, the caller included. Default: the processors this process may run on. n < 1 means that.
void SetNumThreads(int n);
int NumThreads();

namespace internal {
// Runs task(context, i) for every i in [0, tasks).
void RunTasks(int64_t tasks, void (*task)(void* context, int64_t i), void* context);
}  // namespace internal

template <typename F>
void ParallelFor(int64_t n, int64_t grain, F&& body) {
  struct Loop {
    int64_t n, grain;
    std::remove_reference_t<F>* body;
  } loop{n, grain, &body};
  const int64_t chunks = n <= 0 ? 0 : (n + grain - 1) / grain;
  internal::RunTasks(
      chunks,
      [](void* context, int64_t i) {
        Loop& l = *static_cast<Loop*>(context);
        const int64_t begin = i * l.grain, end = begin + l.grain < l.n ? begin + l.grain : l.n;
        (*l.body)(begin, end);
      },
      &loop);
}

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_KERNELS_PARALLEL_H_
