// Token sequences of equal length as a model takes them, for tests and programs that compare with another
// implementation's [sequences, length] tensors.
//
//   Variable h = model.Hidden(SequencesOf(tokens), nullptr);          // tokens i32 [sequences, length]
//   LabelledSequences rows = SequencesOf(tokens, labels);             // labels i32 likewise, below 0: no loss
//
// labels[t] is token t's, as transformers has them: a token's target is the next one's label, a last token's none.
#ifndef LORIKEET_TESTS_TESTING_SEQUENCES_H_
#define LORIKEET_TESTS_TESTING_SEQUENCES_H_

#include <cstdint>
#include <vector>

#include "nn/batch.h"
#include "tensor/tensor.h"

namespace lorikeet {

inline Batch SequencesOf(const Tensor& tokens) {
  const int32_t sequences = static_cast<int32_t>(tokens.dim(0)), length = static_cast<int32_t>(tokens.dim(1));
  std::vector<int32_t> positions, ends = {0};
  for (int32_t s = 0; s < sequences; ++s) {
    for (int32_t t = 0; t < length; ++t) positions.push_back(t);
    ends.push_back((s + 1) * length);
  }
  const int64_t n = tokens.size();
  return {tokens.Contiguous().Reshape({n}), Tensor::From<int32_t>(positions, {n}),
          Tensor::From<int32_t>(ends, {sequences + 1})};
}

struct LabelledSequences {
  Batch batch;
  Tensor targets;  // i32 [total], -1 where there is no loss
  int64_t answers = 0;
};

inline LabelledSequences SequencesOf(const Tensor& tokens, const Tensor& labels) {
  const Tensor flat = labels.Contiguous();
  const int64_t length = tokens.dim(1), n = tokens.size();
  std::vector<int32_t> targets;
  LabelledSequences rows{SequencesOf(tokens), Tensor()};
  for (int64_t i = 0; i < n; ++i) {
    const int32_t label = (i + 1) % length == 0 ? -1 : flat.data<int32_t>()[static_cast<size_t>(i + 1)];
    targets.push_back(label < 0 ? -1 : label);
    rows.answers += label >= 0;
  }
  rows.targets = Tensor::From<int32_t>(targets, {n});
  return rows;
}

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_TESTING_SEQUENCES_H_
