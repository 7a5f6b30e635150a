// Rows of random tokens for a benchmark's training steps: always the same ones.
//
//   const std::vector<text::Example> rows = RandomRows(/*count=*/4, /*length=*/256, vocabulary, /*answer_from=*/128);
//
// The tokens from answer_from on have a loss.
#ifndef LORIKEET_TESTS_BENCHMARKS_RANDOM_ROWS_H_
#define LORIKEET_TESTS_BENCHMARKS_RANDOM_ROWS_H_

#include <cstdint>
#include <vector>

#include "apps/text/dataset.h"
#include "tensor/random.h"

namespace lorikeet {

inline std::vector<text::Example> RandomRows(int64_t count, int64_t length, int64_t vocabulary, int64_t answer_from) {
  std::vector<text::Example> rows(static_cast<size_t>(count));
  for (size_t i = 0; i < rows.size(); ++i) {
    for (int64_t t = 0; t < length; ++t) {
      const uint32_t bits = Philox(RngKey{.seed = 3}.Fold(i), static_cast<uint64_t>(t)).v[0];
      rows[i].tokens.push_back(static_cast<int32_t>(bits % static_cast<uint32_t>(vocabulary)));
      rows[i].loss_mask.push_back(t >= answer_from);
    }
  }
  return rows;
}

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_BENCHMARKS_RANDOM_ROWS_H_
