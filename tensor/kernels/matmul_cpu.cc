// Blocking, packing and tasks of the matrix products. A task is a chunk of rows of y by one panel of 64 columns; it
// packs its panel (or finds it packed), then runs strips over it, block of k by block of k.
#include <algorithm>
#include <memory>
#include <utility>

#include "tensor/kernels/matmul.h"
#include "tensor/kernels/matmul_finish.h"
#include "tensor/kernels/matmul_operand.h"
#include "tensor/kernels/matmul_thin.h"
#include "tensor/kernels/matmul_tile.h"
#include "tensor/kernels/parallel.h"
#include "tensor/kernels/scratch.h"

namespace lorikeet {
namespace {

using internal::FinishRows;
using internal::Format;
using internal::Operand;
using internal::PackPanel;
using internal::PanelWidth;
using internal::Strip;

// A block of k is what lets one panel stay in a level-2 cache of 1 MB.
Format FormatFor(DType a, DType b, int64_t k) {
  if (a == DType::kF64) return {.dtype = DType::kF64, .element = 8, .k_block = 1024};
  if (a == DType::kBF16 && b == DType::kBF16 && internal::HaveBF16Dot()) {
    return {.dtype = DType::kBF16, .element = 2, .pair = 2, .k_block = k > 4096 ? 2048 : 4096};
  }
  return {.dtype = DType::kF32, .element = 4, .k_block = 2048};
}

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// y = alpha * gain * (a*b^T + u*v^T) + beta * y, as Operands see it; u.n is 0 where there is no correction.
struct Problem {
  Operand a = {}, b = {}, u = {}, v = {};
  View y = {}, gain = {};
  float alpha = 1, beta = 0;
};

// Whether rows are read where they are: steps must lie side by side in them.
bool IsDirect(const Operand& x, const Format& format) {
  return x.dtype == format.dtype && x.stride_k == 1 && x.k % format.pair == 0;
}

class Product {
 public:
  explicit Product(const Problem& t)
      : a_(t.a), b_(t.b), u_(t.u), v_(t.v), y_(t.y), gain_(t.gain), alpha_(t.alpha), beta_(t.beta) {
    m_ = a_.n;
    n_ = b_.n;
    k_ = a_.k;
    format_ = FormatFor(a_.dtype, b_.source != nullptr ? a_.dtype : b_.dtype, k_);
    panels_ = CeilDiv(n_, kPanelColumns);
    direct_a_ = IsDirect(a_, format_) || a_.dtype == DType::kF64;  // f64: wherever they lie
    local_a_ = !direct_a_ && panels_ == 1;
    direct_y_ = y_.strides[1] == 1 && format_.dtype != DType::kF64 &&
                (y_.dtype == DType::kF32 || (y_.dtype == DType::kBF16 && format_.dtype == DType::kBF16));
    ChooseTasks();
    // f32 steps that lie in rows of 16 columns and more are read where they are, too, if few rows of a share them.
    direct_b_ = format_.dtype == DType::kF32 && b_.source == nullptr && b_.dtype == DType::kF32 && b_.stride_n == 1 &&
                m_ <= kPanelColumns && n_ % 16 == 0 && u_.n == 0 && !shared_b_;
  }

  // Whether the inner loops can add u*v^T and scale by a gain themselves.
  static bool Fuses(const Problem& t) {
    const Format format = FormatFor(t.a.dtype, t.b.source != nullptr ? t.a.dtype : t.b.dtype, t.a.k);
    return format.dtype != DType::kF64 && IsDirect(t.a, format) && (t.u.n == 0 || IsDirect(t.u, format));
  }

  void Run() {
    if (direct_a_ || local_a_) return RunRows(0, m_);
    // The rows packed at a time, for all panels to read: at most about 32 MB.
    const int64_t row_bytes = format_.Steps(k_) * format_.cell();
    const int64_t most = std::max<int64_t>(1024, (int64_t{32} << 20) / std::max<int64_t>(1, row_bytes)) / 64 * 64;
    for (int64_t row = 0; row < m_; row += most) RunRows(row, std::min(row + most, m_));
  }

 private:
  void ChooseTasks() {
    if (k_ <= kShortReduction && direct_a_ && panels_ > 1) {
      // Writing y is most of the work: whole rows, a few at a time, in the order of memory.
      shared_b_ = true;
      group_ = panels_;
      chunk_ = 2 * RowUnit();
      return;
    }
    ChooseChunks();
  }

  // Rows that a strip should have a multiple of: two tiles of the inner loops'.
  int64_t RowUnit() const { return format_.dtype == DType::kBF16 && internal::HaveAmx() ? 32 : 12; }

  // Weighs idle threads at the end against packing a panel more than once, which costs about as much as 5 rows.
  void ChooseChunks() {
    const int64_t threads = NumThreads();
    const double pack = 5.2 / static_cast<double>(std::max<int64_t>(1, m_));
    double best = 0;
    int64_t chunks = 1;
    for (int64_t c = 1; c <= std::min<int64_t>(64, CeilDiv(m_, 64)); ++c) {
      const int64_t tasks = panels_ * c;
      const double busy = static_cast<double>(CeilDiv(tasks, threads) * threads) / static_cast<double>(tasks);
      const bool shared = c > kMaxRepacks;
      const double packing = shared ? 1.5 * pack + 0.02 : pack * static_cast<double>(c);
      const double cost = busy * (1 + packing) + 0.05 * static_cast<double>(threads) / static_cast<double>(tasks);
      if (c == 1 || cost < best) {
        best = cost;
        chunks = c;
      }
    }
    shared_b_ = chunks > kMaxRepacks;
    const int64_t unit = direct_a_ ? RowUnit() : kPanelColumns;
    chunk_ = CeilDiv(CeilDiv(m_, chunks), unit) * unit;
    if (k_ > format_.k_block) chunk_ = std::min<int64_t>(chunk_, 1920);  // sums between blocks stay near
    if (local_a_) chunk_ = kPanelColumns;
  }

  // Of a panel of b, with what u*v^T adds.
  int64_t AllSteps() const { return format_.Steps(k_) + (u_.n > 0 ? format_.Steps(u_.k) : 0); }
  // Where panel p of an operand packed as a whole begins.
  char* PanelAt(void* packed, int64_t p) const {
    return static_cast<char*>(packed) + p * kPanelColumns * AllSteps() * format_.cell();
  }
  // x and, behind it in each panel, what `more` has (nothing if it is null).
  void* PackWhole(const Operand& x, const Operand* more, int64_t begin, int64_t end, ScratchSlot slot) const {
    const int64_t panels = CeilDiv(end - begin, kPanelColumns), pieces = CeilDiv(k_, kPackPiece);
    void* packed = ThreadScratch(slot, static_cast<size_t>(panels * kPanelColumns * AllSteps() * format_.cell()));
    ParallelFor(panels * pieces, 1, [&](int64_t task, int64_t) {
      const int64_t p = task / pieces, k0 = task % pieces * kPackPiece, n0 = begin + p * kPanelColumns;
      const int64_t n = std::min(kPanelColumns, end - n0), k = std::min(kPackPiece, k_ - k0);
      const int64_t step = PanelWidth(n) * format_.cell();
      PackPanel(x, format_, n0, n, k0, k, PanelAt(packed, p) + format_.Steps(k0) * step);
      if (more == nullptr || k0 + k < k_) return;
      PackPanel(*more, format_, n0, n, 0, more->k, PanelAt(packed, p) + format_.Steps(k_) * step);
    });
    return packed;
  }

  void RunRows(int64_t begin, int64_t end) const {
    void* a = direct_a_ || local_a_ ? nullptr : PackWhole(a_, nullptr, begin, end, kScratchShared);
    void* b = shared_b_ ? PackWhole(b_, u_.n > 0 ? &v_ : nullptr, 0, n_, kScratchSharedPanels) : nullptr;
    const int64_t chunks = CeilDiv(end - begin, chunk_);
    ParallelFor(CeilDiv(panels_, group_) * chunks, 1, [&](int64_t task, int64_t) {
      const int64_t row = begin + task % chunks * chunk_, first = task / chunks * group_;
      const int64_t last = std::min(first + group_, panels_), soon = (task + NumThreads()) / chunks * group_;
      for (int64_t panel = first; panel < last; ++panel) {
        Panel(panel, panel + 1 < last ? panel + 1 : soon, row, std::min(row + chunk_, end), begin, a, b);
      }
    });
  }

  // Rows [row, end) of y by one panel; `soon` is the one that this thread is likely to pack next. packed_a starts at
  // row `begin`.
  void Panel(int64_t panel, int64_t soon, int64_t row, int64_t end, int64_t begin, void* packed_a,
             void* packed_b) const {
    const int64_t n0 = panel * kPanelColumns, n = std::min(kPanelColumns, n_ - n0), width = PanelWidth(n);
    const bool keeps_sums = !direct_y_ || k_ > format_.k_block;
    const size_t sum_bytes = format_.dtype == DType::kF64 ? sizeof(double) : sizeof(float);
    void* sums =
        keeps_sums ? ThreadScratch(kScratchSums, static_cast<size_t>((end - row) * width) * sum_bytes) : nullptr;
    Strip s{.width = width,
            .columns = n,
            .y_row = y_.strides[0],
            .y_bf16 = y_.dtype == DType::kBF16,
            .alpha = alpha_,
            .beta = beta_,
            .gain = gain_.data == nullptr || !direct_y_ ? nullptr : gain_.ptr<const float>() + n0};
    int64_t k0 = 0;
    do {
      const int64_t k = std::min(format_.k_block, k_ - k0);
      s.steps = format_.Steps(k);
      s.start = k0 > 0 ? sums : nullptr;
      s.stop = k0 + k < k_ || !direct_y_ ? sums : nullptr;
      s.next = {};
      s.y = y_.ptr<char>() + (row * y_.strides[0] + n0) * static_cast<int64_t>(SizeOf(y_.dtype));
      if (k0 + k == k_ && u_.n > 0) AddCorrection(row, &s);
      if (packed_b != nullptr) {
        s.panel = PanelAt(packed_b, panel) + format_.Steps(k0) * width * format_.cell();
      } else if (direct_b_) {
        s.panel = b_.at(n0, k0);
        s.panel_step = b_.stride_k;
      } else {
        const int64_t step = width * format_.cell();
        char* own = static_cast<char*>(ThreadScratch(kScratchPanel, static_cast<size_t>((s.steps + s.u_steps) * step)));
        PackPanel(b_, format_, n0, n, k0, k, own);
        if (s.u_steps > 0) PackPanel(v_, format_, n0, n, 0, v_.k, own + s.steps * step);
        s.panel = own;
        s.next = k0 + k < k_ ? Block(panel, k0 + k) : Block(soon, 0);
      }
      RunStrips(s, row, end, begin, k0, k, packed_a);
      k0 += k;
    } while (k0 < k_);
    if (direct_y_) return;
    if (format_.dtype == DType::kF64) {
      FinishRows(static_cast<double*>(sums), width, y_, row, end - row, n0, n, alpha_, beta_, gain_);
    } else {
      FinishRows(static_cast<float*>(sums), width, y_, row, end - row, n0, n, alpha_, beta_, gain_);
    }
  }

  // The part of b from which a panel's block of k is packed; nothing where that is not a matter of reading memory.
  internal::Prefetch Block(int64_t panel, int64_t k0) const {
    if (panel >= panels_ || b_.source != nullptr) return {};
    const int64_t n0 = panel * kPanelColumns, n = std::min(kPanelColumns, n_ - n0),
                  k = std::min(format_.k_block, k_ - k0);
    const int64_t element = static_cast<int64_t>(SizeOf(b_.dtype));
    const bool along_k = b_.stride_k == 1;
    return {.row = b_.at(n0, k0),
            .rows = along_k ? n : k,
            .row_bytes = (along_k ? k : n) * element,
            .row_stride = (along_k ? b_.stride_n : b_.stride_k) * element};
  }

  void AddCorrection(int64_t row, Strip* s) const {
    s->u = u_.at(row, 0);
    s->u_row = u_.stride_n * format_.element;
    s->u_step = format_.cell();
    s->u_steps = format_.Steps(u_.k);
  }

  // One block of k: a single strip if rows are read in place, else one per 64 packed rows.
  void RunStrips(Strip s, int64_t row, int64_t end, int64_t begin, int64_t k0, int64_t k, void* packed_a) const {
    if (direct_a_) {
      s.a = a_.at(row, k0);
      s.a_row = a_.stride_n * format_.element;
      s.a_step = a_.stride_k * format_.cell();
      s.rows = end - row;
      return RunStrip(s);
    }
    const int64_t sum_bytes = format_.dtype == DType::kF64 ? sizeof(double) : sizeof(float);
    for (int64_t r = row; r < end; r += kPanelColumns) {
      s.rows = std::min(kPanelColumns, end - r);
      const int64_t step = PanelWidth(s.rows) * format_.cell();
      if (packed_a != nullptr) {
        s.a = PanelAt(packed_a, (r - begin) / kPanelColumns) + format_.Steps(k0) * step;
      } else {
        void* own = ThreadScratch(kScratchShared, static_cast<size_t>(s.steps * step));
        PackPanel(a_, format_, r, s.rows, k0, k, own);
        s.a = static_cast<const char*>(own);
      }
      s.a_row = format_.cell();
      s.a_step = step;
      RunStrip(s);
      s.next = {};
      const int64_t sums_done = s.rows * s.width * sum_bytes;
      if (s.start != nullptr) s.start = static_cast<const char*>(s.start) + sums_done;
      if (s.stop != nullptr) s.stop = static_cast<char*>(s.stop) + sums_done;
      s.y = static_cast<char*>(s.y) + s.rows * s.y_row * static_cast<int64_t>(SizeOf(y_.dtype));
    }
  }

  void RunStrip(const Strip& s) const {
    switch (format_.dtype) {
      case DType::kF64:
        return internal::StripF64(s);
      case DType::kBF16:
        return internal::StripBF16(s);
      default:
        return internal::StripF32(s);
    }
  }

  static constexpr int64_t kShortReduction = 64;
  static constexpr int64_t kMaxRepacks = 4;
  static constexpr int64_t kPackPiece = 512;  // of k, a task of packing

  Operand a_, b_, u_, v_;
  View y_, gain_;
  float alpha_, beta_;
  int64_t m_ = 0, n_ = 0, k_ = 0, panels_ = 0;
  int64_t chunk_ = 0, group_ = 1;  // rows and panels of a task
  Format format_;
  bool direct_a_ = false, local_a_ = false, direct_b_ = false, shared_b_ = false, direct_y_ = false;
};

// Products of a few rows with a weight whose rows are contiguous: each weight is read once, from where it lies.
class RowsProduct {
 public:
  explicit RowsProduct(const Problem& t)
      : a_(t.a), b_(t.b), y_(t.y), alpha_(t.alpha), beta_(t.beta), dtype_(b_.source != nullptr ? a_.dtype : b_.dtype) {}

  static bool Fits(const Operand& a, const Operand& b) {
    if (a.n > kDotRows || a.k == 0 || a.stride_k != 1) return false;
    if (b.source != nullptr) return b.transposed;
    if (b.stride_k != 1) return false;
    return (a.dtype == DType::kF32 && (b.dtype == DType::kF32 || b.dtype == DType::kBF16)) ||
           (a.dtype == DType::kBF16 && b.dtype == DType::kBF16);
  }

  void Run() {
    if (a_.dtype == DType::kBF16 && !internal::HaveBF16Dot() &&
        (b_.source == nullptr || b_.source->dot_rows == nullptr))
      WidenRows();
    // Tasks of at most some 64 K weights, as many for each thread.
    const int64_t unit = b_.source != nullptr && b_.source->dot_rows == nullptr ? kPanelColumns : 16;
    const int64_t rounds = CeilDiv(b_.n * a_.k, NumThreads() * (int64_t{1} << 16));
    const int64_t grain = CeilDiv(CeilDiv(b_.n, NumThreads() * rounds), unit) * unit;
    ParallelFor(b_.n, grain, [&](int64_t begin, int64_t end) { Rows(begin, end); });
  }

 private:
  void WidenRows() {
    float* x = static_cast<float*>(ThreadScratch(kScratchShared, static_cast<size_t>(a_.n * a_.k) * sizeof(float)));
    for (int64_t i = 0; i < a_.n; ++i) {
      const bf16* row = reinterpret_cast<const bf16*>(a_.at(i, 0));
      for (int64_t j = 0; j < a_.k; ++j) x[i * a_.k + j] = row[j];
    }
    a_.data = reinterpret_cast<const char*>(x);
    a_.dtype = DType::kF32;
    a_.stride_n = a_.k;
  }

  void Rows(int64_t begin, int64_t end) const {
    const int64_t rows = end - begin;
    float* sums = static_cast<float*>(ThreadScratch(kScratchSums, static_cast<size_t>(a_.n * rows) * sizeof(float)));
    if (b_.source == nullptr) {
      Dot({.x = a_.data,
           .w = b_.at(begin, 0),
           .x_stride = a_.stride_n,
           .w_stride = b_.stride_n,
           .m_count = a_.n,
           .rows = rows,
           .k = a_.k,
           .y = sums,
           .y_stride = rows});
    } else if (b_.source->dot_rows != nullptr) {
      b_.source->dot_rows(b_.source->context, begin, rows, a_.dtype, a_.data, a_.n, a_.stride_n, sums, rows);
    } else {
      for (int64_t row = 0; row < rows; row += kPanelColumns) {
        Decoded(begin + row, std::min(kPanelColumns, rows - row), sums + row, rows);
      }
    }
    FinishRows(sums, rows, y_, 0, a_.n, begin, rows, alpha_, beta_);
  }

  // 64 rows at most, through a block of decoded weights.
  void Decoded(int64_t row0, int64_t rows, float* sums, int64_t stride) const {
    const int64_t element = static_cast<int64_t>(SizeOf(dtype_));
    void* w = ThreadScratch(kScratchPanel, static_cast<size_t>(kPanelColumns * kDecodePiece * element));
    float partial[kDotRows * kPanelColumns];
    for (int64_t k0 = 0; k0 < a_.k; k0 += kDecodePiece) {
      const int64_t k = std::min(kDecodePiece, a_.k - k0);
      b_.source->decode(b_.source->context, row0, rows, k0, k, dtype_, w, kDecodePiece);
      Dot({.x = a_.at(0, k0),
           .w = w,
           .x_stride = a_.stride_n,
           .w_stride = kDecodePiece,
           .m_count = a_.n,
           .rows = rows,
           .k = k,
           .y = partial,
           .y_stride = kPanelColumns});
      for (int64_t m = 0; m < a_.n; ++m) {
        for (int64_t i = 0; i < rows; ++i) {
          const float p = partial[m * kPanelColumns + i];
          sums[m * stride + i] = k0 == 0 ? p : sums[m * stride + i] + p;
        }
      }
    }
  }

  void Dot(const internal::DotRows& d) const {
    if (a_.dtype == DType::kBF16) return internal::DotRowsBF16(d);
    if (dtype_ == DType::kBF16) return internal::DotRowsF32BF16(d);
    internal::DotRowsF32(d);
  }

  static constexpr int64_t kDecodePiece = 1024;

  Operand a_, b_;
  View y_;
  float alpha_, beta_;
  DType dtype_;  // of the weights as they are multiplied
};

void Multiply(Problem t);

// Where no inner loop takes the correction or the gain: all sums first, in f32 or f64, then the rest.
void MultiplyInParts(const Problem& t) {
  const bool f64 = t.a.dtype == DType::kF64;
  const int64_t m = t.a.n, n = t.b.n;
  const std::unique_ptr<char[]> sums(new char[static_cast<size_t>(m * n) * (f64 ? 8 : 4)]);
  const View z{
      .data = sums.get(), .dtype = f64 ? DType::kF64 : DType::kF32, .rank = 2, .dims = {m, n}, .strides = {n, 1}};
  Multiply(Problem{.a = t.a, .b = t.b, .y = z});
  if (t.u.n > 0) Multiply(Problem{.a = t.u, .b = t.v, .y = z, .beta = 1});
  ParallelFor(m, 16, [&](int64_t begin, int64_t end) {
    if (f64) {
      FinishRows(z.ptr<double>() + begin * n, n, t.y, begin, end - begin, 0, n, t.alpha, t.beta, t.gain);
    } else {
      FinishRows(z.ptr<float>() + begin * n, n, t.y, begin, end - begin, 0, n, t.alpha, t.beta, t.gain);
    }
  });
}

void Multiply(Problem t) {
  if (t.a.n == 0 || t.b.n == 0) return;
  const bool plain = t.u.n == 0 && t.gain.data == nullptr;
  // y^T = b^T * a^T, where that makes y's rows contiguous, or a single row out of a single column.
  if (plain && t.b.source == nullptr && t.y.strides[0] == 1 && (t.y.strides[1] != 1 || t.b.n == 1)) {
    std::swap(t.a, t.b);
    std::swap(t.y.dims[0], t.y.dims[1]);
    std::swap(t.y.strides[0], t.y.strides[1]);
  }
  for (Operand* x : {&t.a, &t.b, &t.u, &t.v}) {  // a dimension of size 1 has whatever stride suits
    if (x->k == 1) x->stride_k = 1;
    if (x->n == 1 && x->stride_k != 1) x->stride_n = 1;
  }
  if (t.y.dims[1] == 1) t.y.strides[1] = 1;
  const bool few_rows = RowsProduct::Fits(t.a, t.b), thin = internal::IsThin(t.a, t.b);
  if (!plain && (few_rows || thin || !Product::Fuses(t))) return MultiplyInParts(t);
  if (few_rows) return RowsProduct(t).Run();
  if (thin) return internal::ThinProduct(t.a, t.b, t.y, t.alpha, t.beta);
  Product(t).Run();
}

Operand RowsOf(const View& v) {
  return {.data = v.ptr<const char>(),
          .dtype = v.dtype,
          .n = v.dims[0],
          .k = v.dims[1],
          .stride_n = v.strides[0],
          .stride_k = v.strides[1]};
}
Operand ColumnsOf(View v) {
  std::swap(v.dims[0], v.dims[1]);
  std::swap(v.strides[0], v.strides[1]);
  return RowsOf(v);
}

void MultiplyWith(const Operand& a, const Operand& b, const View& y, const MatMulEpilogue& e) {
  Problem t{.a = a, .b = b, .y = y, .gain = e.gain, .alpha = e.alpha, .beta = e.beta};
  if (e.u.data != nullptr && e.u.dims[1] > 0) {
    t.u = RowsOf(e.u);
    t.v = ColumnsOf(e.v);
  }
  Multiply(t);
}

void MatMul(View a, View b, View y, const MatMulEpilogue& e, LaunchContext) {
  MultiplyWith(RowsOf(a), ColumnsOf(b), y, e);
}

void MatMulPanels(View x, const PanelSource& w, bool transpose_w, View y, const MatMulEpilogue& e, LaunchContext) {
  Operand b{.dtype = x.dtype, .n = transpose_w ? w.rows : w.cols, .k = transpose_w ? w.cols : w.rows};
  b.source = &w;
  b.transposed = transpose_w;
  MultiplyWith(RowsOf(x), b, y, e);
}

}  // namespace

const MatMulKernels kCpuMatMul = {.matmul = MatMul, .matmul_panels = MatMulPanels};

}  // namespace lorikeet
