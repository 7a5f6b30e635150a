#include "apps/training/options.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "peft/lora_init.h"

namespace lorikeet {
namespace {

absl::Status Bad(absl::string_view flag, absl::string_view value, absl::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat("--", flag, "=", value, ": expected ", expected));
}

// The first complaint of a list of rules.
class Rules {
 public:
  void OneOf(absl::string_view flag, const std::string& value, std::initializer_list<absl::string_view> allowed) {
    for (absl::string_view a : allowed) {
      if (value == a) return;
    }
    Fail(Bad(flag, value, absl::StrCat("one of ", absl::StrJoin(allowed, ", "))));
  }
  template <typename T>
  void Range(absl::string_view flag, T value, T min, T max) {
    if (!(value >= min && value <= max)) Fail(Bad(flag, absl::StrCat(value), absl::StrCat(min, " to ", max)));
  }
  void Fail(absl::Status status) {
    if (first_.ok()) first_ = std::move(status);
  }
  const absl::Status& first() const { return first_; }

 private:
  absl::Status first_;
};

}  // namespace

const char* Name(Method method) {
  switch (method) {
    case Method::kLora:
      return "lora";
    case Method::kQlora:
      return "qlora";
    case Method::kDora:
      return "dora";
    case Method::kQdora:
      return "qdora";
    case Method::kFull:
      return "full";
  }
  return "?";
}

bool Quantized(Method method) { return method == Method::kQlora || method == Method::kQdora; }
bool UsesDora(Method method) { return method == Method::kDora || method == Method::kQdora; }

bool PagedState(const TrainOptions& o) { return absl::StartsWith(o.optim, "paged_"); }
DType StateDType(const TrainOptions& o) { return absl::EndsWith(o.optim, "_8bit") ? DType::kU8 : DType::kF32; }

namespace {

// One word of a shell's command line, behind a space.
std::string ShellWord(absl::string_view text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains("-_./=:,@%+", c);
  });
  return plain ? absl::StrCat(" ", text) : absl::StrCat(" '", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

std::string QuantFlags(const Nf4Options& quant) {
  const Nf4Options usual;
  std::string flags = " --load_in_4bit";
  if (quant.kind != usual.kind) absl::StrAppend(&flags, " --bnb_4bit_quant_type=", Name(quant.kind));
  if (quant.block != usual.block) absl::StrAppend(&flags, " --quant_block_size=", quant.block);
  if (quant.double_quant != usual.double_quant) absl::StrAppend(&flags, " --bnb_4bit_use_double_quant=false");
  return flags;
}

}  // namespace

std::string GenerateCommand(const TrainOptions& o, const std::string& base_model) {
  const bool whole = o.method == Method::kFull;
  std::string command = "bazel run //apps:generate --";
  absl::StrAppend(&command, ShellWord("--model=" + (whole ? o.output_dir : base_model)));
  if (!whole) absl::StrAppend(&command, ShellWord("--adapter=" + o.output_dir));
  if (Quantized(o.method)) absl::StrAppend(&command, QuantFlags(o.quant));
  if (!o.chat_template.empty()) absl::StrAppend(&command, ShellWord("--chat_template=" + o.chat_template));
  return command + " --prompt=\"...\"";
}

Checkpointing CheckpointingOf(const TrainOptions& o) {
  return o.gradient_checkpointing == "offload"     ? Checkpointing::kOffload
         : o.gradient_checkpointing == "selective" ? Checkpointing::kSelective
         : o.gradient_checkpointing == "on"        ? Checkpointing::kOn
                                                   : Checkpointing::kOff;
}

namespace {

// What an initialisation asks of the base: PiSSA and OLoRA change its weights, LoftQ repairs 4-bit ones.
absl::Status CheckInit(const TrainOptions& o) {
  const absl::StatusOr<LoraInit> init = ParseLoraInit(o.init_lora_weights);
  if (!init.ok()) return absl::InvalidArgumentError(absl::StrCat("--", init.status().message()));
  const bool loftq = init->kind == LoraInit::Kind::kLoftq;
  if (loftq && !Quantized(o.method)) {
    return Bad("init_lora_weights", o.init_lora_weights,
               "another, or --method=qlora: there are no 4-bit errors to mend");
  }
  if (init->moves_base() && Quantized(o.method)) {
    return Bad(
        "init_lora_weights", o.init_lora_weights,
        "another with --method=qlora: it changes the base's weights, which 4 bits cannot follow; loftq is for those");
  }
  return absl::OkStatus();
}

// What has a meaning only beside adapters.
absl::Status CheckFull(const TrainOptions& o) {
  if (o.loraplus_lr_ratio != 1)
    return Bad("loraplus_lr_ratio", absl::StrCat(o.loraplus_lr_ratio), "1 with --method=full, which has no adapters");
  if (o.init_lora_weights != "true")
    return Bad("init_lora_weights", o.init_lora_weights, "nothing with --method=full, which has no adapters");
  if (!o.modules_to_save.empty())
    return Bad("modules_to_save", o.modules_to_save, "nothing with --method=full, which trains every module");
  if (!o.trainable_token_indices.empty())
    return Bad("trainable_token_indices", o.trainable_token_indices,
               "nothing with --method=full, which trains them all");
  if (o.offload_embeddings) return Bad("offload_embeddings", "true", "false with --method=full, which trains them");
  return absl::OkStatus();
}

}  // namespace

absl::Status Validate(const TrainOptions& o) {
  Rules r;
  r.Range<double>("eval_fraction", o.eval_fraction, 0, 0.9);
  r.Range<int64_t>("lora_r", o.lora_r, 1, 65536);
  r.Range<double>("lora_alpha", o.lora_alpha, 0, 1e9);
  r.Range<double>("lora_dropout", o.lora_dropout, 0, 0.99);
  r.Range<int64_t>("batch_size", o.batch_size, 1, 1 << 20);
  r.Range<int64_t>("gradient_accumulation_steps", o.gradient_accumulation_steps, 1, 1 << 20);
  r.Range<int64_t>("max_seq_length", o.max_seq_length, 2, 1 << 24);
  r.Range<double>("learning_rate", o.learning_rate, 0, 1e3);
  r.Range<double>("warmup_ratio", o.warmup_ratio, 0, 1);
  r.Range<double>("weight_decay", o.weight_decay, 0, 1e3);
  r.Range<double>("max_grad_norm", o.max_grad_norm, 0, 1e9);
  r.Range<double>("loraplus_lr_ratio", o.loraplus_lr_ratio, 0, 1e6);
  r.Range<int64_t>("logging_steps", o.logging_steps, 1, INT64_MAX);
  r.Range<int64_t>("eval_steps", o.eval_steps, 0, INT64_MAX);
  r.Range<int64_t>("save_steps", o.save_steps, 0, INT64_MAX);
  r.Range<int64_t>("save_total_limit", o.save_total_limit, 1, INT64_MAX);
  r.Range<int64_t>("optimizer_memory", o.optimizer_memory, 1 << 20, INT64_MAX);
  r.Range<int>("threads", o.threads, 0, 4096);
  r.Range<double>("rank_timeout", o.rank_timeout, 1, 1e6);
  r.OneOf("lr_scheduler_type", o.lr_scheduler_type, {"constant", "constant_with_warmup", "linear", "cosine"});
  r.OneOf("optim", o.optim, {"adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit"});
  r.OneOf("compute_dtype", o.compute_dtype, {"auto", "bf16", "f32"});
  r.OneOf("device", o.device, {"auto", "cpu", "cuda"});
  r.OneOf("bias", o.bias, {"none", "all", "lora_only"});
  r.OneOf("gradient_checkpointing", o.gradient_checkpointing, {"off", "on", "selective", "offload"});
  r.Range<int64_t>("gradient_checkpointing_layers", o.gradient_checkpointing_layers, -1, INT64_MAX);
  if (o.gradient_checkpointing_layers >= 0 && o.gradient_checkpointing == "off") {
    r.Fail(Bad("gradient_checkpointing_layers", absl::StrCat(o.gradient_checkpointing_layers),
               "with --gradient_checkpointing=on, selective or offload"));
  }
  if (o.cuda_graphs && o.gradient_checkpointing == "offload") {
    r.Fail(Bad("cuda_graphs", "true", "false with --gradient_checkpointing=offload, whose copies cannot be captured"));
  }
  if (o.max_steps == 0 || o.max_steps < -1)
    r.Fail(Bad("max_steps", absl::StrCat(o.max_steps), "1 or more, or -1 for whole epochs"));
  if (o.max_steps < 0 && !(o.num_epochs > 0)) r.Fail(Bad("num_epochs", absl::StrCat(o.num_epochs), "more than 0"));
  if (o.data.empty()) r.Fail(absl::InvalidArgumentError("--data is missing: name a .jsonl file"));
  if (o.output_dir.empty() && !o.dry_run)
    r.Fail(absl::InvalidArgumentError("--output_dir is missing: name a directory for the adapter"));
  r.Fail(o.method == Method::kFull ? CheckFull(o) : CheckInit(o));
  if (Quantized(o.method)) r.Fail(Validate(o.quant));
  return r.first();
}

}  // namespace lorikeet
