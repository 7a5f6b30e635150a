#include "apps/model/readout.h"

#include <algorithm>
#include <cstddef>

#include "absl/types/span.h"
#include "apps/text/batches.h"
#include "autograd/tape.h"
#include "nn/batch.h"
#include "tensor/dtype.h"
#include "tensor/kernels/parallel.h"
#include "tensor/ops/copy.h"

namespace lorikeet {
namespace {

constexpr int64_t kMaxTokens = 2048, kLogitRows = 64;

// -log softmax(row)[target], in f64.
double Loss(absl::Span<const float> row, int32_t target) {
  const double most = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (float x : row) sum += std::exp(double{x} - most);
  return most + std::log(sum) - double{row[static_cast<size_t>(target)]};
}

// Rows [begin, end) of the hidden states belong to one example.
void ReadExample(CausalLm& model, const Tensor& hidden, const text::Batch& batch, int64_t begin, int64_t end,
                 int64_t rows, Readout* out) {
  const int64_t vocab = model.head().out_features(), kept = std::max(begin, end - rows);
  Tensor last = Tensor::Empty({end - kept, vocab}, DType::kF32);
  for (int64_t first = begin; first < end; first += kLogitRows) {
    const int64_t next = std::min(end, first + kLogitRows);
    const absl::Span<const int32_t> targets =
        absl::MakeConstSpan(batch.targets).subspan(static_cast<size_t>(first), static_cast<size_t>(next - first));
    const bool counts = std::any_of(targets.begin(), targets.end(), [](int32_t t) { return t >= 0; });
    if (!counts && next <= kept) continue;
    const Tensor logits = model.Logits(hidden.Slice(0, first, next)).To(kCpu);
    if (next > kept) {
      Tensor to = last.Slice(0, std::max(first, kept) - kept, next - kept);
      tensor::CopyInto(logits.Slice(0, std::max(first, kept) - first, next - first), to);
    }
    std::vector<double> losses(targets.size(), 0);
    ParallelFor(next - first, 1, [&](int64_t b, int64_t e) {
      for (int64_t i = b; i < e; ++i) {
        const size_t at = static_cast<size_t>(i), width = static_cast<size_t>(vocab);
        if (targets[at] >= 0) losses[at] = Loss(logits.data<float>().subspan(at * width, width), targets[at]);
      }
    });
    for (double loss : losses) out->loss_sum += loss;
    out->tokens += std::count_if(targets.begin(), targets.end(), [](int32_t t) { return t >= 0; });
  }
  out->logits.push_back(last);
}

}  // namespace

Readout ReadModel(CausalLm& model, const std::vector<text::Example>& examples, int64_t rows) {
  Tape::Pause pause;
  Readout out;
  for (size_t i = 0; i < examples.size();) {
    std::vector<const text::Example*> group;
    int64_t tokens = 0;
    do {
      tokens += static_cast<int64_t>(examples[i].tokens.size());
      group.push_back(&examples[i++]);
    } while (i < examples.size() && tokens + static_cast<int64_t>(examples[i].tokens.size()) <= kMaxTokens);
    const text::Batch batch = text::MakeBatch(group);
    const Batch inputs = BatchOf(batch.tokens, batch.positions, batch.cu_seqlens, model.device());
    const Tensor hidden = model.Hidden(inputs, nullptr).value();
    for (size_t e = 0; e + 1 < batch.cu_seqlens.size(); ++e)
      ReadExample(model, hidden, batch, batch.cu_seqlens[e], batch.cu_seqlens[e + 1], rows, &out);
  }
  return out;
}

}  // namespace lorikeet
