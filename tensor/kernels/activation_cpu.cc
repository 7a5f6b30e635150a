#include "tensor/kernels/activation.h"
#include "tensor/kernels/block_loop.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/vec_f32.h"
#include "tensor/kernels/vec_f64.h"
#include "tensor/view.h"

namespace lorikeet {
namespace {

using internal::DispatchRuns;
using internal::MapBlocks;

void SwiGlu(View gate, View up, View y, LaunchContext) {
  DispatchRuns<3>({gate, up, y}, [&]<typename C>() {
    MapBlocks<C, 2, 1>({gate, up}, {y},
                       [](auto in, auto out, int64_t, int64_t n) { internal::VecSwiGlu(in[0], in[1], out[0], n); });
  });
}

void SwiGluGrad(View dy, View gate, View up, View dgate, View dup, LaunchContext) {
  DispatchRuns<5>({dy, gate, up, dgate, dup}, [&]<typename C>() {
    MapBlocks<C, 3, 2>({dy, gate, up}, {dgate, dup}, [](auto in, auto out, int64_t, int64_t n) {
      internal::VecSwiGluGrad(in[0], in[1], in[2], out[0], out[1], n);
    });
  });
}

void Gelu(View x, View y, LaunchContext) {
  DispatchRuns<2>({x, y}, [&]<typename C>() {
    MapBlocks<C, 1, 1>({x}, {y}, [](auto in, auto out, int64_t, int64_t n) { internal::VecGelu(in[0], out[0], n); });
  });
}

void GeluGrad(View dy, View x, View dx, LaunchContext) {
  DispatchRuns<3>({dy, x, dx}, [&]<typename C>() {
    MapBlocks<C, 2, 1>({dy, x}, {dx},
                       [](auto in, auto out, int64_t, int64_t n) { internal::VecGeluGrad(in[0], in[1], out[0], n); });
  });
}

void GeGlu(View gate, View up, View y, LaunchContext) {
  DispatchRuns<3>({gate, up, y}, [&]<typename C>() {
    MapBlocks<C, 2, 1>({gate, up}, {y},
                       [](auto in, auto out, int64_t, int64_t n) { internal::VecGeGlu(in[0], in[1], out[0], n); });
  });
}

void GeGluGrad(View dy, View gate, View up, View dgate, View dup, LaunchContext) {
  DispatchRuns<5>({dy, gate, up, dgate, dup}, [&]<typename C>() {
    MapBlocks<C, 3, 2>({dy, gate, up}, {dgate, dup}, [](auto in, auto out, int64_t, int64_t n) {
      internal::VecGeGluGrad(in[0], in[1], in[2], out[0], out[1], n);
    });
  });
}

}  // namespace

const ActivationKernels kCpuActivation = {.swiglu = SwiGlu,
                                          .swiglu_grad = SwiGluGrad,
                                          .gelu = Gelu,
                                          .gelu_grad = GeluGrad,
                                          .geglu = GeGlu,
                                          .geglu_grad = GeGluGrad};

}  // namespace lorikeet
