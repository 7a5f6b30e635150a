#include "quant/nf4_map.h"

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "autograd/tape.h"
#include "autograd/variable.h"
#include "gtest/gtest.h"
#include "nn/linear_map.h"
#include "nn/module.h"
#include "quant/bnb_checkpoint.h"
#include "quant/nf4.h"
#include "quant/random_for_test.h"
#include "tensor/dtype.h"
#include "tensor/ops/matmul.h"
#include "tensor/random.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

Tensor Random(int64_t rows, int64_t cols, DType dtype, uint64_t seed) {
  const std::vector<float> x = Normal(rows * cols, RngKey{.seed = seed});
  return Tensor::From<float>(absl::MakeConstSpan(x), {rows, cols}).Cast(dtype);
}

bool SameBits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() && std::memcmp(a.raw(), b.raw(), a.nbytes()) == 0;
}

Nf4Map RandomMap(int64_t out, int64_t in) { return Nf4Map(*QuantizeNf4(Random(out, in, DType::kBF16, 1))); }

TEST(Nf4MapTest, ItIsTheLinearMapOfItsDecodedWeight) {
  const Nf4Map map = RandomMap(96, 160);
  EXPECT_EQ(map.in_features(), 160);
  EXPECT_EQ(map.out_features(), 96);
  EXPECT_TRUE(map.frozen());
  EXPECT_EQ(map.dtype(), DType::kBF16);
  const Tensor x = Random(7, 160, DType::kF32, 2), dy = Random(7, 96, DType::kF32, 3);
  Tensor y = Tensor::Empty({7, 96}, DType::kF32), dx = Tensor::Full({7, 160}, 0.5, DType::kF32), want_dx = dx.Clone();
  map.Forward(x, y, {});
  map.InputGrad(dy, dx, {.beta = 1});
  const Tensor dense = Dequantize(map.weight(), DType::kF32);
  tensor::MatMulInto(want_dx, dy, false, dense, false, 1, 1);
  EXPECT_TRUE(SameBits(y, tensor::MatMul(x, dense, false, true)));
  EXPECT_TRUE(SameBits(dx, want_dx));
  EXPECT_TRUE(SameBits(map.Dense(), Dequantize(map.weight(), DType::kBF16)));
}

TEST(Nf4MapTest, ItsRecordSavesNothingAndGivesTheInputsGradient) {
  Nf4Map map = RandomMap(64, 128);
  const Tensor dy = Random(9, 64, DType::kF32, 4);
  Tape tape;
  Tensor dx;
  const Variable x = tape.Leaf(Random(9, 128, DType::kF32, 5), [&](Tensor grad) { dx = grad; });
  const Variable y = map.Apply(x);
  EXPECT_EQ(tape.saved_bytes(), 0);
  tape.Backward(y, dy);
  ASSERT_TRUE(dx.defined());
  EXPECT_TRUE(SameBits(dx, tensor::MatMul(dy, Dequantize(map.weight(), DType::kF32))));
}

TEST(Nf4MapTest, RowsAreLookedUpInThePackedWeight) {
  const Nf4Map map = RandomMap(11, 75);
  const Tensor ids = Tensor::From<int32_t>({10, 0, 3, 3}, {4});
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    const Tensor rows = map.Rows(ids, dtype), dense = Dequantize(map.weight(), dtype);
    EXPECT_EQ(rows.shape(), (Shape{4, 75}));
    for (int i = 0; i < 4; ++i) {
      const int64_t id = ids.data<int32_t>()[i];
      EXPECT_TRUE(SameBits(rows.Slice(0, i, i + 1), dense.Slice(0, id, id + 1)));
    }
  }
  EXPECT_DEATH(map.Rows(Tensor::From<int32_t>({11}, {1}), DType::kF32), "row 11 of 11");
}

class Buffers : public Visitor {
 public:
  std::map<std::string, Tensor> tensors;
  int64_t weights = 0;

 protected:
  void VisitBuffer(absl::string_view name, Tensor& t, int64_t logical_elements) override {
    tensors[std::string(name)] = t;
    weights += logical_elements;
  }
};

TEST(Nf4MapTest, ItsBuffersAreACheckpointOfTheWeight) {
  Nf4Map map = RandomMap(33, 64);
  Buffers seen;
  map.Visit(seen);
  EXPECT_EQ(seen.weights, 33 * 64);
  std::vector<std::string> names;
  for (const auto& [name, tensor] : seen.tensors) names.push_back(name);
  const auto read = [&](absl::string_view name) -> absl::StatusOr<Tensor> {
    return seen.tensors.at(std::string(name));
  };
  const absl::StatusOr<Nf4Tensor> back = Nf4FromCheckpoint("weight", names, read);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(SameBits(Nf4Map(*back).Dense(), map.Dense()));
}

}  // namespace
}  // namespace lorikeet
