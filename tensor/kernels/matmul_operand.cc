#include "tensor/kernels/matmul_operand.h"

#include <algorithm>

#include "tensor/kernels/dispatch.h"
#include "tensor/kernels/matmul_pack.h"
#include "tensor/kernels/scratch.h"

namespace lorikeet::internal {
namespace {

constexpr int64_t kPiece = 256;  // of k: 64 rows of it stay in the cache between conversion and packing

// An operand already in the format's dtype, with one of its strides 1.
void PackContiguous(const Operand& x, const Format& format, int64_t n0, int64_t n, int64_t k0, int64_t k, char* dst) {
  const int64_t width = PanelWidth(n);
  uint32_t* cells = reinterpret_cast<uint32_t*>(dst);
  if (x.stride_k == 1) {
    const int64_t steps = k / format.pair;
    PackTransposed(x.at(n0, k0), x.stride_n * format.element, steps, n, cells, width);
    if (steps == format.Steps(k)) return;
    uint32_t* last = cells + steps * width;
    for (int64_t j = 0; j < width; ++j) {
      last[j] = j < n ? *reinterpret_cast<const uint16_t*>(x.at(n0 + j, k0 + k - 1)) : 0;
    }
  } else if (format.pair == 2) {
    PackPairs(reinterpret_cast<const uint16_t*>(x.at(n0, k0)), x.stride_k, k, n, cells, width);
  } else {
    PackRows(reinterpret_cast<const float*>(x.at(n0, k0)), x.stride_k, k, n, reinterpret_cast<float*>(dst), width);
  }
}

template <typename From, typename To>
void ConvertRow(const From* from, int64_t stride, int64_t n, To* to) {
  if constexpr (std::is_same_v<From, bf16> && std::is_same_v<To, float>) {
    if (stride == 1) return WidenBF16(reinterpret_cast<const uint16_t*>(from), n, to);
  }
  for (int64_t i = 0; i < n; ++i) {
    if constexpr (std::is_same_v<From, To>) {
      to[i] = from[i * stride];
    } else {
      to[i] = To(static_cast<float>(from[i * stride]));
    }
  }
}

// Fills `rows` rows of `columns` elements, along whichever dimension of x is nearer to contiguous.
void ConvertBlock(const Operand& x, DType to, int64_t n0, int64_t n, int64_t k0, int64_t k, bool along_k, char* dst,
                  int64_t dst_stride) {
  DispatchFloat(x.dtype, [&]<typename From>() {
    DispatchFloat(to, [&]<typename To>() {
      for (int64_t i = 0; i < (along_k ? n : k); ++i) {
        const char* row = along_k ? x.at(n0 + i, k0) : x.at(n0, k0 + i);
        ConvertRow(reinterpret_cast<const From*>(row), along_k ? x.stride_k : x.stride_n, along_k ? k : n,
                   reinterpret_cast<To*>(dst) + i * dst_stride);
      }
    });
  });
}

void PackF64(const Operand& x, int64_t n0, int64_t n, int64_t k0, int64_t k, double* dst) {
  const int64_t width = PanelWidth(n);
  for (int64_t s = 0; s < k; ++s, dst += width) {
    for (int64_t j = 0; j < width; ++j) dst[j] = j < n ? *reinterpret_cast<const double*>(x.at(n0 + j, k0 + s)) : 0;
  }
}

// Piece by piece through a small block of rows in the format's dtype.
void PackConverted(const Operand& x, const Format& format, int64_t n0, int64_t n, int64_t k0, int64_t k, char* dst) {
  const bool along_k = x.stride_n != 1;
  const int64_t stride = along_k ? kPiece : kPanelColumns;
  char* rows = static_cast<char*>(ThreadScratch(kScratchRows, kPanelColumns * kPiece * format.element));
  const Operand block{
      .data = rows, .dtype = format.dtype, .stride_n = along_k ? stride : 1, .stride_k = along_k ? 1 : stride};
  for (int64_t done = 0; done < k; done += kPiece) {
    const int64_t piece = std::min(kPiece, k - done);
    ConvertBlock(x, format.dtype, n0, n, k0 + done, piece, along_k, rows, stride);
    PackContiguous(block, format, 0, n, 0, piece, dst + format.Steps(done) * PanelWidth(n) * format.cell());
  }
}

// Piece by piece through a small block of decoded rows, in the dtype that the product asked for.
void PackDecoded(const Operand& x, const Format& format, int64_t n0, int64_t n, int64_t k0, int64_t k, char* dst) {
  const PanelSource& w = *x.source;
  const int64_t stride = x.transposed ? kPiece : kPanelColumns;
  void* rows = ThreadScratch(kScratchDecoded, kPanelColumns * kPiece * SizeOf(x.dtype));
  const Operand block{.data = static_cast<const char*>(rows),
                      .dtype = x.dtype,
                      .stride_n = x.transposed ? stride : 1,
                      .stride_k = x.transposed ? 1 : stride};
  for (int64_t done = 0; done < k; done += kPiece) {
    const int64_t piece = std::min(kPiece, k - done);
    if (x.transposed) {
      w.decode(w.context, n0, n, k0 + done, piece, x.dtype, rows, stride);
    } else {
      w.decode(w.context, k0 + done, piece, n0, n, x.dtype, rows, stride);
    }
    PackPanel(block, format, 0, n, 0, piece, dst + format.Steps(done) * PanelWidth(n) * format.cell());
  }
}

}  // namespace

void PackPanel(const Operand& x, const Format& format, int64_t n0, int64_t n, int64_t k0, int64_t k, void* dst) {
  char* out = static_cast<char*>(dst);
  if (format.dtype == DType::kF64) return PackF64(x, n0, n, k0, k, static_cast<double*>(dst));
  if (x.source != nullptr) {
    int64_t done = 0;
    if (x.source->pack_bf16 != nullptr && format.pair == 2 && n == kPanelColumns) {
      done = k / kPanelColumns * kPanelColumns;
      if (done > 0) x.source->pack_bf16(x.source->context, x.transposed, k0, done, n0, static_cast<uint16_t*>(dst));
    }
    return PackDecoded(x, format, n0, n, k0 + done, k - done, out + format.Steps(done) * PanelWidth(n) * format.cell());
  }
  if (x.dtype == format.dtype && (x.stride_k == 1 || x.stride_n == 1)) {
    return PackContiguous(x, format, n0, n, k0, k, out);
  }
  PackConverted(x, format, n0, n, k0, k, out);
}

}  // namespace lorikeet::internal
