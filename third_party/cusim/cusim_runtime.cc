#include "third_party/cusim/cusim_runtime.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

// A point in a stream's work, counted from its start.
struct CusimStream {
  std::deque<std::function<void()>> work;
  uint64_t given = 0, done = 0;
  bool running = false;
  struct CusimGraph* capture = nullptr;
};
struct CusimEvent {
  bool captured = false;          // recorded by a capturing stream: part of a graph, and no time
  CusimStream* stream = nullptr;  // null: never recorded, or on the null stream, whose work is done
  uint64_t at = 0;
  std::shared_ptr<std::chrono::steady_clock::time_point> time;
};
struct CusimGraph {
  std::vector<std::function<void()>> work;
};

namespace cusim {
namespace {

constexpr size_t kAlignment = 256;

struct State {
  std::recursive_mutex mutex;  // work that runs may give more work
  std::vector<CusimStream*> streams;
  std::map<const char*, size_t> device, pinned;  // address to size
  size_t used = 0;
};
State& state() {
  static State* const s = new State;
  return *s;
}

size_t Limit() {
  const char* limit = std::getenv("CUSIM_MEMORY");
  return limit ? std::strtoull(limit, nullptr, 10) : size_t{64} << 30;
}

// Whether work just given is done at once. The lock is held.
bool RunsAtOnce() {
  const char* mode = std::getenv("CUSIM_STREAMS");
  if (mode == nullptr) return false;
  if (std::strncmp(mode, "random:", 7) != 0) return std::strcmp(mode, "eager") == 0;
  static uint64_t bits = std::strtoull(mode + 7, nullptr, 10);
  bits = bits * 6364136223846793005u + 1442695040888963407u;  // Knuth's generator, MMIX
  return bits >> 63 != 0;
}

bool Contains(const std::map<const char*, size_t>& ranges, const void* p) {
  auto after = ranges.upper_bound(static_cast<const char*>(p));
  if (after == ranges.begin()) return false;
  --after;
  return static_cast<const char*>(p) < after->first + after->second;
}

// Work may wait for another stream's, which is run from here; `running` keeps a stream's own order.
void RunUntil(CusimStream* s, uint64_t count) {
  if (s->running) return;
  s->running = true;
  while (s->done < count && !s->work.empty()) {
    std::function<void()> work = std::move(s->work.front());
    s->work.pop_front();
    work();
    ++s->done;
  }
  s->running = false;
}

void RunAll() {
  for (CusimStream* s : state().streams) RunUntil(s, s->given);
}

// What new device memory is filled with: as f32 and as two bf16 a NaN that no kernel computes.
constexpr uint32_t kUnwritten = 0xffa5ffa7;

// A result that no kernel has written must not look like one, which memory of zeros would.
void RequireWritten(const void* from, size_t bytes) {
  const char* const p = static_cast<const char*>(from);
  for (size_t i = (0 - reinterpret_cast<uintptr_t>(p)) % 4; i + 4 <= bytes; i += 4) {
    uint32_t word;
    std::memcpy(&word, p + i, 4);
    if (word != kUnwritten) continue;
    std::fprintf(stderr, "cusim: a copy of %zu bytes of device memory, of which nothing has written byte %zu\n", bytes,
                 i);
    std::abort();
  }
}

// Both with their addresses known; the lock is held.
void Copy(void* to, const void* from, size_t bytes) {
  if (Executes()) {
    if (Contains(state().device, from)) RequireWritten(from, bytes);
    std::memmove(to, from, bytes);
  } else if (!Contains(state().device, to)) {
    std::memset(to, 0, bytes);
  }
}

cudaError_t Fail(cudaError_t error) { return last_error = error; }

cudaError_t Allocate(void** p, size_t bytes, std::map<const char*, size_t>* ranges) {
  void* const block = std::aligned_alloc(kAlignment, (bytes + kAlignment) / kAlignment * kAlignment);
  if (block == nullptr) return Fail(cudaErrorMemoryAllocation);
  (*ranges)[static_cast<const char*>(block)] = bytes;
  *p = block;
  return cudaSuccess;
}

}  // namespace

bool Executes() {
  static const bool executes = [] {
    const char* mode = std::getenv("CUSIM_EXECUTE");
    return mode == nullptr || std::strcmp(mode, "none") != 0;
  }();
  return executes;
}

size_t SharedMemoryLimit() {
  static const size_t limit = [] {
    const char* bytes = std::getenv("CUSIM_SHARED_MEMORY");
    return bytes ? std::strtoull(bytes, nullptr, 10) : size_t{232448};
  }();
  return limit;
}

cudaError_t Enqueue(cudaStream_t stream, std::function<void()> work) {
  std::lock_guard<std::recursive_mutex> lock(state().mutex);
  if (stream == nullptr) {
    work();
    return cudaSuccess;
  }
  if (stream->capture != nullptr) {
    stream->capture->work.push_back(std::move(work));
    return cudaSuccess;
  }
  stream->work.push_back(std::move(work));
  ++stream->given;
  if (RunsAtOnce()) RunUntil(stream, stream->given);
  return cudaSuccess;
}

// Addresses without memory, where nothing is executed.
cudaError_t Reserve(void** p, size_t bytes) {
  void* const block = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (block == MAP_FAILED) return Fail(cudaErrorMemoryAllocation);
  state().device[static_cast<const char*>(block)] = bytes;
  *p = block;
  return cudaSuccess;
}

cudaError_t Malloc(void** p, size_t bytes) {
  std::lock_guard<std::recursive_mutex> lock(state().mutex);
  *p = nullptr;
  if (bytes == 0) return cudaSuccess;
  if (bytes > Limit() || state().used > Limit() - bytes) return Fail(cudaErrorMemoryAllocation);
  const cudaError_t error = Executes() ? Allocate(p, bytes, &state().device) : Reserve(p, bytes);
  if (error != cudaSuccess) return error;
  if (Executes()) std::fill_n(static_cast<uint32_t*>(*p), bytes / 4, kUnwritten);
  state().used += bytes;
  return cudaSuccess;
}

}  // namespace cusim

using cusim::Enqueue;
using cusim::Fail;
using cusim::RunAll;
using cusim::RunUntil;
using cusim::state;
using Lock = std::lock_guard<std::recursive_mutex>;

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorCapturedEvent:
      return "operation not permitted on an event last recorded in a capturing stream";
    case cudaErrorStreamCaptureIsolation:
      return "dependency created on uncaptured work in another stream";
    default:
      return "simulated error";
  }
}
cudaError_t cudaGetLastError() { return std::exchange(cusim::last_error, cudaSuccess); }

cudaError_t cudaFree(void* p) {
  Lock lock(state().mutex);
  if (p == nullptr) return cudaSuccess;
  RunAll();
  const auto it = state().device.find(static_cast<const char*>(p));
  if (it == state().device.end()) return Fail(cudaErrorInvalidValue);
  cusim::Executes() ? std::free(p) : void(munmap(p, it->second));
  state().used -= it->second;
  state().device.erase(it);
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** p, size_t bytes) {
  Lock lock(state().mutex);
  return cusim::Allocate(p, bytes, &state().pinned);
}

cudaError_t cudaFreeHost(void* p) {
  Lock lock(state().mutex);
  if (p == nullptr) return cudaSuccess;
  RunAll();
  if (state().pinned.erase(static_cast<const char*>(p)) == 0) return Fail(cudaErrorInvalidValue);
  std::free(p);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  Lock lock(state().mutex);
  *total_bytes = cusim::Limit();
  *free_bytes = *total_bytes - state().used;
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* p) {
  Lock lock(state().mutex);
  *attributes = {};
  if (cusim::Contains(state().device, p)) attributes->type = cudaMemoryTypeDevice;
  if (cusim::Contains(state().pinned, p)) attributes->type = cudaMemoryTypeHost;
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  Lock lock(state().mutex);
  cusim::Copy(to, from, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  Lock lock(state().mutex);
  const auto pageable = [](const void* p) {
    return !cusim::Contains(state().pinned, p) && !cusim::Contains(state().device, p);
  };
  (void)kind;  // the addresses say it
  const bool waits = pageable(to) || pageable(from);
  if (waits && stream != nullptr && stream->capture != nullptr) return Fail(cudaErrorStreamCaptureUnsupported);
  Enqueue(stream, [=] { cusim::Copy(to, from, bytes); });
  return waits ? cudaStreamSynchronize(stream) : cudaSuccess;
}

cudaError_t cudaMemset(void* p, int value, size_t bytes) {
  if (cusim::Executes()) std::memset(p, value, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t stream) {
  if (!cusim::Executes()) return cudaSuccess;
  return Enqueue(stream, [=] { std::memset(p, value, bytes); });
}

cudaError_t cudaDeviceSynchronize() {
  Lock lock(state().mutex);
  for (const CusimStream* s : state().streams) {
    if (s->capture != nullptr) return Fail(cudaErrorStreamCaptureUnsupported);
  }
  RunAll();
  return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  Lock lock(state().mutex);
  *stream = new CusimStream;
  state().streams.push_back(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  Lock lock(state().mutex);
  RunUntil(stream, stream->given);
  std::erase(state().streams, stream);
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  Lock lock(state().mutex);
  if (stream == nullptr) return cudaSuccess;
  if (stream->capture != nullptr) return Fail(cudaErrorStreamCaptureUnsupported);
  RunUntil(stream, stream->given);
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  Lock lock(state().mutex);
  CusimStream* const other = event->stream;
  const uint64_t at = event->at;
  if (other == nullptr || other == stream) return cudaSuccess;
  if (other->capture != nullptr || (stream != nullptr && stream->capture != nullptr)) {
    return Fail(cudaErrorStreamCaptureIsolation);
  }
  return Enqueue(stream, [=] { RunUntil(other, at); });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CusimEvent;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  Lock lock(state().mutex);
  auto time = std::make_shared<std::chrono::steady_clock::time_point>();
  event->time = time;
  const cudaError_t error = Enqueue(stream, [time] { *time = std::chrono::steady_clock::now(); });
  event->captured = stream != nullptr && stream->capture != nullptr;
  event->stream = stream;
  event->at = stream ? stream->given : 0;
  return error;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  Lock lock(state().mutex);
  if (event->captured) return Fail(cudaErrorCapturedEvent);
  if (event->stream != nullptr) RunUntil(event->stream, event->at);
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) { return cudaEventSynchronize(event); }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(*end->time - *begin->time).count();
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  Lock lock(state().mutex);
  if (stream == nullptr || stream->capture != nullptr) return Fail(cudaErrorStreamCaptureUnsupported);
  stream->capture = new CusimGraph;
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  Lock lock(state().mutex);
  const bool active = stream != nullptr && stream->capture != nullptr;
  *status = active ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  Lock lock(state().mutex);
  *graph = std::exchange(stream->capture, nullptr);
  return *graph ? cudaSuccess : Fail(cudaErrorStreamCaptureUnsupported);
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new CusimGraph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  Lock lock(state().mutex);
  for (const std::function<void()>& work : executable->work) Enqueue(stream, work);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  Lock lock(state().mutex);
  RunAll();
  delete executable;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidValue; }
cudaError_t cudaDeviceGetPCIBusId(char* id, int size, int) {
  std::snprintf(id, static_cast<size_t>(size), "simulated");
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {
      .name = "simulated device", .totalGlobalMem = cusim::Limit(), .major = 9, .minor = 0, .multiProcessorCount = 4};
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrMultiProcessorCount            ? 4
           : attribute == cudaDevAttrComputeCapabilityMajor       ? 9
           : attribute == cudaDevAttrMaxSharedMemoryPerBlockOptin ? static_cast<int>(cusim::SharedMemoryLimit())
                                                                  : 0;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }
