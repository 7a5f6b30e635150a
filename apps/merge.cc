// Works an adapter into its base: a Hugging Face directory of ordinary 16-bit (or f32) weights.
//
//   1  open base and adapter; run a few prompts, keep their logits
//   2  W' = W + s*B*A (DoRA: row by row m/n times that), tensor by tensor, into DIR.partial
//   3  open what was written, run the same prompts; report how far the logits moved
//   4  rename DIR.partial to DIR
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "apps/model/adapted_model.h"
#include "apps/model/logit_error.h"
#include "apps/model/model_flags.h"
#include "apps/model/open_model.h"
#include "apps/model/output_directory.h"
#include "apps/model/save_model.h"
#include "apps/program.h"
#include "apps/text/chat_template.h"
#include "apps/text/dataset.h"
#include "apps/text/tokenizer.h"
#include "nlohmann/json.hpp"
#include "peft/merge.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"

ABSL_FLAG(std::string, output_dir, "", "directory to write");
ABSL_FLAG(std::string, dtype, "bf16", "of the weights that are written: bf16, f16 or f32");
ABSL_FLAG(std::string, data, "", "rows on which logits are compared; empty: a few sentences");
ABSL_FLAG(int64_t, max_rows, 16, "of --data");

namespace lorikeet {
namespace {

constexpr int64_t kPositions = 16;  // compared in each prompt, from its end
constexpr int64_t kMaxTokens = 512;

using Prompts = std::vector<std::vector<int32_t>>;

absl::StatusOr<DType> WeightDType() {
  const std::string name = absl::GetFlag(FLAGS_dtype);
  if (name == "bf16") return DType::kBF16;
  if (name == "f16") return DType::kF16;
  if (name == "f32") return DType::kF32;
  return absl::InvalidArgumentError(absl::StrCat("--dtype=", name, ": expected bf16, f16 or f32"));
}

absl::StatusOr<Prompts> MakePrompts(const OpenedModel& model) {
  Prompts prompts;
  const int64_t longest = std::min(kMaxTokens, model.files->config().max_position_embeddings);
  if (absl::GetFlag(FLAGS_data).empty()) {
    for (const char* text : {"The capital of France is Paris, and the capital of Italy is Rome.",
                             "Tom has 3 boxes with 12 pencils each. How many pencils does he have?",
                             "def add(a, b):\n    return a + b\n", "Once upon a time, in a forest far away,"}) {
      std::vector<int32_t> ids = model.tokenizer->Encode(text);
      if (static_cast<int64_t>(ids.size()) > longest) ids.resize(static_cast<size_t>(longest));
      if (!ids.empty()) prompts.push_back(std::move(ids));
    }
    return prompts;
  }
  const absl::StatusOr<text::ChatTemplate> chat = text::ChatTemplate::ForTokenizer(model.tokenizer->spec(), "");
  if (!chat.ok()) return chat.status();
  const absl::StatusOr<text::Dataset> data =
      text::LoadDataset(absl::GetFlag(FLAGS_data), *model.tokenizer, *chat, {.max_seq_length = longest});
  if (!data.ok()) return data.status();
  for (const text::Example& e : data->examples) {
    if (static_cast<int64_t>(prompts.size()) < absl::GetFlag(FLAGS_max_rows)) prompts.push_back(e.tokens);
  }
  return prompts;
}

// The logits of the model in `directory`, once it is alone in memory.
absl::StatusOr<LogitError> CompareWritten(const std::string& directory, const Prompts& prompts, DType compute_dtype,
                                          const std::vector<Tensor>& expected) {
  const absl::StatusOr<OpenedModel> written = OpenModel(directory, {.compute_dtype = compute_dtype});
  if (!written.ok()) return written.status();
  const LogitError error = CompareLogits(expected, LastLogits(*written->lm, prompts, kPositions));
  if (std::isfinite(error.max)) return error;
  return absl::FailedPreconditionError(
      "the merged model's logits are not finite, so it was not kept; check the adapter, or try --dtype=f32");
}

std::string Provenance(const AdaptedModel& m, const LogitError& e) {
  const nlohmann::ordered_json json = {{"program", "merge"},       {"model", m.base.path},
                                       {"adapter", m.adapter},     {"dtype", absl::GetFlag(FLAGS_dtype)},
                                       {"max_logit_error", e.max}, {"mean_logit_error", e.mean}};
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

absl::Status Run() {
  const absl::StatusOr<DType> dtype = WeightDType();
  if (!dtype.ok()) return dtype.status();
  absl::StatusOr<std::unique_ptr<OutputDirectory>> out = OutputDirectory::Create(absl::GetFlag(FLAGS_output_dir));
  if (!out.ok()) return out.status();
  // In f32 the sums are exact to the last bit that is written, whatever the base is stored in.
  absl::StatusOr<AdaptedModel> m = OpenModelFromFlags("f32");
  if (!m.ok()) return m.status();
  const absl::StatusOr<Prompts> prompts = MakePrompts(m->base);
  if (!prompts.ok()) return prompts.status();
  const std::vector<Tensor> expected = LastLogits(*m->base.lm, *prompts, kPositions);
  const DType compute_dtype = m->base.lm->compute_dtype();
  {
    const MergedSource merged(*m->base.lm, *dtype);
    if (absl::Status s = SaveModel((*out)->path(), m->base.files->config(), m->base.files->tokenizer_files(), merged,
                                   {.dtype = *dtype});
        !s.ok())
      return s;
  }
  m->base.lm.reset();
  const absl::StatusOr<LogitError> error = CompareWritten((*out)->path(), *prompts, compute_dtype, expected);
  if (!error.ok()) return error.status();
  if (absl::Status s = (*out)->Commit(Provenance(*m, *error)); !s.ok()) return s;
  std::printf("wrote %s (%s)\n", absl::GetFlag(FLAGS_output_dir).c_str(), absl::GetFlag(FLAGS_dtype).c_str());
  std::printf(
      "against the model with its adapter, %lld positions of %zu prompts: max |logit error| %.3g, mean %.3g, "
      "the same best token at %lld\n",
      static_cast<long long>(error->positions), prompts->size(), error->max, error->mean,
      static_cast<long long>(error->same_best));
  return absl::OkStatus();
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) {
  lorikeet::StartProgram(argc, argv,
                         "Works an adapter into its base and writes a Hugging Face directory.\n"
                         "  merge --model=DIR_OR_GGUF --adapter=DIR --output_dir=DIR\n"
                         "An adapter of qlora or qdora was trained over a base in 4 bits: add --load_in_4bit, and what "
                         "is merged is what it was trained with.");
  return lorikeet::ExitCode(lorikeet::Run());
}
