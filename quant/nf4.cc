#include "quant/nf4.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "quant/blockwise8.h"
#include "quant/code_maps.h"
#include "tensor/check.h"
#include "tensor/kernels/dispatch.h"
#include "tensor/kernels/parallel.h"

namespace lorikeet {
namespace {

constexpr int64_t kGrain = 1 << 16;  // elements a chunk
constexpr int kMaxBlock = 4096;

bool IsBlockSize(int n) { return n >= 32 && n <= kMaxBlock && (n & (n - 1)) == 0; }

// The bits of |x| order like |x|, with infinity and NaN above every number.
uint32_t AbsMaxBits(const float* x, int n) {
  uint32_t most = 0;
  for (int i = 0; i < n; ++i) most = std::max(most, std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu);
  return most;
}

// Counting the thresholds below t needs no branch, so that the compiler does eight elements at a time.
void Nf4Encode(const float* x, int n, float inv, uint8_t* code) {
  for (int i = 0; i < n; ++i) {
    const float t = x[i] * inv;
    int c = 0;
    for (float threshold : kNf4Thresholds) c += t > threshold;
    code[i] = static_cast<uint8_t>(c);
  }
}

void Fp4Encode(const float* x, int n, float inv, uint8_t* code) {
  for (int i = 0; i < n; ++i) {
    const float t = x[i] * inv, magnitude = std::fabs(t);
    int c = 0;
    for (float threshold : kFp4Thresholds) c += magnitude > threshold;
    code[i] = static_cast<uint8_t>(kFp4Patterns[c] | (t < 0 ? 8 : 0));
  }
}

// n may be odd; x[n] is then a zero that pads the last byte.
void EncodeBlock(Nf4Kind kind, const float* x, int n, float absmax, uint8_t* packed) {
  uint8_t code[kMaxBlock];
  const int padded = n + n % 2;
  const float inv = 1.0f / std::max(absmax, 1e-38f);  // finite: a block of zeros gets the code of zero
  kind == Nf4Kind::kNf4 ? Nf4Encode(x, padded, inv, code) : Fp4Encode(x, padded, inv, code);
  for (int j = 0; j < padded / 2; ++j) packed[j] = static_cast<uint8_t>(code[2 * j] << 4 | code[2 * j + 1]);
}

// Fills codes and scales; returns the first element that is not finite, or -1.
template <typename T>
int64_t EncodeAll(const T* w, int64_t n, const Nf4Options& options, uint8_t* codes, float* scales) {
  std::atomic<int64_t> first_bad{std::numeric_limits<int64_t>::max()};
  ParallelFor(NumBlocks(n, options.block), kGrain / options.block, [&](int64_t begin, int64_t end) {
    float x[kMaxBlock + 1];
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = b * options.block;
      const int count = static_cast<int>(std::min<int64_t>(options.block, n - first));
      for (int i = 0; i < count; ++i) x[i] = static_cast<float>(w[first + i]);
      x[count] = 0;
      const uint32_t bits = AbsMaxBits(x, count);
      scales[b] = std::bit_cast<float>(bits);
      if (bits >= 0x7f800000u) {
        const int64_t bad = first + (std::find_if_not(x, x + count, [](float v) { return std::isfinite(v); }) - x);
        for (int64_t seen = first_bad; bad < seen && !first_bad.compare_exchange_weak(seen, bad);) {
        }
        return;
      }
      EncodeBlock(options.kind, x, count, scales[b], codes + first / 2);
    }
  });
  const int64_t bad = first_bad;
  return bad == std::numeric_limits<int64_t>::max() ? -1 : bad;
}

std::string Position(const Shape& shape, int64_t i) {
  std::string out;
  for (int d = shape.rank() - 1; d >= 0; --d) {
    out = absl::StrCat(i % shape[d], out.empty() ? "" : ",", out);
    i /= shape[d];
  }
  return absl::StrCat("[", out, "]");
}

absl::Status NotFinite(const Tensor& w, int64_t i) {
  const double value = w.Reshape({-1}).Slice(0, i, i + 1).item();
  return absl::InvalidArgumentError(absl::StrCat(Describe(w), " is ",
                                                 std::isnan(value) ? "nan"
                                                 : value > 0       ? "inf"
                                                                   : "-inf",
                                                 " at ", Position(w.shape(), i),
                                                 "; only finite weights can be quantized: is the file damaged?"));
}

template <size_t N>
Tensor MapTensor(const std::array<float, N>& map) {
  return Tensor::From<float>(absl::MakeConstSpan(map), {static_cast<int64_t>(N)});
}

// scales becomes 8-bit codes of its distance to the mean. The mean is summed in f64, in order.
void DoubleQuantize(int scale_block, Nf4Tensor& q) {
  const absl::Span<float> absmax = q.scales.data<float>();
  double sum = 0;
  for (float a : absmax) sum += a;
  q.scale_mean = absmax.empty() ? 0 : static_cast<float>(sum / static_cast<double>(absmax.size()));
  std::vector<float> difference(absmax.size());
  for (size_t b = 0; b < absmax.size(); ++b) difference[b] = absmax[b] - q.scale_mean;
  const int64_t blocks = q.num_blocks();
  q.scales = Tensor::Empty({blocks}, DType::kU8);
  q.scale_scales = Tensor::Empty({NumBlocks(blocks, scale_block)}, DType::kF32);
  q.scale_map = MapTensor(SignedDynamicMap());
  EncodeBlocks8(difference, scale_block, Map8::kSigned, q.scales.data<uint8_t>(), q.scale_scales.data<float>());
}

}  // namespace

int64_t Nf4Tensor::nbytes() const {
  int64_t bytes = 0;
  for (const Tensor* t : {&codes, &scales, &scale_scales, &code_map, &scale_map})
    bytes += t->defined() ? t->nbytes() : 0;
  return bytes;
}

Nf4View Nf4Tensor::view() const {
  Nf4View v = {.codes = codes.data<uint8_t>().data(), .code_map = code_map.data<float>().data(), .block = block};
  if (!double_quantized()) {
    v.scales_f32 = scales.data<float>().data();
    return v;
  }
  v.scales_u8 = scales.data<uint8_t>().data();
  v.scale_scales = scale_scales.data<float>().data();
  v.scale_map = scale_map.data<float>().data();
  v.scale_mean = scale_mean;
  v.scale_block = scale_block;
  return v;
}

absl::Status Validate(const Nf4Options& options) {
  const auto range = [](absl::string_view name, int n) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " is ", n, "; it must be 32, 64, 128, 256, 512, 1024, 2048 or 4096"));
  };
  if (!IsBlockSize(options.block)) return range("quantization block size", options.block);
  if (!IsBlockSize(options.scale_block)) return range("double quantization block size", options.scale_block);
  return absl::OkStatus();
}

absl::StatusOr<Nf4Tensor> QuantizeNf4(const Tensor& w, const Nf4Options& options) {
  LORIKEET_CHECK(w.device().is_cpu() && IsFloat(w.dtype()) && w.dtype() != DType::kF64)
      << "QuantizeNf4: w is " << Describe(w) << ", expected f32, bf16 or f16 on the CPU";
  if (absl::Status status = Validate(options); !status.ok()) return status;
  Nf4Tensor q;
  q.shape = w.shape();
  q.dtype = w.dtype();
  q.kind = options.kind;
  q.block = options.block;
  q.scale_block = options.scale_block;
  q.codes = Tensor::Empty({(w.size() + 1) / 2, 1}, DType::kU8);
  q.scales = Tensor::Empty({q.num_blocks()}, DType::kF32);
  q.code_map = MapTensor(options.kind == Nf4Kind::kNf4 ? kNf4Codes : kFp4Codes);
  const Tensor flat = w.Contiguous();
  int64_t bad = -1;
  DispatchFloat(w.dtype(), [&]<typename T>() {
    bad = EncodeAll(flat.data<T>().data(), w.size(), options, q.codes.data<uint8_t>().data(),
                    q.scales.data<float>().data());
  });
  if (bad >= 0) return NotFinite(w, bad);
  if (options.double_quant) DoubleQuantize(options.scale_block, q);
  return q;
}

Tensor Dequantize(const Nf4Tensor& q, DType dtype) {
  Tensor out = Tensor::Empty(q.shape, dtype);
  const Nf4View w = q.view();
  DispatchFloat(dtype, [&]<typename T>() {
    T* to = out.data<T>().data();
    ParallelFor(q.size(), kGrain, [&](int64_t begin, int64_t end) { Nf4Decode(w, begin, end, to + begin); });
  });
  return out;
}

Tensor DequantizeScales(const Nf4Tensor& q) {
  Tensor out = Tensor::Empty({q.num_blocks()}, DType::kF32);
  Nf4Scales(q.view(), 0, q.num_blocks(), out.data<float>().data());
  return out;
}

}  // namespace lorikeet
