// The forms in which a model with an adapter could be kept, tried before any is written.
//
//   const Readout adapted = ReadModel(*m.base.lm, examples, 16);
//   FormedModel formed(*m.base.lm, m.base.files->weights(), {.form = MergeForm::kOverFourBits});
//   const Readout merged = ReadModel(*m.base.lm, examples, 16);         // m.base.lm computes in that form now
//   absl::Status status = formed.status();                              // of the reads that this took
//
//   kSixteenBits     the stored weights, adapter merged, rounded to `dtype`
//   kOverFourBits    the stored weights in 4 bits and decoded again, adapter merged, rounded to `dtype`: what an
//                    adapter of qlora or qdora was trained over
//   kFourBitsAgain   the first or the second (`four_bit_base`), merged and rounded, in 4 bits once more
//
// Linear layers but the head have 4-bit forms, as --load_in_4bit has it. While a FormedModel lives, each weight is read
// from `stored` and made anew whenever a product needs it, so beside the model there is one dense weight at a time;
// destruction puts the model's own maps back. Where the file holds 4 bits already, its decoded weights are the stored
// ones. The model and `stored` must outlive it. Threads: one at a time.
#ifndef LORIKEET_APPS_MODEL_MERGE_FORMS_H_
#define LORIKEET_APPS_MODEL_MERGE_FORMS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "apps/model/logit_error.h"
#include "apps/model/readout.h"
#include "apps/text/dataset.h"
#include "nn/causal_lm.h"
#include "nn/linear_map.h"
#include "quant/nf4.h"
#include "tensor/dtype.h"
#include "tensor/io/tensor_source.h"

namespace lorikeet {

enum class MergeForm : uint8_t { kSixteenBits, kOverFourBits, kFourBitsAgain };

struct FormOptions {
  MergeForm form = MergeForm::kSixteenBits;
  DType dtype = DType::kBF16;
  Nf4Options quant = {};
  bool four_bit_base = false;  // the adapter was trained over 4 bits
};

class FormedModel {
 public:
  FormedModel(CausalLm& model, const TensorSource& stored, const FormOptions& options);
  ~FormedModel();
  FormedModel(const FormedModel&) = delete;
  FormedModel& operator=(const FormedModel&) = delete;

  // The first read or quantization that failed; what was computed since is meaningless.
  const absl::Status& status() const { return status_; }

 private:
  class Replace;
  class Restore;
  absl::StatusOr<Tensor> Weight(const std::string& name, const MapSlot& slot, LinearMap& own) const;

  CausalLm& model_;
  const TensorSource& stored_;
  const FormOptions options_;
  bool packed_ = false;  // the file holds 4 bits
  absl::Status status_;
};

struct FormResult {
  MergeForm form;
  LogitError error;  // against the model with its adapter
  double perplexity = 0;
};

// All three, in the enumeration's order; without kSixteenBits where the file itself holds 4 bits.
absl::StatusOr<std::vector<FormResult>> TryForms(CausalLm& model, const TensorSource& stored, FormOptions options,
                                                 const std::vector<text::Example>& examples, const Readout& adapted,
                                                 int64_t rows);

// A table of the results, and one sentence that recommends: the 16-bit form with the smaller mean error, and 4 bits
// again where they cost at most 1% of perplexity.
std::string FormReport(const std::vector<FormResult>& results, const Readout& adapted, const FormOptions& options);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_MODEL_MERGE_FORMS_H_
