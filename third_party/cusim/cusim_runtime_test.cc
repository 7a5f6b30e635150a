// Streams, events, graphs and memory limits of the simulator: what must be waited for is not there before.
#include <cstdlib>
#include <vector>

#include "gtest/gtest.h"
#include "third_party/cusim/cusim.h"

namespace {

__global__ void AddOne(int* x) { x[threadIdx.x] += 1; }

class CusimRuntimeTest : public testing::Test {
 protected:
  void SetUp() override {
    unsetenv("CUSIM_STREAMS");  // each test says how streams run
    ASSERT_EQ(cudaStreamCreateWithFlags(&compute_, cudaStreamNonBlocking), cudaSuccess);
    ASSERT_EQ(cudaStreamCreateWithFlags(&copies_, cudaStreamNonBlocking), cudaSuccess);
    ASSERT_EQ(cudaMalloc(&x_, 32 * sizeof(int)), cudaSuccess);
    ASSERT_EQ(cudaMemset(x_, 0, 32 * sizeof(int)), cudaSuccess);
    ASSERT_EQ(cudaEventCreate(&event_), cudaSuccess);
  }
  void TearDown() override {
    cudaStreamDestroy(compute_);
    cudaStreamDestroy(copies_);
    cudaEventDestroy(event_);
    cudaFree(x_);
  }
  cudaStream_t compute_, copies_;
  cudaEvent_t event_;
  int* x_;
};

TEST_F(CusimRuntimeTest, WorkOfAStreamIsDoneWhenItIsWaitedFor) {
  Launch(AddOne, 1, 32, 0, compute_, x_);
  EXPECT_EQ(x_[5], 0);
  cudaStreamSynchronize(compute_);
  EXPECT_EQ(x_[5], 1);
}

TEST_F(CusimRuntimeTest, ACopyOfWhatNothingHasWrittenAborts) {
  int* fresh = nullptr;
  int host[4] = {};
  ASSERT_EQ(cudaMalloc(&fresh, sizeof(host)), cudaSuccess);
  cudaMemset(fresh, 0, 3 * sizeof(int));
  EXPECT_EQ(cudaMemcpy(host, fresh, 3 * sizeof(int), cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_DEATH(cudaMemcpy(host, fresh, sizeof(host), cudaMemcpyDeviceToHost), "nothing has written byte 12");
  cudaMemset(fresh, 0, sizeof(host));
  EXPECT_EQ(cudaMemcpy(host, fresh, sizeof(host), cudaMemcpyDeviceToHost), cudaSuccess);
  cudaFree(fresh);
}

TEST_F(CusimRuntimeTest, AStreamSeesAnothersWorkOnlyAfterItsEvent) {
  void* pinned = nullptr;
  ASSERT_EQ(cudaMallocHost(&pinned, 128), cudaSuccess);
  Launch(AddOne, 1, 32, 0, compute_, x_);
  cudaMemcpyAsync(pinned, x_, 128, cudaMemcpyDeviceToHost, copies_);
  cudaStreamSynchronize(copies_);
  EXPECT_EQ(static_cast<int*>(pinned)[0], 0);  // nothing told the copy to wait
  cudaEventRecord(event_, compute_);
  cudaStreamWaitEvent(copies_, event_);
  cudaMemcpyAsync(pinned, x_, 128, cudaMemcpyDeviceToHost, copies_);
  cudaStreamSynchronize(copies_);
  EXPECT_EQ(static_cast<int*>(pinned)[0], 1);
  cudaFreeHost(pinned);
}

// What a copy on one stream finds of 64 kernels on the other, given just before: how often the kernel's work.
int CopiesThatFound(int* x, cudaStream_t compute, cudaStream_t copies, cudaEvent_t event, bool waits) {
  void* pinned = nullptr;
  EXPECT_EQ(cudaMallocHost(&pinned, 4), cudaSuccess);
  int found = 0;
  for (int i = 0; i < 64; ++i) {
    Launch(AddOne, 1, 32, 0, compute, x);
    if (waits) {
      cudaEventRecord(event, compute);
      cudaStreamWaitEvent(copies, event);
    }
    cudaMemcpyAsync(pinned, x, 4, cudaMemcpyDeviceToHost, copies);
    cudaStreamSynchronize(copies);
    cudaStreamSynchronize(compute);
    found += *static_cast<int*>(pinned) == x[0];
  }
  cudaFreeHost(pinned);
  return found;
}

TEST_F(CusimRuntimeTest, ACopyThatDoesNotWaitFindsTheWorkAtOnceNeverOrAtRandom) {
  EXPECT_EQ(CopiesThatFound(x_, compute_, copies_, event_, false), 0);
  setenv("CUSIM_STREAMS", "eager", 1);
  EXPECT_EQ(CopiesThatFound(x_, compute_, copies_, event_, false), 64);
  setenv("CUSIM_STREAMS", "random:1", 1);
  const int found = CopiesThatFound(x_, compute_, copies_, event_, false);
  EXPECT_TRUE(found > 0 && found < 64) << found;
  EXPECT_EQ(CopiesThatFound(x_, compute_, copies_, event_, true), 64);
}

TEST_F(CusimRuntimeTest, PinnedMemoryIsReadWhenTheCopyRunsAndPageableMemoryAtOnce) {
  int pageable = 7;
  cudaMemcpyAsync(x_, &pageable, 4, cudaMemcpyHostToDevice, copies_);
  pageable = 8;
  EXPECT_EQ(x_[0], 7);
  void* pinned = nullptr;
  ASSERT_EQ(cudaMallocHost(&pinned, 4), cudaSuccess);
  *static_cast<int*>(pinned) = 1;
  cudaMemcpyAsync(x_, pinned, 4, cudaMemcpyHostToDevice, copies_);
  *static_cast<int*>(pinned) = 2;
  cudaStreamSynchronize(copies_);
  EXPECT_EQ(x_[0], 2);
  cudaFreeHost(pinned);
}

TEST_F(CusimRuntimeTest, WhatCudaRefusesDuringACaptureIsRefused) {
  cudaStreamCaptureStatus status;
  ASSERT_EQ(cudaEventRecord(event_, copies_), cudaSuccess);
  ASSERT_EQ(cudaStreamBeginCapture(compute_, cudaStreamCaptureModeRelaxed), cudaSuccess);
  ASSERT_EQ(cudaStreamIsCapturing(compute_, &status), cudaSuccess);
  EXPECT_EQ(status, cudaStreamCaptureStatusActive);
  EXPECT_EQ(cudaStreamWaitEvent(compute_, event_), cudaErrorStreamCaptureIsolation);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(cudaEventRecord(event_, compute_), cudaSuccess);
  EXPECT_EQ(cudaEventSynchronize(event_), cudaErrorCapturedEvent);
  EXPECT_EQ(cudaStreamWaitEvent(copies_, event_), cudaErrorStreamCaptureIsolation);
  cudaGraph_t graph;
  ASSERT_EQ(cudaStreamEndCapture(compute_, &graph), cudaSuccess);
  ASSERT_EQ(cudaStreamIsCapturing(compute_, &status), cudaSuccess);
  EXPECT_EQ(status, cudaStreamCaptureStatusNone);
  cudaGraphDestroy(graph);
}

TEST_F(CusimRuntimeTest, AGraphRepeatsWhatWasCaptured) {
  ASSERT_EQ(cudaStreamBeginCapture(compute_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  Launch(AddOne, 1, 32, 0, compute_, x_);
  Launch(AddOne, 1, 32, 0, compute_, x_);
  EXPECT_EQ(cudaStreamSynchronize(compute_), cudaErrorStreamCaptureUnsupported);
  cudaGetLastError();
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  ASSERT_EQ(cudaStreamEndCapture(compute_, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph), cudaSuccess);
  for (int i = 0; i < 3; ++i) cudaGraphLaunch(executable, compute_);
  cudaStreamSynchronize(compute_);
  EXPECT_EQ(x_[31], 6);
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
}

TEST_F(CusimRuntimeTest, MemoryHasTheLimitThatTheEnvironmentSays) {
  setenv("CUSIM_MEMORY", "1000", 1);
  char *a = nullptr, *b = nullptr;
  EXPECT_EQ(cudaMalloc(&a, 800), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&b, 800), cudaErrorMemoryAllocation);
  EXPECT_EQ(b, nullptr);
  cudaGetLastError();
  cudaFree(a);
  EXPECT_EQ(cudaMalloc(&b, 800), cudaSuccess);
  cudaFree(b);
  unsetenv("CUSIM_MEMORY");
}

}  // namespace
