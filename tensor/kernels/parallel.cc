#include "tensor/kernels/parallel.h"

#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace lorikeet {
namespace {

thread_local bool inside_loop = false;

struct Job {
  int64_t tasks;
  void (*task)(void*, int64_t);
  void* context;
  std::atomic<int64_t> next{0};
  std::atomic<int64_t> done{0};
};

int AllowedProcessors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return CPU_COUNT(&set);
}

class Pool {
 public:
  static Pool& Get() {
    static Pool* pool = new Pool(AllowedProcessors());  // never destroyed: workers may outlive main's statics
    return *pool;
  }

  int threads() const { return threads_.load(std::memory_order_relaxed); }

  void Resize(int n) {
    std::lock_guard<std::mutex> turn(turn_);
    StopWorkers();
    threads_ = n < 1 ? AllowedProcessors() : n;
    StartWorkers();
  }

  void Run(Job& job) {
    std::lock_guard<std::mutex> turn(turn_);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      job_ = &job;
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    Work(job);
    // Wait for tasks, not for workers: one that never woke up holds nothing back.
    for (int spins = 0; job.done.load(std::memory_order_acquire) < job.tasks; ++spins) {
      if (spins > 2000) std::this_thread::yield();
    }
    std::unique_lock<std::mutex> lock(mutex_);
    job_ = nullptr;
    idle_.wait(lock, [&] { return inside_ == 0; });
  }

 private:
  explicit Pool(int threads) : threads_(threads) { StartWorkers(); }

  void StartWorkers() {
    for (int i = 1; i < threads_; ++i) workers_.emplace_back([this] { Loop(); });
  }
  void StopWorkers() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    for (std::thread& w : workers_) w.join();
    workers_.clear();
    stop_ = false;
  }

  void Loop() {
    inside_loop = true;
    uint64_t seen = 0;
    while (true) {
      for (int spins = 0; spins < 20000 && generation_.load(std::memory_order_acquire) == seen; ++spins)
        __builtin_ia32_pause();
      Job* job;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return generation_.load(std::memory_order_relaxed) != seen; });
        seen = generation_.load(std::memory_order_relaxed);
        if (stop_) return;
        job = job_;
        if (job == nullptr) continue;
        ++inside_;
      }
      Work(*job);
      {
        std::lock_guard<std::mutex> lock(mutex_);
        --inside_;
      }
      idle_.notify_one();
    }
  }

  static void Work(Job& job) {
    int64_t i;
    while ((i = job.next.fetch_add(1, std::memory_order_relaxed)) < job.tasks) {
      job.task(job.context, i);
      job.done.fetch_add(1, std::memory_order_release);
    }
  }

  std::mutex turn_;  // one loop at a time
  std::mutex mutex_;
  std::condition_variable wake_, idle_;
  std::atomic<uint64_t> generation_{0};
  std::atomic<int> threads_;
  Job* job_ = nullptr;
  int inside_ = 0;
  bool stop_ = false;
  std::vector<std::thread> workers_;
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
  Job job{.tasks = tasks, .task = task, .context = context};
  inside_loop = true;
  Pool::Get().Run(job);
  inside_loop = false;
}

}  // namespace internal
}  // namespace lorikeet
