#include "quant/bnb_checkpoint.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "quant/nf4.h"
#include "quant/random_for_test.h"
#include "tensor/dtype.h"
#include "tensor/random.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

constexpr char kWeight[] = "model.layers.0.mlp.up_proj.weight";
constexpr char kState[] = "model.layers.0.mlp.up_proj.weight.quant_state.bitsandbytes__nf4";

Nf4Tensor Quantized(const Shape& shape, const Nf4Options& options = {}, DType dtype = DType::kBF16) {
  const std::vector<float> x = Normal(shape.size(), RngKey{.seed = 21});
  return *QuantizeNf4(Tensor::From<float>(absl::MakeConstSpan(x), shape).Cast(dtype), options);
}

Tensor Bytes(absl::string_view text) {
  return Tensor::From<uint8_t>(absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size()),
                               {static_cast<int64_t>(text.size())});
}
std::string Text(const Tensor& t) {
  return std::string(reinterpret_cast<const char*>(t.data<uint8_t>().data()), t.size());
}

// A file, as a map by name.
class FakeFile {
 public:
  explicit FakeFile(const Nf4Tensor& q) {
    for (auto& [name, tensor] : Nf4ToCheckpoint(kWeight, q)) tensors[name] = tensor;
  }
  absl::StatusOr<Nf4Tensor> Read() const {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : tensors) names.push_back(name);
    return Nf4FromCheckpoint(kWeight, names, [this](absl::string_view name) -> absl::StatusOr<Tensor> {
      const auto found = tensors.find(std::string(name));
      if (found == tensors.end()) return absl::NotFoundError(name);
      return found->second;
    });
  }
  // Replaces part of the JSON text.
  void Edit(absl::string_view from, absl::string_view to) {
    const std::string before = Text(tensors[kState]), after = absl::StrReplaceAll(before, {{from, to}});
    EXPECT_NE(before, after) << from;
    tensors[kState] = Bytes(after);
  }
  std::map<std::string, Tensor> tensors;
};

bool SameBits(const Tensor& a, const Tensor& b) {
  if (!a.defined() || !b.defined()) return a.defined() == b.defined();
  return a.shape() == b.shape() && a.dtype() == b.dtype() && std::memcmp(a.raw(), b.raw(), a.nbytes()) == 0;
}

void ExpectSame(const Nf4Tensor& a, const Nf4Tensor& b) {
  EXPECT_EQ(a.shape, b.shape);
  EXPECT_EQ(a.dtype, b.dtype);
  EXPECT_EQ(a.kind, b.kind);
  EXPECT_EQ(a.block, b.block);
  EXPECT_EQ(a.scale_mean, b.scale_mean);
  EXPECT_TRUE(SameBits(a.codes, b.codes) && SameBits(a.scales, b.scales) && SameBits(a.code_map, b.code_map) &&
              SameBits(a.scale_scales, b.scale_scales) && SameBits(a.scale_map, b.scale_map));
}

void ExpectError(const FakeFile& file, absl::string_view part) {
  const absl::Status status = file.Read().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), kWeight)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), part)) << status;
}

TEST(BnbCheckpointTest, ADoubleQuantizedWeightIsTheSixTensorsOfTheFormat) {
  const auto tensors = Nf4ToCheckpoint("P.weight", Quantized({300, 400}));
  const std::pair<std::string, std::string> want[] = {{"P.weight", "u8[60000,1]"},
                                                      {"P.weight.absmax", "u8[1875]"},
                                                      {"P.weight.quant_map", "f32[16]"},
                                                      {"P.weight.nested_absmax", "f32[8]"},
                                                      {"P.weight.nested_quant_map", "f32[256]"}};
  ASSERT_EQ(tensors.size(), 6u);
  int64_t bytes = 0;
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(tensors[i].first, want[i].first);
    EXPECT_EQ(Describe(tensors[i].second), want[i].second);
    bytes += tensors[i].second.nbytes();
  }
  EXPECT_EQ(tensors[5].first, "P.weight.quant_state.bitsandbytes__nf4");
  EXPECT_LT(bytes, 0.29 * 300 * 400 * 2);
}

TEST(BnbCheckpointTest, TheStateIsPrintedAsPythonPrintsIt) {
  Nf4Tensor q = Quantized({64, 128});
  q.shape = {4096, 4096};
  q.scale_mean = 0.041234567761421204f;
  EXPECT_EQ(Text(Nf4ToCheckpoint("P.weight", q).back().second),
            R"({"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [4096, 4096], )"
            R"("nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.041234567761421204})");
  const Nf4Tensor plain = Quantized({7, 3}, {.kind = Nf4Kind::kFp4, .block = 128, .double_quant = false}, DType::kF16);
  EXPECT_EQ(Text(Nf4ToCheckpoint("P.weight", plain).back().second),
            R"({"quant_type": "fp4", "blocksize": 128, "dtype": "float16", "shape": [7, 3]})");
}

TEST(BnbCheckpointTest, TheOffsetIsPrintedAsPythonsRepr) {
  // What Python prints for float(numpy.float32(x)).
  const std::pair<float, const char*> cases[] = {{0.0f, "0.0"},
                                                 {1.0f, "1.0"},
                                                 {0.1f, "0.10000000149011612"},
                                                 {1e-4f, "9.999999747378752e-05"},
                                                 {0x1p-20f, "9.5367431640625e-07"},
                                                 {0x1p-13f, "0.0001220703125"},
                                                 {16777216.0f, "16777216.0"},
                                                 {1e16f, "1.0000000272564224e+16"},
                                                 {0x1p52f, "4503599627370496.0"},
                                                 {1e-30f, "1.0000000031710769e-30"}};
  for (const auto& [x, want] : cases) {
    Nf4Tensor q = Quantized({64});
    q.scale_mean = x;
    const std::string text = Text(Nf4ToCheckpoint("P.weight", q).back().second);
    EXPECT_TRUE(absl::StrContains(text, std::string("\"nested_offset\": ") + want + "}")) << text;
  }
}

TEST(BnbCheckpointTest, WhatIsWrittenReadsBackBitForBit) {
  for (bool double_quant : {false, true}) {
    for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      const Nf4Tensor q = Quantized({37, 51}, {.block = 32, .double_quant = double_quant}, dtype);
      const absl::StatusOr<Nf4Tensor> back = FakeFile(q).Read();
      ASSERT_TRUE(back.ok()) << back.status();
      ExpectSame(q, *back);
    }
  }
  const Nf4Tensor fp4 = Quantized({8, 64}, {.kind = Nf4Kind::kFp4});
  ExpectSame(fp4, *FakeFile(fp4).Read());
}

TEST(BnbCheckpointTest, CodesStoredUnderAnotherTypeAreTheSameBytes) {
  const Nf4Tensor q = Quantized({16, 64});
  for (DType storage : {DType::kBF16, DType::kF16, DType::kF32}) {
    FakeFile file(q);
    Tensor packed = Tensor::Empty({q.codes.size() / static_cast<int64_t>(SizeOf(storage)), 1}, storage);
    std::memcpy(packed.raw(), q.codes.raw(), q.codes.nbytes());
    file.tensors[kWeight] = packed;
    const absl::StatusOr<Nf4Tensor> back = file.Read();
    ASSERT_TRUE(back.ok()) << back.status();
    ExpectSame(q, *back);
  }
}

TEST(BnbCheckpointTest, AForeignMapIsUsedAsTheFileHasIt) {
  FakeFile file(Quantized({16, 64}));
  Tensor map = file.tensors[std::string(kWeight) + ".quant_map"].Clone();
  map.data<float>()[15] = 0.75f;
  file.tensors[std::string(kWeight) + ".quant_map"] = map;
  EXPECT_EQ(file.Read()->code_map.data<float>()[15], 0.75f);
}

TEST(BnbCheckpointTest, TheStateMayComeInAnyOrderAndSpacing) {
  FakeFile file(Quantized({16, 64}, {.double_quant = false}));
  file.tensors[kState] =
      Bytes("{\"shape\":[16,64] ,\n \"dtype\":\"bfloat16\",\"quant_type\":\"nf4\", \"blocksize\" :64}");
  EXPECT_TRUE(file.Read().ok()) << file.Read().status();
}

TEST(BnbCheckpointTest, AMissingTensorIsAnErrorThatNamesIt) {
  const Nf4Tensor q = Quantized({16, 64});
  for (const char* suffix : {".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map"}) {
    FakeFile file(q);
    file.tensors.erase(std::string(kWeight) + suffix);
    ExpectError(file, suffix);
  }
  FakeFile file(q);
  file.tensors.erase(kState);
  ExpectError(file, "quant_state");
}

TEST(BnbCheckpointTest, AnUnknownOrSecondTensorBesideTheWeightIsAnError) {
  const Nf4Tensor q = Quantized({16, 64});
  FakeFile unknown(q), two(q), format(q), other(q);
  unknown.tensors[std::string(kWeight) + ".absmax2"] = q.scales;
  ExpectError(unknown, ".absmax2");
  two.tensors[std::string(kWeight) + ".quant_state.bitsandbytes__fp4"] = two.tensors[kState];
  ExpectError(two, "two quant_state");
  format.tensors[std::string(kWeight) + ".quant_state.bitsandbytes__int4"] = format.tensors[kState];
  format.tensors.erase(kState);
  ExpectError(format, "bitsandbytes__int4");
  other.tensors["model.layers.0.mlp.up_proj.weight_norm"] = q.scales;  // not below the weight
  EXPECT_TRUE(other.Read().ok());
}

TEST(BnbCheckpointTest, AStateThatDoesNotFitIsAnErrorThatSaysWhat) {
  const std::pair<const char*, const char*> edits[] = {{"\"nf4\"", "\"fp4\""},
                                                       {"\"nf4\"", "4"},
                                                       {": 64,", ": 65,"},
                                                       {": 64,", ": -64,"},
                                                       {": 64,", ": 1e300,"},
                                                       {": 64,", ": 18446744073709551615,"},
                                                       {": 64,", ": \"64\","},
                                                       {"bfloat16", "float8"},
                                                       {"[16, 64]", "[16, 65]"},
                                                       {"[16, 64]", "[]"},
                                                       {"[16, 64]", "16"},
                                                       {"[16, 64]", "[-16, 64]"},
                                                       {"[16, 64]", "[2147483647, 2147483647, 2147483647]"},
                                                       {"[16, 64]", "[16.5, 64]"},
                                                       {"256", "0"},
                                                       {"float32", "float16"},
                                                       {"\"shape\"", "\"form\""},
                                                       {"}", ", \"extra\": 1}"},
                                                       {"}", ""},
                                                       {"{", "["},
                                                       {"nested_offset\": ", "nested_offset\": 1e999, \"x\": "}};
  for (const auto& [from, to] : edits) {
    FakeFile file(Quantized({16, 64}));
    file.Edit(from, to);
    EXPECT_EQ(file.Read().status().code(), absl::StatusCode::kInvalidArgument) << from << " -> " << to;
  }
  FakeFile file(Quantized({16, 64}));
  file.Edit("[16, 64]", "[16, 66]");
  ExpectError(file, "packed weight is u8[512,1], expected u8[528,1] for shape [16,66]");
}

TEST(BnbCheckpointTest, TensorsOfTheWrongTypeOrShapeOrWithNansAreErrors) {
  const Nf4Tensor q = Quantized({16, 64});
  const std::string absmax = std::string(kWeight) + ".absmax", nested = std::string(kWeight) + ".nested_absmax";
  FakeFile wide(q), narrow(q), nan(q), flat(q);
  wide.tensors[absmax] = Tensor::Zeros({16}, DType::kF32);
  ExpectError(wide, "expected u8[16]");
  narrow.tensors[absmax] = Tensor::Zeros({15}, DType::kU8);
  ExpectError(narrow, "u8[15]");
  nan.tensors[nested] = Tensor::Full({1}, NAN, DType::kF32);
  ExpectError(nan, "not finite");
  flat.tensors[kWeight] = Tensor::Zeros({512}, DType::kU8);
  ExpectError(flat, "u8[512]");
}

TEST(BnbCheckpointTest, KeysAreTracedToTheirWeight) {
  EXPECT_EQ(Nf4WeightOfKey("a.weight.absmax"), "a.weight");
  EXPECT_EQ(Nf4WeightOfKey("a.weight.nested_quant_map"), "a.weight");
  EXPECT_EQ(Nf4WeightOfKey(kState), kWeight);
  EXPECT_EQ(Nf4WeightOfKey("a.weight"), "");
  EXPECT_EQ(Nf4WeightOfKey("a.bias"), "");
  EXPECT_TRUE(IsNf4QuantState(kState));
  EXPECT_FALSE(IsNf4QuantState("a.weight.absmax"));
}

TEST(BnbCheckpointTest, TheQuantizationConfigIsThatOfTransformers) {
  const auto config = nlohmann::json::parse(Nf4QuantizationConfig({}, DType::kBF16));
  EXPECT_EQ(config.size(), 13u);
  EXPECT_EQ(config["quant_method"], "bitsandbytes");
  EXPECT_EQ(config["load_in_4bit"], true);
  EXPECT_EQ(config["bnb_4bit_quant_type"], "nf4");
  EXPECT_EQ(config["bnb_4bit_use_double_quant"], true);
  EXPECT_EQ(config["bnb_4bit_compute_dtype"], "bfloat16");
  EXPECT_TRUE(config["llm_int8_skip_modules"].is_null());
}

}  // namespace
}  // namespace lorikeet
