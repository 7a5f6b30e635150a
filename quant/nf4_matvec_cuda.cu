// y = x*W^T for a few rows of x: what generating a token is made of. Bound by reading the codes.
#include <cstdint>

#include "quant/nf4_cuda.h"
#include "tensor/dtype.h"
#include "tensor/kernels/cuda_common.h"
#include "tensor/kernels/cuda_reduce.h"
#include "tensor/kernels/cuda_vector.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/matmul.h"
#include "tensor/view.h"
#include "third_party/cuda/runtime.h"

namespace lorikeet::internal {
namespace {

constexpr int kThreads = 128;
constexpr int kWeightsALane = 8;  // a word of codes
constexpr int kRowsAWarp = 2;     // of W: x is read once for both

template <typename T>
__device__ void LoadFloats(const T* from, float* to) {
  constexpr int kCount = Pack<T>::kCount;
  for (int part = 0; part < kWeightsALane; part += kCount) {
    const auto pack = Load<Pack<T>>(from + part);
    for (int j = 0; j < kCount; ++j) to[part + j] = static_cast<float>(pack.v[j]);
  }
}

__device__ float LoadAny(const View& v, int64_t at) {
  return v.dtype == DType::kF32    ? Data<float>(v)[at]
         : v.dtype == DType::kBF16 ? static_cast<float>(Data<bf16>(v)[at])
                                   : static_cast<float>(Data<f16>(v)[at]);
}

__device__ void StoreAny(const View& v, int64_t at, float x) {
  if (v.dtype == DType::kF32) {
    Data<float>(v)[at] = x;
  } else if (v.dtype == DType::kBF16) {
    Data<bf16>(v)[at] = bf16(x);
  } else {
    Data<f16>(v)[at] = f16(x);
  }
}

// sum += W[n .. n + 1, :] . x[m, :], a lane's share. The two rows' codes and scales are loaded side by side.
template <typename T, int kM>
__device__ void DotRows(const Nf4Device& w, const float* map, const View& x, int64_t cols,
                        const int64_t (&row)[kRowsAWarp], float (&sum)[kRowsAWarp][kM]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int64_t c = static_cast<int64_t>(lane) * kWeightsALane; c < cols; c += 32 * kWeightsALane) {
    Codes<kWeightsALane> codes[kRowsAWarp];
    float scale[kRowsAWarp], xs[kM][kWeightsALane];
    for (int r = 0; r < kRowsAWarp; ++r) {
      codes[r] = CodesOf<kWeightsALane>(w.view.codes, row[r] * cols + c);
      scale[r] = w.Scale(row[r] * cols + c);
    }
    for (int m = 0; m < kM; ++m) LoadFloats(Data<T>(x) + m * x.strides[0] + c, xs[m]);
    for (int r = 0; r < kRowsAWarp; ++r) {
      float part[kM] = {};
      for (int j = 0; j < kWeightsALane; ++j) {
        const float code = map[codes[r].At(j)];
        for (int m = 0; m < kM; ++m) part[m] += code * xs[m][j];
      }
      for (int m = 0; m < kM; ++m) sum[r][m] += scale[r] * part[m];
    }
  }
}

// sum += u[m, :] . v[:, n], a lane's share.
template <int kM>
__device__ void AddLowRank(const MatMulEpilogue& e, const int64_t (&row)[kRowsAWarp], float (&sum)[kRowsAWarp][kM]) {
  if (e.u.data == nullptr) return;
  for (int64_t k = threadIdx.x % 32; k < e.u.dims[1]; k += 32) {
    for (int r = 0; r < kRowsAWarp; ++r) {
      const float v = LoadAny(e.v, k * e.v.strides[0] + row[r] * e.v.strides[1]);
      for (int m = 0; m < kM; ++m) sum[r][m] += LoadAny(e.u, m * e.u.strides[0] + k * e.u.strides[1]) * v;
    }
  }
}

// A warp to two rows of W, a word of codes to a lane: 128 bytes of a row at once. Sums run over lanes and columns in an
// order that depends on the shapes alone.
template <typename T, int kM>
__global__ void MatVecKernel(Nf4Device w, View x, View y, const __grid_constant__ MatMulEpilogue e) {
  CUDA_SHARED(float[16], map);
  LoadCodeMap(w, map);
  const int64_t rows = y.dims[1], n = FirstIndex() / 32 * kRowsAWarp;
  if (n >= rows) return;  // the whole warp
  const int64_t row[kRowsAWarp] = {n, n + 1 < rows ? n + 1 : n};
  float sum[kRowsAWarp][kM] = {};
  DotRows<T, kM>(w, map, x, x.dims[1], row, sum);
  AddLowRank<kM>(e, row, sum);
  for (int r = 0; r < kRowsAWarp; ++r) {
    for (int m = 0; m < kM; ++m) {
      const float total = WarpSum(sum[r][m]);
      if (threadIdx.x % 32 != 0 || n + r >= rows) continue;
      const float gain = e.gain.data == nullptr ? 1.0f : Data<float>(e.gain)[n + r];
      const int64_t at = m * y.strides[0] + (n + r) * y.strides[1];
      const float before = e.beta == 0 ? 0.0f : e.beta * LoadAny(y, at);
      StoreAny(y, at, e.alpha * gain * total + before);
    }
  }
}

template <typename T>
auto KernelFor(int64_t m) {
  return m == 1 ? MatVecKernel<T, 1> : m == 2 ? MatVecKernel<T, 2> : m == 3 ? MatVecKernel<T, 3> : MatVecKernel<T, 4>;
}
static_assert(kDotRows == 4);

}  // namespace

void Nf4MatVec(const Nf4View& w, View x, View y, const MatMulEpilogue& e, LaunchContext context) {
  if (y.size() == 0) return;
  DispatchFloat(x.dtype, "nf4 matvec", [&](auto type) {
    DispatchFloat(y.dtype, "nf4 matvec", [](auto) {});
    constexpr int64_t kRowsABlock = kThreads / 32 * kRowsAWarp;
    const auto grid = static_cast<unsigned>((y.dims[1] + kRowsABlock - 1) / kRowsABlock);
    CheckCuda(Launch(KernelFor<decltype(type)>(x.dims[0]), grid, kThreads, 0, StreamOf(context), Nf4Device(w), x, y, e),
              "nf4 matvec");
  });
}

}  // namespace lorikeet::internal
