// What the CPU has a kernel for, CUDA has one for: the list of null entries is empty.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "optim/adamw8.h"
#include "optim/update_gate_kernels.h"
#include "quant/nf4_kernels.h"
#include "tensor/kernels/activation.h"
#include "tensor/kernels/adamw.h"
#include "tensor/kernels/attention.h"
#include "tensor/kernels/column_scale.h"
#include "tensor/kernels/copy.h"
#include "tensor/kernels/cross_entropy.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/gather.h"
#include "tensor/kernels/layer_norm.h"
#include "tensor/kernels/matmul.h"
#include "tensor/kernels/norm.h"
#include "tensor/kernels/random.h"
#include "tensor/kernels/reduce.h"
#include "tensor/kernels/rope.h"
#include "tensor/kernels/softmax.h"

namespace lorikeet {
namespace {

// "norm[1]" for the second entry of the norm table. A table is function pointers and nothing else.
template <typename Table>
void Compare(const char* name, const Table& cpu, const Table& cuda, std::vector<std::string>* missing) {
  using Entry = void (*)();
  static_assert(sizeof(Table) % sizeof(Entry) == 0);
  constexpr size_t kEntries = sizeof(Table) / sizeof(Entry);
  const auto& here = reinterpret_cast<const Entry(&)[kEntries]>(cpu);
  const auto& there = reinterpret_cast<const Entry(&)[kEntries]>(cuda);
  for (size_t i = 0; i < kEntries; ++i) {
    if (here[i] != nullptr && there[i] == nullptr) missing->push_back(name + ("[" + std::to_string(i) + "]"));
  }
}

TEST(CudaTables, LackNoKernelThatTheCpuHas) {
  if (kCudaElementwise.unary == nullptr) GTEST_SKIP() << "this build has no CUDA backend";
  std::vector<std::string> missing;
  Compare("activation", kCpuActivation, kCudaActivation, &missing);
  Compare("adamw", kCpuAdamW, kCudaAdamW, &missing);
  Compare("adamw8", kCpuAdamW8, kCudaAdamW8, &missing);
  Compare("attention", kCpuAttention, kCudaAttention, &missing);
  Compare("column_scale", kCpuColumnScale, kCudaColumnScale, &missing);
  Compare("copy", kCpuCopy, kCudaCopy, &missing);
  Compare("cross_entropy", kCpuCrossEntropy, kCudaCrossEntropy, &missing);
  Compare("elementwise", kCpuElementwise, kCudaElementwise, &missing);
  Compare("gather", kCpuGather, kCudaGather, &missing);
  Compare("layer_norm", kCpuLayerNorm, kCudaLayerNorm, &missing);
  Compare("matmul", kCpuMatMul, kCudaMatMul, &missing);
  Compare("nf4", kCpuNf4, kCudaNf4, &missing);
  Compare("norm", kCpuNorm, kCudaNorm, &missing);
  Compare("random", kCpuRandom, kCudaRandom, &missing);
  Compare("reduce", kCpuReduce, kCudaReduce, &missing);
  Compare("rope", kCpuRope, kCudaRope, &missing);
  Compare("softmax", kCpuSoftmax, kCudaSoftmax, &missing);
  Compare("update_gate", kCpuUpdateGate, kCudaUpdateGate, &missing);
  // By contract on the CPU alone: AdamW's single segment, and products over weights that the CPU decodes piece by
  // piece.
  EXPECT_THAT(missing, testing::ElementsAre("adamw[1]", "matmul[1]"));
}

}  // namespace
}  // namespace lorikeet
