#include "third_party/cusim/cusim.h"
#include <gtest/gtest.h>
#include <chrono>
#include <numeric>
#include <vector>

namespace {
double Now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

__global__ void BlockSum(const float* x, int n, float* out) {
  __shared__ float partial[32];
  float s = 0;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) s += x[i];
  for (int o = 16; o > 0; o >>= 1) s += __shfl_xor_sync(~0u, s, o);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = s;
  __syncthreads();
  if (threadIdx.x < 32) {
    s = threadIdx.x < blockDim.x / 32 ? partial[threadIdx.x] : 0.0f;
    for (int o = 16; o > 0; o >>= 1) s += __shfl_xor_sync(~0u, s, o);
    if (threadIdx.x == 0) out[blockIdx.x] = s;
  }
}
__global__ void Saxpy(int n, float a, const float* x, float* y) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = a * x[i] + y[i];
}
__global__ void MissingBarrier(int* out) {
  CUDA_SHARED(int[256], v);
  v[threadIdx.x] = static_cast<int>(threadIdx.x);
  // no __syncthreads()
  out[threadIdx.x] = v[255 - threadIdx.x];
}
__global__ void Divergent() {
  if (threadIdx.x < 16)
    __syncthreads();
  else
    __shfl_sync(~0u, 1, 0);
}
// A 16x16 tiled matrix product.
__global__ void MatMul(int n, const float* a, const float* b, float* c) {
  __shared__ float as[16][17], bs[16][17];
  int r = blockIdx.y * 16 + threadIdx.y, q = blockIdx.x * 16 + threadIdx.x;
  float s = 0;
  for (int k = 0; k < n; k += 16) {
    as[threadIdx.y][threadIdx.x] = a[r * n + k + threadIdx.x];
    bs[threadIdx.y][threadIdx.x] = b[(k + threadIdx.y) * n + q];
    __syncthreads();
    for (int i = 0; i < 16; ++i) s += as[threadIdx.y][i] * bs[i][threadIdx.x];
    __syncthreads();
  }
  c[r * n + q] = s;
}
void Report(const char* what, double t, cusim::Stats before) {
  cusim::Stats a = cusim::stats();
  double sw = double(a.switches - before.switches), th = double(a.threads - before.threads);
  printf("%-10s %8.2f ms, %9.0f threads, %9.0f switches, %6.1f ns/switch, %6.1f ns/thread\n", what, t * 1e3, th, sw,
         t / sw * 1e9, t / th * 1e9);
}
}  // namespace

TEST(Cusim, Reduction) {
  std::vector<float> x(1 << 20, 1.0f), out(256);
  auto s = cusim::stats();
  double t = Now();
  ASSERT_EQ(Launch(BlockSum, 256, 256, 0, nullptr, x.data(), 1 << 20, out.data()), cudaSuccess);
  Report("reduce", Now() - t, s);
  EXPECT_EQ(std::accumulate(out.begin(), out.end(), 0.0f), 1 << 20);
}
TEST(Cusim, Saxpy) {
  std::vector<float> x(1 << 20, 1.0f), y(1 << 20, 2.0f);
  auto s = cusim::stats();
  double t = Now();
  Launch(Saxpy, 4096, 256, 0, nullptr, 1 << 20, 3.0f, x.data(), y.data());
  Report("saxpy", Now() - t, s);
  EXPECT_EQ(y[12345], 5.0f);
}
TEST(Cusim, MatMul) {
  const int n = 256;
  std::vector<float> a(n * n, 1.0f), b(n * n, 2.0f), c(n * n);
  auto s = cusim::stats();
  double t = Now();
  Launch(MatMul, dim3(n / 16, n / 16), dim3(16, 16), 0, nullptr, n, a.data(), b.data(), c.data());
  Report("matmul", Now() - t, s);
  EXPECT_EQ(c[77], 2.0f * n);
}
TEST(Cusim, FindsMissingBarrier) {
#ifdef __SANITIZE_THREAD__
  if (!getenv("CUSIM_SHOW_RACE")) GTEST_SKIP() << "a race, as TSan would say";
#endif
  std::vector<int> out(256);
  bool wrong = false;
  for (const char* order : {"forward", "reverse", "random:1"}) {
    setenv("CUSIM_ORDER", order, 1);
    Launch(MissingBarrier, 1, 256, 0, nullptr, out.data());
    bool w = false;
    for (int i = 0; i < 256; ++i) w |= out[i] != 255 - i;
    printf("%s: %s\n", order, w ? "wrong" : "right");
    wrong |= w;
  }
  unsetenv("CUSIM_ORDER");
  EXPECT_TRUE(wrong);
}
TEST(CusimDeathTest, Deadlock) { EXPECT_DEATH(Launch(Divergent, 1, 32, 0, nullptr), "deadlock"); }
