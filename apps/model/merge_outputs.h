// What merge writes: a Hugging Face directory, a GGUF file of the model, a GGUF file of the adapter, each if it is
// asked for, under temporary names until all are proven.
//
//   absl::StatusOr<std::unique_ptr<MergeOutputs>> out = MergeOutputs::Create({.gguf = "merged.gguf"}, model, adapter);
//   status = (*out)->Plan(m.base);                        // the GGUF file's tokenizer, before time is spent
//   status = (*out)->Write(m);
//   m.base.lm.reset();                                    // each proof opens what was written alone
//   absl::StatusOr<std::vector<MergeProof>> proofs = (*out)->Prove(m.base, DType::kF32, compare);
//   status = (*out)->Keep(provenance);                    // without it nothing is left
//
// Errors: InvalidArgument names the flag, or the difference that a proof found; those of the writers.
#ifndef LORIKEET_APPS_MODEL_MERGE_OUTPUTS_H_
#define LORIKEET_APPS_MODEL_MERGE_OUTPUTS_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "apps/model/adapted_model.h"
#include "apps/model/logit_error.h"
#include "apps/model/open_model.h"
#include "apps/model/output_directory.h"
#include "apps/text/chat_template.h"
#include "apps/text/gguf_spec.h"
#include "nn/causal_lm.h"
#include "tensor/dtype.h"
#include "tensor/io/gguf_writer.h"

namespace lorikeet {

// merge's flags; an empty path is not written.
struct MergeOutputOptions {
  std::string directory = {};
  std::string dtype = "bf16";  // of the directory: bf16, f16 or f32
  std::string gguf = {};
  std::string gguf_type = "f16";
  std::string gguf_lora = {};
  std::string chat_template = {};  // what training used; empty: the model's own
};

struct MergeProof {
  std::string path, type;
  LogitError error;
};

class MergeOutputs {
 public:
  // Checks the options against the model's and adapter's paths, and claims the directory.
  static absl::StatusOr<std::unique_ptr<MergeOutputs>> Create(MergeOutputOptions options, const std::string& model,
                                                              const std::string& adapter);
  DType dtype() const { return dtype_; }

  absl::Status Plan(const OpenedModel& base);
  // Of Plan: that conversations cannot be compared, or that llama.cpp will attend beyond the model's window.
  const std::vector<std::string>& warnings() const { return warnings_; }
  absl::Status Write(const AdaptedModel& m);

  // How far a model is from the one to be kept; not finite is an error.
  using Compare = absl::FunctionRef<LogitError(CausalLm& written)>;
  absl::StatusOr<std::vector<MergeProof>> Prove(const OpenedModel& base, DType compute_dtype, Compare compare) const;
  // `provenance` is the directory's lorikeet.json.
  absl::Status Keep(const std::string& provenance);

 private:
  MergeOutputs(MergeOutputOptions options, DType dtype) : options_(std::move(options)), dtype_(dtype) {}
  const text::ChatTemplate* chat() const { return chat_.ok() ? &*chat_ : nullptr; }

  const MergeOutputOptions options_;
  const DType dtype_;
  absl::StatusOr<text::ChatTemplate> chat_;
  text::GgufTokenizerMetadata tokenizer_;
  std::vector<std::string> warnings_;
  std::unique_ptr<OutputDirectory> directory_;
  std::unique_ptr<GgufWriter> gguf_, lora_;
};

}  // namespace lorikeet

#endif  // LORIKEET_APPS_MODEL_MERGE_OUTPUTS_H_
