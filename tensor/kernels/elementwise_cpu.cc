#include "tensor/dtype.h"
#include "tensor/kernels/block_loop.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/elementwise_op.h"
#include "tensor/kernels/launch.h"
#include "tensor/kernels/vec_f32.h"
#include "tensor/kernels/vec_f64.h"
#include "tensor/view.h"

namespace lorikeet {
namespace {

using internal::DispatchCompute;
using internal::DispatchRuns;
using internal::MapBlocks;
using internal::VecBinary;
using internal::VecUnary;

void Unary(UnaryOp op, View x, View y, LaunchContext) {
  DispatchCompute(y.dtype, [&]<typename C>() {
    MapBlocks<C, 1, 1>({x}, {y}, [op](auto in, auto out, int64_t, int64_t n) { VecUnary(op, in[0], out[0], n); });
  });
}

void Binary(BinaryOp op, View a, View b, View y, LaunchContext) {
  DispatchRuns<3>({y, a, b}, [&]<typename C>() {
    MapBlocks<C, 2, 1>({a, b}, {y},
                       [op](auto in, auto out, int64_t, int64_t n) { VecBinary(op, in[0], in[1], out[0], n); });
  });
}

void BinaryScalar(BinaryOp op, View x, double s, View y, LaunchContext context) {
  DispatchCompute(y.dtype, [&]<typename C>() {
    C scalar = static_cast<C>(s);
    View b = x;  // the scalar, repeated
    b.data = &scalar;
    b.dtype = DTypeOf<C>();
    for (int64_t& stride : b.strides) stride = 0;
    Binary(op, x, b, y, context);
  });
}

void AddInPlace(View x, double alpha, View y, LaunchContext) {
  DispatchCompute(y.dtype, [&]<typename C>() {
    const C a = static_cast<C>(alpha);
    MapBlocks<C, 2, 1>({x, y}, {y}, [a](auto in, auto out, int64_t, int64_t n) {
      for (int64_t i = 0; i < n; ++i) out[0][i] = in[1][i] + a * in[0][i];
    });
  });
}

}  // namespace

const ElementwiseKernels kCpuElementwise = {
    .unary = Unary, .binary = Binary, .binary_scalar = BinaryScalar, .add_in_place = AddInPlace};

}  // namespace lorikeet
