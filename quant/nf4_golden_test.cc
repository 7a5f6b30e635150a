// Against bitsandbytes itself: what its quantize_4bit and dequantize_4bit gave for the same weights on the CPU.
#include <bit>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "quant/code_maps.h"
#include "quant/nf4.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

// The fixture: a safetensors file that we made ourselves, so that nothing is checked but that it is there.
class Golden {
 public:
  static const Golden& Get() {
    static const Golden golden("tests/golden/nf4.safetensors");
    return golden;
  }

  Shape ShapeOf(const std::string& name) const {
    Shape shape;
    for (const auto& d : header_.at(name)["shape"]) shape.push_back(d.get<int64_t>());
    return shape;
  }
  template <typename T>
  std::vector<T> Values(const std::string& name) const {
    const auto& entry = header_.at(name);
    const size_t begin = entry["data_offsets"][0], end = entry["data_offsets"][1];
    std::vector<T> out((end - begin) / sizeof(T));
    std::memcpy(out.data(), data_.data() + begin, end - begin);
    return out;
  }

 private:
  explicit Golden(const char* path) {
    std::ifstream file(path, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    uint64_t length = 0;
    if (bytes.size() < sizeof length) return;  // at() then fails by name
    std::memcpy(&length, bytes.data(), sizeof length);
    header_ = nlohmann::json::parse(bytes.substr(8, length));
    data_ = bytes.substr(8 + length);
  }
  nlohmann::json header_;
  std::string data_;
};

template <typename T>
std::vector<T> Held(const Tensor& t) {
  const absl::Span<T> s = t.data<T>();
  return {s.begin(), s.end()};
}

Nf4Tensor Quantized(const std::string& name, Nf4Kind kind, int block, bool double_quant) {
  const std::vector<float> w = Golden::Get().Values<float>(name + ".w");
  const Tensor tensor = Tensor::From<float>(absl::MakeConstSpan(w), Golden::Get().ShapeOf(name + ".w"));
  return *QuantizeNf4(tensor, {.kind = kind, .block = block, .double_quant = double_quant});
}

TEST(Nf4GoldenTest, TablesAreThoseOfBitsandbytes) {
  const std::vector<float> nf4 = Golden::Get().Values<float>("nf4_table"),
                           fp4 = Golden::Get().Values<float>("fp4_table");
  EXPECT_EQ(nf4, std::vector<float>(kNf4Codes.begin(), kNf4Codes.end()));
  EXPECT_EQ(fp4, std::vector<float>(kFp4Codes.begin(), kFp4Codes.end()));
}

TEST(Nf4GoldenTest, DynamicMapsAreThoseOfBitsandbytesToTheLastBits) {
  const std::vector<float> with_sign = Golden::Get().Values<float>("signed_map");
  const std::vector<float> without = Golden::Get().Values<float>("unsigned_map");
  const auto ulps = [](float a, float b) { return std::abs(std::bit_cast<int32_t>(a) - std::bit_cast<int32_t>(b)); };
  for (int c = 0; c < 256; ++c) {  // torch's linspace differs between versions
    EXPECT_LE(ulps(SignedDynamicMap()[c], with_sign[c]), 2) << c;
    EXPECT_LE(ulps(UnsignedDynamicMap()[c], without[c]), 2) << c;
  }
}

TEST(Nf4GoldenTest, Nf4CodesScalesAndValuesAreThoseOfBitsandbytes) {
  const Golden& golden = Golden::Get();
  const std::pair<std::string, int> cases[] = {{"matrix", 32}, {"matrix", 64}, {"matrix", 256}, {"edges", 64}};
  for (const auto& [name, block] : cases) {
    const Nf4Tensor q = Quantized(name, Nf4Kind::kNf4, block, false);
    const std::string prefix = name + ".nf4." + std::to_string(block);
    EXPECT_EQ(Held<uint8_t>(q.codes), golden.Values<uint8_t>(prefix + ".codes")) << prefix;
    EXPECT_EQ(Held<float>(q.scales), golden.Values<float>(prefix + ".absmax")) << prefix;
    EXPECT_EQ(Held<float>(Dequantize(q, DType::kF32)), golden.Values<float>(prefix + ".dequantized")) << prefix;
  }
}

TEST(Nf4GoldenTest, Fp4ScalesAndValuesAreThoseOfBitsandbytes) {
  const Golden& golden = Golden::Get();
  const std::pair<std::string, int> cases[] = {{"matrix", 32}, {"matrix", 64}, {"matrix", 256}, {"edges", 64}};
  for (const auto& [name, block] : cases) {
    const Nf4Tensor q = Quantized(name, Nf4Kind::kFp4, block, false);
    const std::string prefix = name + ".fp4." + std::to_string(block);
    EXPECT_EQ(Held<float>(q.scales), golden.Values<float>(prefix + ".absmax")) << prefix;
    EXPECT_EQ(Held<float>(Dequantize(q, DType::kF32)), golden.Values<float>(prefix + ".dequantized")) << prefix;
  }
}

TEST(Nf4GoldenTest, DoubleQuantizationIsThatOfBitsandbytes) {
  const Golden& golden = Golden::Get();
  const Nf4Tensor q = Quantized("large", Nf4Kind::kNf4, 64, true);
  const std::string prefix = "large.nf4.64.nested";
  EXPECT_EQ(Held<uint8_t>(q.codes), golden.Values<uint8_t>(prefix + ".codes"));
  EXPECT_EQ(Held<uint8_t>(q.scales), golden.Values<uint8_t>(prefix + ".scale_codes"));
  EXPECT_EQ(Held<float>(q.scale_scales), golden.Values<float>(prefix + ".nested_absmax"));
  EXPECT_EQ(q.scale_mean, golden.Values<float>(prefix + ".offset")[0]);
  EXPECT_EQ(Held<float>(q.scale_map), golden.Values<float>(prefix + ".nested_map"));
  EXPECT_EQ(Held<float>(Dequantize(q, DType::kF32)), golden.Values<float>(prefix + ".dequantized"));
}

}  // namespace
}  // namespace lorikeet
