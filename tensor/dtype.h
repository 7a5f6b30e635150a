// Element types, and the two 16-bit floats that C++20 lacks.
//
//   bf16 b(1.5f);  float x = b;           // conversions round to nearest even
//   SizeOf(DType::kBF16) == 2;  Name(DType::kF32) == "f32";  DTypeOf<float>() == DType::kF32
//
// bf16 is the upper half of an IEEE binary32; f16 is IEEE binary16. NaN stays NaN (quiet), overflow becomes infinity.
// Compiles under nvcc without Abseil: kernels of every backend see these types.
#ifndef LORIKEET_TENSOR_DTYPE_H_
#define LORIKEET_TENSOR_DTYPE_H_

#include <bit>
#include <cstddef>
#include <cstdint>

namespace lorikeet {

enum class DType : uint8_t { kF64, kF32, kBF16, kF16, kI32, kI64, kU8 };

constexpr uint16_t F32ToBF16Bits(float x) {
  uint32_t u = std::bit_cast<uint32_t>(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((u >> 16) | 0x40u);  // NaN: keep it quiet
  return static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}
constexpr float BF16BitsToF32(uint16_t b) { return std::bit_cast<float>(static_cast<uint32_t>(b) << 16); }

constexpr uint16_t F32ToF16Bits(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x);
  const uint32_t sign = (u >> 16) & 0x8000u, magnitude = u & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // 65520 and up round to infinity
  if (magnitude < 0x38800000u) {                                               // below 2^-14: denormal or zero
    // Adding 0.5 puts the result's 10 bits at the bottom of the mantissa, rounded by the hardware.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0xc8000fffu + ((magnitude >> 13) & 1u);  // re-bias by -112, round to even
  return static_cast<uint16_t>(sign | (rounded >> 13));
}
constexpr float F16BitsToF32(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16, exponent = (h >> 10) & 31u, mantissa = h & 0x3ffu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (mantissa << 13));
  const float value = static_cast<float>(mantissa) * 0x1p-24f;
  return sign ? -value : value;
}

struct bf16 {
  uint16_t bits = 0;
  constexpr bf16() = default;
  constexpr explicit bf16(float x) : bits(F32ToBF16Bits(x)) {}
  constexpr operator float() const { return BF16BitsToF32(bits); }
};

struct f16 {
  uint16_t bits = 0;
  constexpr f16() = default;
  constexpr explicit f16(float x) : bits(F32ToF16Bits(x)) {}
  constexpr operator float() const { return F16BitsToF32(bits); }
};

constexpr size_t SizeOf(DType t) {
  switch (t) {
    case DType::kF64:
    case DType::kI64:
      return 8;
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kBF16:
    case DType::kF16:
      return 2;
    case DType::kU8:
      return 1;
  }
  return 0;
}

constexpr const char* Name(DType t) {
  switch (t) {
    case DType::kF64:
      return "f64";
    case DType::kF32:
      return "f32";
    case DType::kBF16:
      return "bf16";
    case DType::kF16:
      return "f16";
    case DType::kI32:
      return "i32";
    case DType::kI64:
      return "i64";
    case DType::kU8:
      return "u8";
  }
  return "?";
}

constexpr bool IsFloat(DType t) {
  return t == DType::kF64 || t == DType::kF32 || t == DType::kBF16 || t == DType::kF16;
}

namespace internal {
template <typename T>
struct DTypeOfImpl;
template <>
struct DTypeOfImpl<double> {
  static constexpr DType value = DType::kF64;
};
template <>
struct DTypeOfImpl<float> {
  static constexpr DType value = DType::kF32;
};
template <>
struct DTypeOfImpl<bf16> {
  static constexpr DType value = DType::kBF16;
};
template <>
struct DTypeOfImpl<f16> {
  static constexpr DType value = DType::kF16;
};
template <>
struct DTypeOfImpl<int32_t> {
  static constexpr DType value = DType::kI32;
};
template <>
struct DTypeOfImpl<int64_t> {
  static constexpr DType value = DType::kI64;
};
template <>
struct DTypeOfImpl<uint8_t> {
  static constexpr DType value = DType::kU8;
};
}  // namespace internal

template <typename T>
constexpr DType DTypeOf() {
  return internal::DTypeOfImpl<T>::value;
}

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_DTYPE_H_
