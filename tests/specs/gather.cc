#include "autograd/ops/gather.h"

#include "autograd/ops/matmul.h"
#include "tensor/ops/testing.h"
#include "tests/testing/op_spec.h"

namespace lorikeet {
namespace {

// Duplicates, the first and the last row, and rows that nobody asks for.
Tensor Ids(const std::vector<int32_t>& ids) { return Tensor::From<int32_t>(ids, {static_cast<int64_t>(ids.size())}); }

OpSpec GatherSpec(const std::string& name, const std::vector<int32_t>& ids) {
  return {.name = name,
          .inputs = {{"table", {11, 5}}},
          .op = [ids](In in) { return GatherRows(in[0], Ids(ids).To(DeviceOf(in))); },
          .reference =
              [ids](In in) {  // a matrix with a one for each id, times the table
                const int64_t n = static_cast<int64_t>(ids.size()), rows = in[0].shape()[0];
                std::vector<double> ones(static_cast<size_t>(n * rows));
                for (size_t i = 0; i < ids.size(); ++i) {
                  ones[i * static_cast<size_t>(rows) + static_cast<size_t>(ids[i])] = 1;
                }
                return MatMul(tensor::FromDoubles(ones, {n, rows}, DType::kF64), in[0]);
              },
          .saved = "i32[" + std::to_string(ids.size()) + "]",
          .empty = {{{11, 0}}},
          .large = {{11, 4001}},
          .dtypes = {DType::kF32}};  // a table that trains is f32
}

INSTANTIATE_TEST_SUITE_P(Gather, OpSpecTest,
                         testing::ValuesIn({GatherSpec("GatherRows", {3, 0, 3, 10, 6, 3}),
                                            GatherSpec("GatherNoRows", {}), GatherSpec("GatherOneRow", {7})}),
                         SpecName);

}  // namespace
}  // namespace lorikeet
