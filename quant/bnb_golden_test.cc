// Against bitsandbytes itself: packed weights as it saves them, of every block size and of odd shapes, are read,
// written again and decoded bit for bit.
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "gtest/gtest.h"
#include "quant/bnb_checkpoint.h"
#include "quant/nf4.h"
#include "tensor/check.h"
#include "tensor/dtype.h"
#include "tensor/io/safetensors.h"
#include "tensor/io/tensor_source.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

template <typename T>
T OrDie(absl::StatusOr<T> value) {
  LORIKEET_CHECK(value.ok()) << value.status();
  return *std::move(value);
}

bool SameBytes(const Tensor& a, const Tensor& b) {
  return a.nbytes() == b.nbytes() && std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.nbytes())) == 0;
}

// A case is called KIND.BLOCK.double|single.DTYPE.SHAPE; its weight is CASE.weight.
class BnbGoldenTest : public testing::Test {
 protected:
  BnbGoldenTest() : file(OrDie(SafetensorsFile::Open("tests/golden/bnb_states.safetensors"))) {
    for (const TensorInfo& info : file->tensors()) {
      names.push_back(info.name);
      absl::string_view name = info.name;
      if (absl::ConsumeSuffix(&name, ".decoded")) cases.emplace_back(name);
    }
  }
  Nf4Tensor Read(const std::string& name) const {
    return OrDie(Nf4FromCheckpoint(name + ".weight", names, [&](absl::string_view n) { return file->Read(n); }));
  }

  std::unique_ptr<SafetensorsFile> file;
  std::vector<std::string> names, cases;
};

TEST_F(BnbGoldenTest, EveryStateIsReadAndWrittenByteForByte) {
  ASSERT_GE(cases.size(), 20u);
  for (const std::string& name : cases) {
    size_t expected = 0;
    for (const std::string& n : names) expected += absl::StartsWith(n, name + ".weight");
    const auto written = Nf4ToCheckpoint(name + ".weight", Read(name));
    EXPECT_EQ(written.size(), expected) << name;
    for (const auto& [key, tensor] : written) {
      const Tensor theirs = OrDie(file->Read(key));
      EXPECT_EQ(Describe(tensor), Describe(theirs)) << key;
      EXPECT_TRUE(SameBytes(tensor, theirs)) << key;
    }
  }
}

TEST_F(BnbGoldenTest, EveryStateDecodesToTheSameBits) {
  for (const std::string& name : cases) {
    const Nf4Tensor q = Read(name);
    EXPECT_TRUE(SameBytes(Dequantize(q, q.dtype), OrDie(file->Read(name + ".decoded")))) << name;
  }
}

TEST_F(BnbGoldenTest, TheSameWeightsQuantizedHereDecodeToTheSameBits) {
  for (const std::string& name : cases) {
    const Nf4Tensor theirs = Read(name);
    const std::string shape = absl::StrCat(theirs.shape[0], "x", theirs.shape[1]);
    const Tensor w = OrDie(file->Read("w." + shape)).Cast(theirs.dtype);
    const Nf4Tensor ours =
        OrDie(QuantizeNf4(w, {.kind = theirs.kind, .block = theirs.block, .double_quant = theirs.double_quantized()}));
    const Tensor a = Dequantize(ours, DType::kF32), b = Dequantize(theirs, DType::kF32);
    for (size_t i = 0; i < static_cast<size_t>(a.size()); ++i) {  // zeros may have either sign in FP4
      ASSERT_EQ(a.data<float>()[i], b.data<float>()[i]) << name << " " << i;
    }
    EXPECT_EQ(SameBytes(ours.codes, theirs.codes) || theirs.kind == Nf4Kind::kFp4, true) << name;
    EXPECT_TRUE(SameBytes(ours.scales, theirs.scales)) << name;
  }
}

}  // namespace
}  // namespace lorikeet
