#include "quant/nf4_panels.h"

#include <vector>

#include "quant/nf4_avx512.h"
#include "tensor/check.h"
#include "tensor/dtype.h"

namespace lorikeet {
namespace {

bool HasAvx512() {
  static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                          __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bf16");
  return has;
}

const Nf4Panels& Panels(const void* context) { return *static_cast<const Nf4Panels*>(context); }

template <typename T>
void DecodeRows(const Nf4Panels& w, int64_t row0, int64_t rows, int64_t col0, int64_t cols, T* dst, int64_t stride) {
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t first = (row0 + i) * w.source().cols + col0;
    Nf4Decode(w.view(), first, first + cols, dst + i * stride);
  }
}

void Decode(const void* context, int64_t row0, int64_t rows, int64_t col0, int64_t cols, DType dtype, void* dst,
            int64_t stride) {
  if (dtype == DType::kBF16)
    return DecodeRows(Panels(context), row0, rows, col0, cols, static_cast<bf16*>(dst), stride);
  DecodeRows(Panels(context), row0, rows, col0, cols, static_cast<float*>(dst), stride);
}

void PackBF16(const void* context, bool transposed, int64_t k0, int64_t k_count, int64_t n0, uint16_t* dst) {
  const Nf4Panels& w = Panels(context);
  internal::Nf4PackAvx512(w.view(), w.source().cols, transposed, k0, k_count, n0, dst);
}

void DotRows(const void* context, int64_t row0, int64_t rows, DType x_dtype, const void* x, int64_t m_count,
             int64_t x_stride, float* y, int64_t y_stride) {
  const Nf4Panels& w = Panels(context);
  const int64_t cols = w.source().cols;
  thread_local std::vector<float> scratch;  // kept from call to call: a product has many
  scratch.resize(static_cast<size_t>(kDotRows * internal::Nf4DotColumns(cols)));
  if (x_dtype == DType::kF32) {
    internal::Nf4DotF32Avx512(w.view(), cols, row0, rows, static_cast<const float*>(x), m_count, x_stride,
                              scratch.data(), y, y_stride);
  } else {
    internal::Nf4DotBF16Avx512(w.view(), cols, row0, rows, static_cast<const uint16_t*>(x), m_count, x_stride,
                               reinterpret_cast<uint16_t*>(scratch.data()), y, y_stride);
  }
}

}  // namespace

Nf4Panels::Nf4Panels(const Nf4Tensor& w, Decoder decoder) : view_(w.view()) {
  LORIKEET_CHECK_EQ(w.shape.rank(), 2) << "Nf4Panels: weight of shape " << w.shape;
  source_ = {.rows = w.shape[0], .cols = w.shape[1], .context = this, .decode = Decode};
  if (decoder == Decoder::kPlain || !HasAvx512()) return;
  if (source_.cols % 32 == 0) source_.pack_bf16 = PackBF16;
  if (source_.cols % 64 == 0 && w.block % 64 == 0) source_.dot_rows = DotRows;
}

}  // namespace lorikeet
