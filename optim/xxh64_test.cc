#include "optim/xxh64.h"

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"

namespace lorikeet {
namespace {

// Values of libxxhash 0.8.1 on the bytes (7 i + 3) mod 256.
TEST(Xxh64, IsLibxxhashsAtEveryLengthClass) {
  struct Vector {
    size_t length;
    uint64_t seed_0, seed_golden;
  };
  const Vector vectors[] = {
      {0, 0xef46db3751d8e999, 0xc4349fc93c010000},   {1, 0x1f25c8d0bc1f4bb6, 0x79826bcd749d267a},
      {3, 0x31d2363f52e564c9, 0x78efd77575e26575},   {4, 0x9bb64b7d66ee9fda, 0x6f0a6c97d68bf353},
      {7, 0x9a7b149959ce60d8, 0xd97ede93c9d66a0d},   {8, 0xdab99d95c6f90092, 0xa2f1e28437a78a1b},
      {13, 0xf78b031308f5bfc8, 0x8911d13e1dee1a36},  {31, 0xa2aa5f33cc4a6119, 0x755437271d1d0a84},
      {32, 0x23c3c17ef790fd97, 0xbf624b932c090428},  {33, 0x50a7cfc7ba588784, 0x7aceaf1e9d34ea35},
      {63, 0x5e3e54b431c7493c, 0x2c8ddce5c85d0d9d},  {64, 0x0eb64b3ef6eeb01f, 0x4af341f14e3a6fc9},
      {100, 0xa61f8d4c170fe531, 0xf6d8f65c625abb4f}, {1000, 0x5f235fa033f1a3fb, 0x442acd0a822e86f6},
  };
  std::vector<char> data(1000);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(7 * i + 3);
  for (const Vector& v : vectors) {
    const absl::Span<const char> bytes(data.data(), v.length);
    EXPECT_EQ(Xxh64(bytes, 0), v.seed_0) << v.length;
    EXPECT_EQ(Xxh64(bytes, 0x9E3779B97F4A7C15), v.seed_golden) << v.length;
  }
}

}  // namespace
}  // namespace lorikeet
