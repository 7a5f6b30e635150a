#include "quant/nf4.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "quant/blockwise8.h"
#include "quant/code_maps.h"
#include "quant/nf4_kernels.h"
#include "tensor/check.h"
#include "tensor/kernels/launch.h"
#include "tensor/ops/kernel_or_die.h"

namespace lorikeet {
namespace {

using tensor::KernelOrDie;

constexpr int kMaxBlock = 4096;

const Nf4Kernels& KernelsFor(Device device) { return device.is_cpu() ? kCpuNf4 : kCudaNf4; }

bool IsBlockSize(int n) { return n >= 32 && n <= kMaxBlock && (n & (n - 1)) == 0; }

// The first element that is not finite, or -1. The scales, on the host, tell the block.
int64_t FirstBad(const Tensor& w, int block, absl::Span<const float> scales) {
  const auto finite = [](float v) { return std::isfinite(v); };
  const auto bad = std::find_if_not(scales.begin(), scales.end(), finite);
  if (bad == scales.end()) return -1;
  const int64_t begin = (bad - scales.begin()) * block, end = std::min(begin + block, w.size());
  const Tensor x = w.Reshape({-1}).Slice(0, begin, end).To(kCpu).Cast(DType::kF32);
  const absl::Span<float> values = x.data<float>();
  return begin + (std::find_if_not(values.begin(), values.end(), finite) - values.begin());
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

const void* Checked(const Tensor& t, DType dtype) {
  LORIKEET_CHECK(t.dtype() == dtype && t.contiguous())
      << "Nf4Tensor: a part is " << Describe(t) << ", expected contiguous " << Name(dtype);
  return t.raw();
}

template <size_t N>
Tensor MapTensor(const std::array<float, N>& map, Device device) {
  return Tensor::From<float>(absl::MakeConstSpan(map), {static_cast<int64_t>(N)}, device);
}

// scales becomes 8-bit codes of its distance to the mean. The mean is summed in f64, in order: `absmax` are the scales,
// on the host.
void DoubleQuantize(int scale_block, absl::Span<const float> absmax, Nf4Tensor& q) {
  double sum = 0;
  for (float a : absmax) sum += a;
  q.scale_mean = absmax.empty() ? 0 : static_cast<float>(sum / static_cast<double>(absmax.size()));
  const int64_t blocks = q.num_blocks();
  const Tensor scales = q.scales;
  q.scales = Tensor::Empty({blocks}, DType::kU8, q.device());
  q.scale_scales = Tensor::Empty({NumBlocks(blocks, scale_block)}, DType::kF32, q.device());
  q.scale_map = MapTensor(SignedDynamicMap(), q.device());
  KernelOrDie(KernelsFor(q.device()).encode_scales, "QuantizeNf4", scales)(
      scales.view(), q.scale_mean, scale_block, q.scales.view(), q.scale_scales.view(), LaunchContext{});
}

}  // namespace

int64_t Nf4Tensor::nbytes() const {
  int64_t bytes = 0;
  for (const Tensor* t : {&codes, &scales, &scale_scales, &code_map, &scale_map})
    bytes += t->defined() ? t->nbytes() : 0;
  return bytes;
}

Nf4Tensor Nf4Tensor::To(Device device) const {
  Nf4Tensor q = *this;
  for (Tensor* t : {&q.codes, &q.scales, &q.scale_scales, &q.code_map, &q.scale_map}) {
    if (t->defined()) *t = t->To(device);
  }
  return q;
}

Nf4View Nf4Tensor::view() const {
  const auto floats = [](const Tensor& t) { return static_cast<const float*>(Checked(t, DType::kF32)); };
  const auto bytes = [](const Tensor& t) { return static_cast<const uint8_t*>(Checked(t, DType::kU8)); };
  Nf4View v = {.codes = bytes(codes), .code_map = floats(code_map), .block = block};
  if (!double_quantized()) {
    v.scales_f32 = floats(scales);
    return v;
  }
  v.scales_u8 = bytes(scales);
  v.scale_scales = floats(scale_scales);
  v.scale_map = floats(scale_map);
  v.scale_mean = scale_mean;
  v.scale_block = scale_block;
  return v;
}

const char* Name(Nf4Kind kind) { return kind == Nf4Kind::kFp4 ? "fp4" : "nf4"; }

absl::StatusOr<Nf4Kind> ParseNf4Kind(absl::string_view name) {
  for (const Nf4Kind kind : {Nf4Kind::kNf4, Nf4Kind::kFp4}) {
    if (name == Name(kind)) return kind;
  }
  return absl::InvalidArgumentError(absl::StrCat(name, ": expected nf4 or fp4"));
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
  LORIKEET_CHECK(IsFloat(w.dtype()) && w.dtype() != DType::kF64)
      << "QuantizeNf4: w is " << Describe(w) << ", expected f32, bf16 or f16";
  if (absl::Status status = Validate(options); !status.ok()) return status;
  Nf4Tensor q;
  q.shape = w.shape();
  q.dtype = w.dtype();
  q.kind = options.kind;
  q.block = options.block;
  q.scale_block = options.scale_block;
  q.codes = Tensor::Empty({(w.size() + 1) / 2, 1}, DType::kU8, w.device());
  q.scales = Tensor::Empty({q.num_blocks()}, DType::kF32, w.device());
  q.code_map = MapTensor(options.kind == Nf4Kind::kNf4 ? kNf4Codes : kFp4Codes, w.device());
  const Tensor flat = w.Contiguous();
  KernelOrDie(KernelsFor(w.device()).encode, "QuantizeNf4", w)(flat.view(), options.kind, options.block, q.codes.view(),
                                                               q.scales.view(), LaunchContext{});
  const Tensor scales = q.scales.To(kCpu);
  const int64_t bad = FirstBad(flat, options.block, scales.data<float>());
  if (bad >= 0) return NotFinite(w, bad);
  if (options.double_quant) DoubleQuantize(options.scale_block, scales.data<float>(), q);
  return q;
}

Tensor Dequantize(const Nf4Tensor& q, DType dtype) {
  Tensor out = Tensor::Empty(q.shape, dtype, q.device());
  KernelOrDie(KernelsFor(q.device()).decode, "Dequantize", q.codes)(q.view(), out.view(), LaunchContext{});
  return out;
}

Tensor DequantizeScales(const Nf4Tensor& q) {
  Tensor out = Tensor::Empty({q.num_blocks()}, DType::kF32, q.device());
  KernelOrDie(KernelsFor(q.device()).decode_scales, "Dequantize", q.codes)(q.view(), out.view(), LaunchContext{});
  return out;
}

Tensor GatherRows(const Nf4Tensor& q, const Tensor& ids, DType dtype) {
  LORIKEET_CHECK(q.shape.rank() == 2 && ids.dtype() == DType::kI32 && ids.device() == q.device())
      << "GatherRows: ids is " << Describe(ids) << " on " << ToString(ids.device()) << " and the weight " << q.shape
      << " on " << ToString(q.device());
  Tensor out = Tensor::Empty({ids.size(), q.shape[1]}, dtype, q.device());
  const Tensor flat = ids.Reshape({-1});
  KernelOrDie(KernelsFor(q.device()).gather_rows, "GatherRows", q.codes)(q.view(), q.shape[0], flat.view(), out.view(),
                                                                         LaunchContext{});
  return out;
}

}  // namespace lorikeet
