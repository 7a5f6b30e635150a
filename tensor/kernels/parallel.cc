#include "tensor/kernels/parallel.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace lorikeet {
namespace {

thread_local bool inside_loop = false;

// Waiting: a while in a tight loop, then giving way to whoever else wants the processor, then asleep.
constexpr int kSpins = 1000;
constexpr int kYields = 100;

std::vector<int> AllowedProcessors() {
  cpu_set_t set;
  std::vector<int> processors;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int i = 0; i < CPU_SETSIZE; ++i) {
      if (CPU_ISSET(i, &set)) processors.push_back(i);
    }
  }
  if (processors.empty()) processors.push_back(0);
  return processors;
}

// Returns when done() is true, or gives up spinning with false.
template <typename F>
bool Spin(F&& done) {
  for (int i = 0; i < kSpins; ++i) {
    if (done()) return true;
    __builtin_ia32_pause();
  }
  for (int i = 0; i < kYields; ++i) {
    if (done()) return true;
    std::this_thread::yield();
  }
  return false;
}

// The tasks of a loop are split into one run of neighbours per thread, so that loops over the same data find it in the
// same core's cache. A thread that is done with its own run takes tasks from the others'.
//
// Nothing waits for a worker, only for tasks: one that sleeps through a loop holds nothing back. A worker that comes
// late looks at tasks of a loop that is over, or of the next one; `claimed` tells it: it holds the loop's number in its
// upper half. Before the next loop's fields are written, every share is closed under the new number. So whoever has
// seen a new field finds its claim of the old loop refused, and whoever claims a task has read the fields of its loop.
class Pool {
 public:
  static Pool& Get() {
    static Pool* pool = new Pool();  // never destroyed: workers may outlive main's statics
    return *pool;
  }

  int threads() const { return threads_.load(std::memory_order_relaxed); }

  void Resize(int n) {
    std::lock_guard<std::mutex> turn(turn_);
    StopWorkers();
    StartWorkers(n);
  }

  void Run(int64_t tasks, void (*task)(void*, int64_t), void* context) {
    std::lock_guard<std::mutex> turn(turn_);
    for (int64_t first = 0; first < tasks; first += kMostTasks) {
      RunBatch(first, static_cast<uint32_t>(std::min(kMostTasks, tasks - first)), task, context);
    }
  }

 private:
  static constexpr int64_t kMostTasks = int64_t{1} << 30;
  static constexpr uint32_t kClosed = ~uint32_t{0};  // as the next task: there is none

  struct alignas(64) Share {
    std::atomic<uint64_t> claimed{0};  // loop number << 32 | next task
  };

  Pool() { StartWorkers(0); }

  void StartWorkers(int n) {
    std::vector<int> processors = AllowedProcessors();
    const int count = n < 1 ? static_cast<int>(processors.size()) : n;
    shares_ = std::make_unique<Share[]>(static_cast<size_t>(count));
    threads_ = count;
    // A worker woken on the caller's processor would wait for it, so each has its own, if there are enough.
    const bool pin = count > 1 && count <= static_cast<int>(processors.size());
    std::stable_partition(processors.begin(), processors.end(), [here = sched_getcpu()](int p) { return p == here; });
    for (int i = 1; i < count; ++i) {
      workers_.emplace_back([this, i, seen = loop_.load(), processor = pin ? processors[static_cast<size_t>(i)] : -1] {
        if (processor >= 0) Pin(processor);
        Serve(i, seen);
      });
    }
  }

  void StopWorkers() {
    stop_ = true;
    loop_.fetch_add(1, std::memory_order_release);
    loop_.notify_all();
    for (std::thread& w : workers_) w.join();
    workers_.clear();
    stop_ = false;
  }

  static void Pin(int processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);  // where refused, the scheduler decides
  }

  void RunBatch(int64_t first, uint32_t tasks, void (*task)(void*, int64_t), void* context) {
    const uint32_t loop = loop_.load(std::memory_order_relaxed) + 1;
    for (int i = 0; i < threads(); ++i) {
      shares_[static_cast<size_t>(i)].claimed.store(uint64_t{loop} << 32 | kClosed, std::memory_order_relaxed);
    }
    first_.store(first, std::memory_order_release);
    tasks_.store(tasks, std::memory_order_release);
    task_.store(task, std::memory_order_release);
    context_.store(context, std::memory_order_release);
    pending_.store(tasks, std::memory_order_relaxed);
    for (int i = 0; i < threads(); ++i) {
      shares_[static_cast<size_t>(i)].claimed.store(uint64_t{loop} << 32 | ShareBegin(tasks, i),
                                                    std::memory_order_release);
    }
    loop_.store(loop, std::memory_order_release);
    loop_.notify_all();
    Work(0, loop);
    const auto done = [&] { return pending_.load(std::memory_order_acquire) == 0; };
    if (Spin(done)) return;
    for (uint32_t left; (left = pending_.load(std::memory_order_acquire)) != 0;) pending_.wait(left);
  }

  void Serve(int thread, uint32_t seen) {
    inside_loop = true;
    while (true) {
      if (!Spin([&] { return loop_.load(std::memory_order_acquire) != seen; })) loop_.wait(seen);
      seen = loop_.load(std::memory_order_acquire);
      if (stop_) return;
      Work(thread, seen);
    }
  }

  uint32_t ShareBegin(uint32_t tasks, int thread) const {
    return static_cast<uint32_t>(uint64_t{tasks} * static_cast<uint64_t>(thread) / static_cast<uint64_t>(threads()));
  }

  // Does tasks of this loop until none is left unclaimed, the thread's own share first.
  void Work(int thread, uint32_t loop) {
    const int count = threads();
    for (int i = 0; i < count; ++i) {
      const int share = (thread + i) % count;
      while (DoOne(share, loop)) {
      }
    }
  }

  bool DoOne(int share, uint32_t loop) {
    std::atomic<uint64_t>& claimed = shares_[static_cast<size_t>(share)].claimed;
    uint64_t at = claimed.load(std::memory_order_acquire);
    while (true) {
      const uint32_t index = static_cast<uint32_t>(at);
      if (at >> 32 != loop || index >= ShareBegin(tasks_.load(std::memory_order_acquire), share + 1)) return false;
      void (*const task)(void*, int64_t) = task_.load(std::memory_order_acquire);
      void* const context = context_.load(std::memory_order_acquire);
      const int64_t first = first_.load(std::memory_order_acquire);
      if (!claimed.compare_exchange_weak(at, at + 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
      task(context, first + index);
      if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) pending_.notify_one();
      return true;
    }
  }

  std::mutex turn_;  // one loop at a time
  std::atomic<int> threads_{1};
  std::vector<std::thread> workers_;
  std::unique_ptr<Share[]> shares_;
  std::atomic<bool> stop_{false};
  alignas(64) std::atomic<uint32_t> loop_{0};  // its number; workers sleep on it
  std::atomic<uint32_t> tasks_{0};
  std::atomic<int64_t> first_{0};
  std::atomic<void (*)(void*, int64_t)> task_{nullptr};
  std::atomic<void*> context_{nullptr};
  alignas(64) std::atomic<uint32_t> pending_{0};  // tasks not done; the caller sleeps on it
};

}  // namespace

void SetNumThreads(int n) { Pool::Get().Resize(n); }
int NumThreads() { return Pool::Get().threads(); }

namespace internal {

void RunTasks(int64_t tasks, void (*task)(void*, int64_t), void* context) {
  if (tasks <= 0) return;
  if (tasks == 1 || inside_loop || NumThreads() == 1) {
    for (int64_t i = 0; i < tasks; ++i) task(context, i);
    return;
  }
  inside_loop = true;
  Pool::Get().Run(tasks, task, context);
  inside_loop = false;
}

}  // namespace internal
}  // namespace lorikeet
