#include "apps/model/logit_error.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/types/span.h"
#include "nn/batch.h"
#include "tensor/check.h"

namespace lorikeet {
namespace {

int64_t ArgMax(absl::Span<const float> row) { return std::max_element(row.begin(), row.end()) - row.begin(); }

}  // namespace

std::vector<Tensor> LastLogits(CausalLm& model, const std::vector<std::vector<int32_t>>& prompts, int64_t rows) {
  std::vector<Tensor> logits;
  for (const std::vector<int32_t>& prompt : prompts) {
    const int64_t n = static_cast<int64_t>(prompt.size());
    const Tensor h = model.Hidden(OneSequence(prompt, 0, model.device()), nullptr).value();
    logits.push_back(model.Logits(h.Slice(0, std::max<int64_t>(n - rows, 0), n)).To(kCpu));
  }
  return logits;
}

LogitError CompareLogits(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  LORIKEET_CHECK_EQ(a.size(), b.size()) << "CompareLogits";
  LogitError e;
  double sum = 0;
  int64_t count = 0;
  for (size_t p = 0; p < a.size(); ++p) {
    LORIKEET_CHECK(a[p].shape() == b[p].shape()) << "CompareLogits: " << Describe(a[p]) << ", " << Describe(b[p]);
    const size_t vocab = static_cast<size_t>(a[p].dim(1));
    const absl::Span<const float> x = a[p].data<float>(), y = b[p].data<float>();
    for (size_t i = 0; i < x.size(); ++i) {
      const double error = std::abs(double{x[i]} - double{y[i]});
      sum += error;
      e.max = std::max(e.max, error);
    }
    for (size_t i = 0; i < x.size(); i += vocab) {
      ++e.positions;
      e.same_best += ArgMax(x.subspan(i, vocab)) == ArgMax(y.subspan(i, vocab)) ? 1 : 0;
    }
    count += static_cast<int64_t>(x.size());
  }
  e.mean = count > 0 ? sum / static_cast<double>(count) : 0;
  if (std::isnan(sum)) e.max = sum;  // std::max passes over NaN
  return e;
}

}  // namespace lorikeet
