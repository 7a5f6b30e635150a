#include "apps/model/merge_outputs.h"

#include <cmath>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "apps/model/gguf_proof.h"
#include "apps/model/save_gguf.h"
#include "apps/model/save_model.h"
#include "apps/text/bpe_spec.h"
#include "apps/text/gguf_export.h"
#include "nn/gguf_architecture.h"
#include "nn/model_config.h"
#include "peft/merge.h"

namespace lorikeet {
namespace {

absl::StatusOr<DType> WeightDType(const std::string& name) {
  if (name == "bf16") return DType::kBF16;
  if (name == "f16") return DType::kF16;
  if (name == "f32") return DType::kF32;
  return absl::InvalidArgumentError(absl::StrCat("--dtype=", name, ": expected bf16, f16 or f32"));
}

absl::Status CheckOptions(const MergeOutputOptions& o, const std::string& model, const std::string& adapter) {
  if (o.directory.empty() && o.gguf.empty() && o.gguf_lora.empty())
    return absl::InvalidArgumentError("nothing to write: name it with --output_dir, --gguf or --gguf_lora");
  if (!o.gguf_lora.empty() && adapter.empty())
    return absl::InvalidArgumentError("--gguf_lora writes an adapter: say which with --adapter");
  if (!o.gguf.empty() && o.gguf == o.gguf_lora)
    return absl::InvalidArgumentError("--gguf and --gguf_lora are the same file");
  if (absl::Status s = CheckGgufType(absl::AsciiStrToUpper(o.gguf_type)); !s.ok())
    return absl::InvalidArgumentError(absl::StrCat("--gguf_type=", s.message()));
  for (const std::string& path : {o.gguf, o.gguf_lora}) {
    if (path.empty()) continue;
    if (absl::Status s = CheckGgufTarget(path, model); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::StatusOr<MergeProof> Proven(const std::string& path, const std::string& type, CausalLm& written,
                                  MergeOutputs::Compare compare) {
  const LogitError error = compare(written);
  if (std::isfinite(error.max)) return MergeProof{path, type, error};
  return absl::FailedPreconditionError(
      "the merged model's logits are not finite, so it was not kept; check the adapter, or try --dtype=f32");
}

}  // namespace

absl::StatusOr<std::unique_ptr<MergeOutputs>> MergeOutputs::Create(MergeOutputOptions options, const std::string& model,
                                                                   const std::string& adapter) {
  const absl::StatusOr<DType> dtype = WeightDType(options.dtype);
  if (!dtype.ok()) return dtype.status();
  if (absl::Status s = CheckOptions(options, model, adapter); !s.ok()) return s;
  std::unique_ptr<MergeOutputs> out(new MergeOutputs(std::move(options), *dtype));
  if (out->options_.directory.empty()) return out;
  absl::StatusOr<std::unique_ptr<OutputDirectory>> directory = OutputDirectory::Create(out->options_.directory);
  if (!directory.ok()) return directory.status();
  out->directory_ = *std::move(directory);
  return out;
}

absl::Status MergeOutputs::Plan(const OpenedModel& base) {
  if (options_.gguf.empty()) return absl::OkStatus();
  const text::BpeSpec& spec = base.tokenizer->spec();
  chat_ = text::ChatTemplate::ForTokenizer(spec, options_.chat_template);
  if (!chat_.ok() && !options_.chat_template.empty()) return chat_.status();
  if (!chat_.ok())
    warnings_.push_back(absl::StrCat("the chat template goes into ", options_.gguf,
                                     " as it is, and conversations are not compared: ", chat_.status().message()));
  const ModelConfig& config = base.files->config();
  const GgufArchitecture* architecture = GgufArchitectureOf(config.model_type);
  if (architecture != nullptr && architecture->window_unknown && config.sliding_window > 0)
    warnings_.push_back(absl::StrCat("llama.cpp lets this model attend beyond its window of ", config.sliding_window,
                                     " tokens, so longer texts come out otherwise than here"));
  absl::StatusOr<text::GgufTokenizerMetadata> made =
      text::ToGgufTokenizer(spec, chat(), base.files->config().vocab_size);
  if (!made.ok()) return made.status();
  tokenizer_ = *std::move(made);
  return absl::OkStatus();
}

absl::Status MergeOutputs::Write(const AdaptedModel& m) {
  const ModelFiles& files = *m.base.files;
  if (directory_ != nullptr) {
    const MergedSource merged(*m.base.lm, dtype_);
    const absl::Status s =
        SaveModel(directory_->path(), files.config(), files.tokenizer_files(), merged, {.dtype = dtype_});
    if (!s.ok()) return s;
  }
  if (!options_.gguf.empty()) {
    const MergedSource merged(*m.base.lm, DType::kF32);  // rounded once, by the format
    absl::StatusOr<std::unique_ptr<GgufWriter>> file =
        WriteGguf(options_.gguf, files.config(), tokenizer_, merged,
                  {.type = absl::AsciiStrToUpper(options_.gguf_type),
                   .name = std::filesystem::path(options_.gguf).stem().string()});
    if (!file.ok()) return file.status();
    gguf_ = *std::move(file);
  }
  if (options_.gguf_lora.empty()) return absl::OkStatus();
  absl::StatusOr<std::unique_ptr<GgufWriter>> file = WriteGgufAdapter(options_.gguf_lora, *m.base.lm);
  if (!file.ok()) return file.status();
  lora_ = *std::move(file);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<MergeProof>> MergeOutputs::Prove(const OpenedModel& base, DType compute_dtype,
                                                            Compare compare) const {
  std::vector<MergeProof> proofs;
  if (directory_ != nullptr) {
    const absl::StatusOr<OpenedModel> written = OpenModel(directory_->path(), {.compute_dtype = compute_dtype});
    if (!written.ok()) return written.status();
    absl::StatusOr<MergeProof> proof = Proven(options_.directory, options_.dtype, *written->lm, compare);
    if (!proof.ok()) return proof.status();
    proofs.push_back(*std::move(proof));
  }
  if (gguf_ != nullptr) {
    const absl::StatusOr<std::unique_ptr<CausalLm>> written =
        OpenProvenGguf(gguf_->unfinished_path(), base.files->config(), *base.tokenizer, chat(), compute_dtype);
    if (!written.ok()) return written.status();
    const std::string type = absl::StrCat(options_.gguf_type, ", the model's ids",
                                          chat_.ok() ? absl::StrCat(", in conversations too: ", chat_->name()) : "");
    absl::StatusOr<MergeProof> proof = Proven(options_.gguf, type, **written, compare);
    if (!proof.ok()) return proof.status();
    proofs.push_back(*std::move(proof));
  }
  return proofs;
}

absl::Status MergeOutputs::Keep(const std::string& provenance) {
  for (GgufWriter* file : {lora_.get(), gguf_.get()}) {
    if (file == nullptr) continue;
    if (absl::Status s = file->Finish(); !s.ok()) return s;
  }
  return directory_ == nullptr ? absl::OkStatus() : directory_->Commit(provenance);
}

}  // namespace lorikeet
