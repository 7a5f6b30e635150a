// Works an adapter into its base: a Hugging Face directory of ordinary 16-bit (or f32) weights, a GGUF file, or both;
// or writes the adapter itself as GGUF.
//
//   1  open base and adapter; run a few prompts, keep their logits
//   2  try the forms in which the merged model could be kept, and say which is nearest
//   3  W' = W + s*B*A (DoRA: row by row m/n times that), tensor by tensor, under temporary names
//   4  open what was written, run the same prompts, compare the tokenizers; report how far the logits moved
//   5  give the files their names
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "apps/model/adapted_model.h"
#include "apps/model/logit_error.h"
#include "apps/model/merge_forms.h"
#include "apps/model/merge_outputs.h"
#include "apps/model/model_flags.h"
#include "apps/model/open_model.h"
#include "apps/model/readout.h"
#include "apps/program.h"
#include "apps/text/chat_template.h"
#include "apps/text/dataset.h"
#include "nlohmann/json.hpp"
#include "nn/causal_lm.h"
#include "tensor/dtype.h"

ABSL_FLAG(std::string, output_dir, "", "directory to write; empty: none");
ABSL_FLAG(std::string, dtype, "bf16", "of the weights in --output_dir: bf16, f16 or f32");
ABSL_FLAG(std::string, gguf, "", "GGUF file of the merged model to write; empty: none");
ABSL_FLAG(std::string, gguf_type, "f16", "of the matrices in --gguf: f32, f16, bf16, q8_0, q4_0 or q4_1");
ABSL_FLAG(std::string, gguf_lora, "", "GGUF file of the adapter alone to write; empty: none");
ABSL_FLAG(std::string, chat_template, "", "what training used: chatml, llama3, plain, ...; empty: the model's own");
ABSL_FLAG(std::string, data, "", "rows on which logits and perplexity are compared; empty: a few sentences");
ABSL_FLAG(int64_t, max_rows, 16, "of --data");

namespace lorikeet {
namespace {

constexpr int64_t kPositions = 16;  // whose logits are compared in each prompt, from its end
constexpr int64_t kMaxTokens = 512;

using Examples = std::vector<text::Example>;

// A model may have fewer positions than that.
int64_t LongestPrompt(const OpenedModel& model) {
  return std::min(kMaxTokens, model.files->config().max_position_embeddings);
}

Examples BuiltInExamples(const OpenedModel& model) {
  Examples examples;
  for (const char* text : {"The capital of France is Paris, and the capital of Italy is Rome.",
                           "Tom has 3 boxes with 12 pencils each. How many pencils does he have?",
                           "def add(a, b):\n    return a + b\n", "Once upon a time, in a forest far away,"}) {
    text::Example e;
    e.tokens = model.tokenizer->Encode(text, {.add_prefix_and_suffix = true});
    if (static_cast<int64_t>(e.tokens.size()) > LongestPrompt(model))
      e.tokens.resize(static_cast<size_t>(LongestPrompt(model)));
    if (e.tokens.empty()) continue;
    e.loss_mask.assign(e.tokens.size(), 1);
    e.loss_mask[0] = 0;
    examples.push_back(std::move(e));
  }
  return examples;
}

absl::StatusOr<Examples> MakeExamples(const OpenedModel& model) {
  if (absl::GetFlag(FLAGS_data).empty()) return BuiltInExamples(model);
  const int64_t max_rows = absl::GetFlag(FLAGS_max_rows);
  if (max_rows < 1) return absl::InvalidArgumentError(absl::StrCat("--max_rows=", max_rows, ": expected 1 or more"));
  const absl::StatusOr<text::ChatTemplate> chat =
      text::ChatTemplate::ForTokenizer(model.tokenizer->spec(), absl::GetFlag(FLAGS_chat_template));
  if (!chat.ok()) return chat.status();
  absl::StatusOr<text::Dataset> data =
      text::LoadDataset(absl::GetFlag(FLAGS_data), *model.tokenizer, *chat, {.max_seq_length = LongestPrompt(model)});
  if (!data.ok()) return data.status();
  Examples examples;
  for (text::Example& e : data->examples) {
    if (static_cast<int64_t>(examples.size()) < max_rows) examples.push_back(std::move(e));
  }
  return examples;
}

absl::Status TryAndReportForms(const AdaptedModel& m, DType dtype, const Examples& examples, const Readout& adapted) {
  const absl::StatusOr<OpenOptions> open = OpenOptionsFromFlags("f32");
  if (!open.ok()) return open.status();
  const FormOptions options = {
      .dtype = dtype, .quant = open->quant, .four_bit_base = open->use == WeightUse::kQuantized};
  const absl::StatusOr<std::vector<FormResult>> forms =
      TryForms(*m.base.lm, m.base.files->weights(), options, examples, adapted, kPositions);
  if (!forms.ok()) return forms.status();
  std::fputs(FormReport(*forms, adapted, options).c_str(), stdout);
  return absl::OkStatus();
}

std::string Provenance(const AdaptedModel& m, const std::vector<MergeProof>& proofs) {
  const LogitError e = proofs.empty() ? LogitError() : proofs[0].error;  // the directory's, if there is one
  const nlohmann::ordered_json json = {{"program", "merge"},       {"model", m.base.path},
                                       {"adapter", m.adapter},     {"dtype", absl::GetFlag(FLAGS_dtype)},
                                       {"max_logit_error", e.max}, {"mean_logit_error", e.mean}};
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

void Report(const std::vector<MergeProof>& proofs, size_t prompts, bool adapted) {
  for (const auto& [path, type, e] : proofs) {
    std::printf("wrote %s (%s)\n", path.c_str(), type.c_str());
    std::printf(
        "against the model %s, %lld positions of %zu prompts: max |logit error| %.3g, mean %.3g, the same best token "
        "at "
        "%lld\n",
        adapted ? "with its adapter" : "as it was", static_cast<long long>(e.positions), prompts, e.max, e.mean,
        static_cast<long long>(e.same_best));
  }
  if (const std::string lora = absl::GetFlag(FLAGS_gguf_lora); !lora.empty())
    std::printf("wrote %s (the adapter, f32)\n", lora.c_str());
}

absl::Status Run() {
  const absl::StatusOr<std::unique_ptr<MergeOutputs>> out =
      MergeOutputs::Create({.directory = absl::GetFlag(FLAGS_output_dir),
                            .dtype = absl::GetFlag(FLAGS_dtype),
                            .gguf = absl::GetFlag(FLAGS_gguf),
                            .gguf_type = absl::GetFlag(FLAGS_gguf_type),
                            .gguf_lora = absl::GetFlag(FLAGS_gguf_lora),
                            .chat_template = absl::GetFlag(FLAGS_chat_template)},
                           absl::GetFlag(FLAGS_model), absl::GetFlag(FLAGS_adapter));
  if (!out.ok()) return out.status();
  // In f32 the sums are exact to the last bit that is written, whatever the base is stored in.
  absl::StatusOr<AdaptedModel> m = OpenModelFromFlags("f32");
  if (!m.ok()) return m.status();
  if (absl::Status s = (*out)->Plan(m->base); !s.ok()) return s;
  for (const std::string& warning : (*out)->warnings()) std::fprintf(stderr, "warning: %s\n", warning.c_str());
  const absl::StatusOr<Examples> examples = MakeExamples(m->base);
  if (!examples.ok()) return examples.status();
  const Readout adapted = ReadModel(*m->base.lm, *examples, kPositions);
  const DType compute_dtype = m->base.lm->compute_dtype();
  if (!m->adapter.empty()) {
    if (absl::Status s = TryAndReportForms(*m, (*out)->dtype(), *examples, adapted); !s.ok()) return s;
  }
  if (absl::Status s = (*out)->Write(*m); !s.ok()) return s;
  m->base.lm.reset();
  const absl::StatusOr<std::vector<MergeProof>> proofs = (*out)->Prove(m->base, compute_dtype, [&](CausalLm& written) {
    return CompareLogits(adapted.logits, ReadModel(written, *examples, kPositions).logits);
  });
  if (!proofs.ok()) return proofs.status();
  if (absl::Status s = (*out)->Keep(Provenance(*m, *proofs)); !s.ok()) return s;
  Report(*proofs, examples->size(), !m->adapter.empty());
  return absl::OkStatus();
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) {
  lorikeet::StartProgram(argc, argv,
                         "Works an adapter into its base and writes a Hugging Face directory, a GGUF file, or both.\n"
                         "  merge --model=DIR_OR_GGUF --adapter=DIR --output_dir=DIR\n"
                         "  merge --model=DIR_OR_GGUF --adapter=DIR --gguf=FILE --gguf_type=q8_0\n"
                         "  merge --model=DIR_OR_GGUF --adapter=DIR --gguf_lora=FILE\n"
                         "An adapter of qlora or qdora was trained over a base in 4 bits: add --load_in_4bit, and what "
                         "is merged is what it was trained with.");
  return lorikeet::ExitCode(lorikeet::Run());
}
