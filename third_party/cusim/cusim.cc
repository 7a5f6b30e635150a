#include "third_party/cusim/cusim.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#if defined(CUSIM_UCONTEXT) || !defined(__x86_64__)
#define CUSIM_USE_UCONTEXT 1
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
// Under ThreadSanitizer a CUDA thread is a TSan fiber, ordered with the others
// only by barriers: races on shared and global memory are reported.
#if defined(CUSIM_TSAN)
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned);
void __tsan_switch_to_fiber(void*, unsigned flags);  // 1: no synchronization
void __tsan_acquire(void*);
void __tsan_release(void*);
}
#define TSAN(x) x
#else
#define TSAN(x)
#endif

namespace cusim {
namespace {

constexpr size_t kStack = 128 << 10;
enum State : uint8_t { kReady, kBlockWait, kWarpWait, kDone };

struct Thread {
#ifdef CUSIM_USE_UCONTEXT
  ucontext_t ctx;
#else
  void* sp;
#endif
  char* stack;
  void* fake_stack = nullptr;
  void* tsan = nullptr;
  uint3 tid;
  int lane;
  State state;
  bool started;
  // The warp collective it waits in.
  Op op;
  int src_lane;
  unsigned mask;
  uint64_t value, result;
};

struct Machine {
  std::vector<Thread> threads;
  std::vector<int> order;
  std::vector<char> shared;
  char* stacks = nullptr;
  size_t stacks_for = 0;
  int n = 0, alive = 0, at_barrier = 0;
  Thread* self = nullptr;
#ifdef CUSIM_USE_UCONTEXT
  ucontext_t main_ctx;
#else
  void* main_sp;
#endif
  void* main_tsan = nullptr;
  std::vector<void*> fibers;  // TSan's, one per thread of the largest block: it has few, and blocks change in size
  char hb_start, hb_end, hb_barrier, hb_warp[32];  // addresses for TSan's happens-before
  const void* main_stack = nullptr;
  size_t main_stack_size = 0;
  void (*fn)(void*);
  void* arg;
  Stats stats{};
  ~Machine() {
    if (stacks) munmap(stacks, stacks_for * kStack);
  }
};
thread_local Machine machine;
struct Region {
  void* p;
  size_t n;
};
thread_local std::vector<Region> shared_regions;

#ifndef CUSIM_USE_UCONTEXT
// Saves the callee-saved registers on the old stack and takes up the new one.
extern "C" void cusim_switch(void** old_sp, void* new_sp);
asm(R"(
.text
.globl cusim_switch
.type cusim_switch,@function
cusim_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
.size cusim_switch,.-cusim_switch
)");
#endif

void Yield(bool dying = false) {
  Machine& m = machine;
  Thread* t = m.self;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(dying ? nullptr : &t->fake_stack, m.main_stack, m.main_stack_size);
#else
  (void)dying;
#endif
  TSAN(__tsan_switch_to_fiber(m.main_tsan, 1));
#ifdef CUSIM_USE_UCONTEXT
  swapcontext(&t->ctx, &m.main_ctx);
#else
  cusim_switch(&t->sp, m.main_sp);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(t->fake_stack, &m.main_stack, &m.main_stack_size);
#endif
}

void Entry() {
  Machine& m = machine;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &m.main_stack, &m.main_stack_size);
#endif
  TSAN(__tsan_acquire(&m.hb_start));
  m.fn(m.arg);
  m.self->state = kDone;
  TSAN(__tsan_release(&m.hb_end));
  Yield(true);
  __builtin_unreachable();
}

void Resume(Thread* t) {
  Machine& m = machine;
  m.self = t;
  threadIdx = t->tid;
  ++m.stats.switches;
#if defined(__SANITIZE_ADDRESS__)
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, t->stack, kStack);
#endif
#ifdef CUSIM_USE_UCONTEXT
  if (!t->started) {
    getcontext(&t->ctx);
    t->ctx.uc_stack.ss_sp = t->stack;
    t->ctx.uc_stack.ss_size = kStack;
    t->ctx.uc_link = nullptr;
    makecontext(&t->ctx, Entry, 0);
    t->started = true;
  }
  swapcontext(&m.main_ctx, &t->ctx);
#else
  if (!t->started) {
    TSAN(void*& fiber = m.fibers[t - m.threads.data()]; if (!fiber) fiber = __tsan_create_fiber(0); t->tsan = fiber);
    void** top = reinterpret_cast<void**>(t->stack + kStack);
    *--top = nullptr;                          // keeps the stack 16-byte aligned at Entry
    *--top = reinterpret_cast<void*>(&Entry);  // popped by ret
    top -= 6;
    t->sp = top;
    t->started = true;
  }
  TSAN(__tsan_switch_to_fiber(t->tsan, 1));
  cusim_switch(&m.main_sp, t->sp);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

[[noreturn]] void Deadlock() {
  Machine& m = machine;
  std::fprintf(stderr, "cusim: deadlock in block (%u,%u,%u): no thread can go on\n", blockIdx.x, blockIdx.y,
               blockIdx.z);
  int shown = 0;
  for (int i = 0; i < m.n && shown < 40; ++i) {
    const Thread& t = m.threads[i];
    const char* what = t.state == kDone        ? "has returned"
                       : t.state == kBlockWait ? "waits in __syncthreads"
                                               : "waits in a warp collective";
    if (i == 0 || t.state != m.threads[i - 1].state) {
      std::fprintf(stderr, "  from thread %d on: %s", i, what);
      if (t.state == kWarpWait) std::fprintf(stderr, ", mask %08x", t.mask);
      std::fprintf(stderr, "\n");
      ++shown;
    }
  }
  std::abort();
}

void RunBlock() {
  Machine& m = machine;
  m.alive = m.n;
  m.at_barrier = 0;
  for (Thread& t : m.threads) t.state = kReady, t.started = false;
  m.stats.threads += m.n;
  TSAN(m.main_tsan = __tsan_get_current_fiber());
  TSAN(__tsan_release(&m.hb_start));
  while (m.alive > 0) {
    bool progress = false;
    for (int i : m.order) {
      Thread* t = &m.threads[i];
      if (t->state != kReady) continue;
      Resume(t);
      progress = true;
      if (t->state == kDone) --m.alive;
    }
    if (m.at_barrier > 0 && m.at_barrier == m.alive) {
      for (Thread& t : m.threads)
        if (t.state == kBlockWait) t.state = kReady;
      m.at_barrier = 0;
      progress = true;
    }
    if (!progress) Deadlock();
  }
  TSAN(__tsan_acquire(&m.hb_end));
}

}  // namespace

Stats& stats() { return machine.stats; }
int LaneId() { return machine.self->lane; }
void* DynamicShared() { return machine.shared.data(); }

// Not memset, which a sanitizer would take for an access by this thread.
void Poison(void* p, size_t n) {
  for (size_t i = 0; i < n; ++i) static_cast<volatile unsigned char*>(p)[i] = 0xff;
}

void RegisterShared(void* p, size_t n) {
  shared_regions.push_back({p, n});
  Poison(p, n);
}

void SyncThreads() {
  Machine& m = machine;
  m.self->state = kBlockWait;
  ++m.at_barrier;
  TSAN(__tsan_release(&m.hb_barrier));
  Yield();
  TSAN(__tsan_acquire(&m.hb_barrier));
}

struct WarpCall {
  void (*f)(void* const lanes[32]);
  void* mine;
};

void CallOnce(const Thread* warp) {
  void* lanes[32];
  const auto call = [&](int l) { return reinterpret_cast<const WarpCall*>(warp[l].value); };
  for (int l = 0; l < 32; ++l) {
    if (call(l)->f != call(0)->f) {
      std::fprintf(stderr, "cusim: lanes 0 and %d of a warp meet in different instructions\n", l);
      std::abort();
    }
    lanes[l] = call(l)->mine;
  }
  call(0)->f(lanes);
}

void RunWarp(void (*f)(void* const lanes[32]), void* mine) {
  const int lane = machine.self->lane, first = static_cast<int>(machine.self - machine.threads.data()) - lane;
  if (machine.n - first < 32) {
    std::fprintf(stderr, "cusim: a warp of %d lanes meets in an instruction of 32\n", machine.n - first);
    std::abort();
  }
  WarpCall call{f, mine};
  Collective(~0u, Op::kRun, reinterpret_cast<uint64_t>(&call), 0);
}

uint64_t Combined(Op op, uint64_t all, uint64_t value, int lane) {
  switch (op) {
    case Op::kBallot:
      return all | value << lane;
    case Op::kAdd:
      return all + value;
    case Op::kMin:
      return std::min(all, value);
    case Op::kMax:
      return std::max(all, value);
    case Op::kAnd:
      return all & value;
    case Op::kOr:
      return all | value;
    case Op::kXor:
      return all ^ value;
    default:
      return all;
  }
}

// Of the lanes in the mask, what each op starts from being its neutral element.
uint64_t CombinedLanes(Op op, unsigned mask, const Thread* warp) {
  uint64_t all = op == Op::kMin || op == Op::kAnd ? ~uint64_t{0} : 0;
  for (int l = 0; l < 32; ++l) {
    if (mask >> l & 1) all = Combined(op, all, warp[l].value, l);
  }
  return all;
}

uint64_t Collective(unsigned mask, Op op, uint64_t value, int src_lane) {
  Machine& m = machine;
  Thread* t = m.self;
  Thread* warp = t - t->lane;
  const int lanes = std::min<int>(32, m.n - static_cast<int>(warp - m.threads.data()));
  if (lanes < 32) mask &= (1u << lanes) - 1;  // lanes that do not exist
  TSAN(void* hb = &m.hb_warp[(warp - m.threads.data()) / 32]);
  TSAN(if (op == Op::kSync) __tsan_release(hb));
  t->op = op, t->mask = mask, t->value = value, t->src_lane = src_lane;
  if (!(mask >> t->lane & 1)) {
    std::fprintf(stderr, "cusim: lane %d calls a warp collective with mask %08x, which lacks it\n", t->lane, mask);
    std::abort();
  }
  for (int l = 0; l < lanes; ++l) {
    if (!(mask >> l & 1) || l == t->lane) continue;
    if (warp[l].state == kWarpWait && warp[l].mask == mask && warp[l].op == op) continue;
    t->state = kWarpWait;  // not all here yet: the last one resolves it
    Yield();
    TSAN(if (op == Op::kSync) __tsan_acquire(hb));
    return t->result;
  }
  TSAN(if (op == Op::kSync) __tsan_acquire(hb));
  if (op == Op::kRun) CallOnce(warp);
  const uint64_t all = CombinedLanes(op, mask, warp);
  for (int l = 0; l < lanes; ++l) {
    if (!(mask >> l & 1)) continue;
    Thread& w = warp[l];
    // Reading a lane outside the mask is undefined: poison it.
    w.result = op != Op::kShfl                                  ? all
               : w.src_lane < lanes && (mask >> w.src_lane & 1) ? warp[w.src_lane].value
                                                                : 0x7ff7dead7fb7deadull;
    w.state = kReady;
  }
  return t->result;
}

void RunGrid(dim3 grid, dim3 block, size_t shared_bytes, void (*fn)(void*), void* arg) {
  Machine& m = machine;
  m.fn = fn, m.arg = arg;
  m.n = static_cast<int>(block.x * block.y * block.z);
  if (m.stacks_for < static_cast<size_t>(m.n)) {
    if (m.stacks) munmap(m.stacks, m.stacks_for * kStack);
    m.stacks_for = m.n;
    m.stacks = static_cast<char*>(mmap(nullptr, m.stacks_for * kStack, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  }
  m.threads.resize(m.n);
  m.fibers.resize(std::max(m.fibers.size(), m.threads.size()));
  m.shared.resize(shared_bytes + 1);
  for (int i = 0; i < m.n; ++i) {
    Thread& t = m.threads[i];
    unsigned u = static_cast<unsigned>(i);
    t.tid = {u % block.x, u / block.x % block.y, u / (block.x * block.y)};
    t.lane = i % 32;
    t.stack = m.stacks + i * kStack;
  }
  m.order.resize(m.n);
  std::iota(m.order.begin(), m.order.end(), 0);
  const char* e = std::getenv("CUSIM_ORDER");
  const std::string order = e ? e : "forward";
  std::mt19937 rng;
  const bool random = order.rfind("random", 0) == 0;
  if (order == "reverse") std::iota(m.order.rbegin(), m.order.rend(), 0);
  if (random) rng.seed(static_cast<unsigned>(std::atoi(order.c_str() + std::min<size_t>(order.size(), 7))));
  blockDim = block, gridDim = grid;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = {x, y, z};
        if (random) std::shuffle(m.order.begin(), m.order.end(), rng);
        std::memset(m.shared.data(), 0xff, shared_bytes);  // NaNs: nobody may count on zeros
        for (Region r : shared_regions) std::memset(r.p, 0xff, r.n);
        RunBlock();
      }
}

}  // namespace cusim
