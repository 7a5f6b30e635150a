// The number lines of the quantized formats: NF4 and FP4 (16 values), and the 8-bit dynamic maps (256 values).
//
//   kNf4Codes[7] == 0;  kNf4Codes[15] == 1;            // a weight is kNf4Codes[code] * absmax of its block
//   SignedDynamicMap()[127] == 0;  SignedDynamicMap()[255] == 1;
//
// A value t in [-1, 1] gets the NF4 code c when exactly c thresholds lie below it: t > threshold moves up, so that a
// tie goes to the lower code. The thresholds are the float32 midpoints between neighbouring codes.
//
// These are the tables that bitsandbytes writes into its checkpoints, bit for bit. Files carry their own copy; a
// reader uses the file's, a writer emits these.
// Source: Dettmers et al., "QLoRA" (NeurIPS 2023), appendix E; Dettmers, "8-Bit Approximations for Parallelism in Deep
// Learning" (ICLR 2016) and "8-bit Optimizers via Block-wise Quantization" (ICLR 2022), section 1.3.
#ifndef LORIKEET_QUANT_CODE_MAPS_H_
#define LORIKEET_QUANT_CODE_MAPS_H_

#include <array>

namespace lorikeet {

// Quantiles of the standard normal distribution, scaled to [-1, 1]: 7 negative values, an exact zero, 8 positive ones.
// The decimals are the shortest that name these float32 numbers; deriving them anew gives other last bits.
inline constexpr std::array<float, 16> kNf4Codes = {
    -1.0f,
    -0.6961928009986877f,
    -0.5250730514526367f,
    -0.39491748809814453f,
    -0.28444138169288635f,
    -0.18477343022823334f,
    -0.09105003625154495f,
    0.0f,
    0.07958029955625534f,
    0.16093020141124725f,
    0.24611230194568634f,
    0.33791524171829224f,
    0.44070982933044434f,
    0.5626170039176941f,
    0.7229568362236023f,
    1.0f,
};

// kNf4Thresholds[c] lies between codes c and c + 1: their sum in float32, halved.
inline constexpr std::array<float, 15> kNf4Thresholds = {
    -0.8480963706970215f,  -0.6106328964233398f,   -0.4599952697753906f, -0.33967941999435425f, -0.23460739850997925f,
    -0.13791173696517944f, -0.045525018125772476f, 0.03979014977812767f, 0.120255246758461f,    0.2035212516784668f,
    0.2920137643814087f,   0.3893125355243683f,    0.5016634464263916f,  0.6427869200706482f,   0.8614784479141235f,
};

// FP4: bit 3 is the sign, bits 0..2 name a magnitude (not in order), in twelfths.
inline constexpr std::array<float, 16> kFp4Codes = {
    0.0f, 0.0625f / 12,  8.0f / 12,  1.0f,  4.0f / 12,  0.5f,  2.0f / 12,  0.25f,
    0.0f, -0.0625f / 12, -8.0f / 12, -1.0f, -4.0f / 12, -0.5f, -2.0f / 12, -0.25f,
};

// A magnitude above exactly k of the thresholds gets the pattern kFp4Patterns[k].
inline constexpr std::array<float, 7> kFp4Thresholds = {
    0.00260417f, 0.0859375f, 0.20833333f, 0.29166667f, 0.4166667f, 0.583333f, 0.8333333f,
};
inline constexpr std::array<int, 8> kFp4Patterns = {0, 1, 6, 7, 4, 5, 2, 3};

// The 8-bit dynamic maps: seven decades down to 1e-6, each next smaller decade with half as many values, so that small
// numbers keep their order of magnitude and large ones get precision. Ascending.
const std::array<float, 256>& SignedDynamicMap();    // 127 negative (from -0.99297), 0 at index 127, 128 positive to 1
const std::array<float, 256>& UnsignedDynamicMap();  // 0 at index 0, 255 positive to 1

}  // namespace lorikeet

#endif  // LORIKEET_QUANT_CODE_MAPS_H_
