#include "apps/training/flags.h"

#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace {
const lorikeet::TrainOptions kDefault;
}  // namespace

ABSL_FLAG(std::string, model, kDefault.model,
          "Hugging Face directory or .gguf file; empty: the small model that comes with Lorikeet");
ABSL_FLAG(std::string, data, kDefault.data,
          "training rows, one JSON object a line, with the keys text; prompt, completion; question, answer; "
          "instruction, input, "
          "output; conversations; or messages");
ABSL_FLAG(std::string, eval_data, kDefault.eval_data, "held-out rows, as --data; empty: --eval_fraction of --data");
ABSL_FLAG(double, eval_fraction, kDefault.eval_fraction, "share of --data that is held out");
ABSL_FLAG(std::string, output_dir, kDefault.output_dir, "directory for the adapter, the metrics and the checkpoints");
ABSL_FLAG(std::string, chat_template, kDefault.chat_template, "chatml, llama3, plain, ...; empty: the model's own");
ABSL_FLAG(std::string, method, "lora", "lora, qlora, dora, qdora or full");
ABSL_FLAG(int64_t, lora_r, kDefault.lora_r, "rank of the adapters");
ABSL_FLAG(double, lora_alpha, kDefault.lora_alpha, "adapters are scaled by lora_alpha / lora_r");
ABSL_FLAG(double, lora_dropout, kDefault.lora_dropout, "probability of dropping an input element of an adapter");
ABSL_FLAG(std::string, target_modules, kDefault.target_modules,
          "all-linear, comma-separated names, or one regular expression");
ABSL_FLAG(std::string, exclude_modules, kDefault.exclude_modules,
          "comma-separated names, or one regular expression, of what --target_modules should leave out");
ABSL_FLAG(std::string, layers_to_transform, kDefault.layers_to_transform,
          "comma-separated numbers of the layers to adapt; empty: all");
ABSL_FLAG(std::string, rank_pattern, kDefault.rank_pattern,
          "ranks of some modules, as {\"q_proj\": 8, \"layers.0.mlp.up_proj\": 32}: keys match the ends of paths");
ABSL_FLAG(std::string, alpha_pattern, kDefault.alpha_pattern, "lora_alpha of some modules, as --rank_pattern");
ABSL_FLAG(std::string, init_lora_weights, kDefault.init_lora_weights,
          "how adapters start: true, gaussian, orthogonal, pissa, pissa_niter_K (faster), olora; loftq over 4 bits");
ABSL_FLAG(std::string, modules_to_save, kDefault.modules_to_save,
          "comma-separated ends of paths: modules that train whole, as lm_head or embed_tokens");
ABSL_FLAG(bool, ensure_weight_tying, kDefault.ensure_weight_tying,
          "--modules_to_save may name an embedding that is the output head too; both then train as one");
ABSL_FLAG(std::string, trainable_token_indices, kDefault.trainable_token_indices,
          "ids of tokens whose embeddings train, as [49152, 49153], or lists of them for each embedding or head");
ABSL_FLAG(std::string, bias, kDefault.bias, "biases that train: none, all, or lora_only, those of adapted layers");
ABSL_FLAG(bool, use_rslora, kDefault.use_rslora, "scale by lora_alpha / sqrt(lora_r)");
ABSL_FLAG(int64_t, max_steps, kDefault.max_steps, "optimizer steps; -1: --num_epochs decides");
ABSL_FLAG(double, num_epochs, kDefault.num_epochs, "passes over the training rows");
ABSL_FLAG(int64_t, batch_size, kDefault.batch_size, "rows (packed: sequences) that go through the model together");
ABSL_FLAG(int64_t, gradient_accumulation_steps, kDefault.gradient_accumulation_steps,
          "micro-batches of --batch_size rows to an optimizer step");
ABSL_FLAG(int64_t, max_seq_length, kDefault.max_seq_length, "longer rows are cut to this many tokens");
ABSL_FLAG(bool, packing, kDefault.packing, "fill sequences with several rows, kept apart in attention and positions");
ABSL_FLAG(bool, train_on_prompt, kDefault.train_on_prompt, "learn the prompt's tokens too, not the answer's alone");
ABSL_FLAG(double, learning_rate, kDefault.learning_rate, "peak learning rate");
ABSL_FLAG(std::string, lr_scheduler_type, kDefault.lr_scheduler_type,
          "constant, constant_with_warmup, linear or cosine");
ABSL_FLAG(double, warmup_ratio, kDefault.warmup_ratio, "share of the steps in which the rate rises from 0");
ABSL_FLAG(double, weight_decay, kDefault.weight_decay, "AdamW's decoupled decay");
ABSL_FLAG(double, loraplus_lr_ratio, kDefault.loraplus_lr_ratio,
          "LoRA+: B's learning rate (and DoRA's magnitudes') over A's; 1: the same, 16 is usual");
ABSL_FLAG(double, max_grad_norm, kDefault.max_grad_norm, "gradients are scaled down to this norm; 0: never");
ABSL_FLAG(uint64_t, seed, kDefault.seed, "of the adapters' start, the order of the rows, the split and dropout");
ABSL_FLAG(std::string, optim, kDefault.optim,
          "adamw; adamw_8bit: state in a quarter of the memory; paged_adamw, paged_adamw_8bit: state beyond "
          "--optimizer_memory lies in a file or, of a GPU's, in host memory");
ABSL_FLAG(int64_t, optimizer_memory, kDefault.optimizer_memory,
          "bytes that a paged optimizer's state may take: of RAM or, on a GPU, of device memory");
ABSL_FLAG(std::string, compute_dtype, kDefault.compute_dtype,
          "bf16, f32, or auto: bf16 where the processor multiplies it fast");
ABSL_FLAG(std::string, device, kDefault.device, "auto, cpu or cuda: the GPU if there is one that works, else the CPU");
ABSL_FLAG(std::string, gradient_checkpointing, kDefault.gradient_checkpointing,
          "off; on: each layer is computed again in the backward pass, for less memory; selective: all of it but "
          "attention; offload: as on, with the layers' inputs in host memory, where there is a GPU");
ABSL_FLAG(int64_t, gradient_checkpointing_layers, kDefault.gradient_checkpointing_layers,
          "checkpoint the first so many layers only, if memory is enough for the others; -1: all");
ABSL_FLAG(
    bool, offload_embeddings, kDefault.offload_embeddings,
    "keep the embedding in host memory, where there is a GPU, which reads the rows that it needs; for models whose "
    "head is a matrix of its own");
ABSL_FLAG(bool, cuda_graphs, kDefault.cuda_graphs,
          "capture a step's passes as CUDA graphs and replay each by one launch: for small models, whose kernels take "
          "longer to launch than to run");
ABSL_FLAG(int, threads, kDefault.threads, "CPU threads; 0: all that the process may use. Results do not depend on it");
ABSL_FLAG(double, rank_timeout, kDefault.rank_timeout,
          "seconds that one of several processes, started by mpirun, may keep the others waiting before all end");
ABSL_FLAG(int64_t, logging_steps, kDefault.logging_steps, "steps between two lines of progress");
ABSL_FLAG(int64_t, eval_steps, kDefault.eval_steps, "steps between two evaluations; 0: before and after only");
ABSL_FLAG(int64_t, save_steps, kDefault.save_steps, "steps between two checkpoints; 0: at the end only");
ABSL_FLAG(int64_t, save_total_limit, kDefault.save_total_limit, "checkpoints kept, the best by eval loss not counted");
ABSL_FLAG(std::string, resume_from_checkpoint, kDefault.resume_from_checkpoint, "a checkpoint's directory, or latest");
ABSL_FLAG(std::string, bnb_4bit_quant_type, "nf4", "nf4 or fp4");
ABSL_FLAG(int, quant_block_size, kDefault.quant.block, "weights that share a scale: 32, 64, ... 4096");
ABSL_FLAG(bool, bnb_4bit_use_double_quant, kDefault.quant.double_quant, "quantize the scales too");
ABSL_FLAG(bool, dry_run, kDefault.dry_run, "print the plan and three rendered rows, and stop");

namespace lorikeet {

absl::StatusOr<Method> ParseMethod(absl::string_view name) {
  for (Method m : {Method::kLora, Method::kQlora, Method::kDora, Method::kQdora, Method::kFull}) {
    if (name == Name(m)) return m;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--method=", name, ": expected one of lora, qlora, dora, qdora, full"));
}

absl::StatusOr<TrainOptions> OptionsFromFlags() {
  TrainOptions o;
  absl::StatusOr<Method> method = ParseMethod(absl::GetFlag(FLAGS_method));
  if (!method.ok()) return method.status();
  o.method = *method;
  const absl::StatusOr<Nf4Kind> kind = ParseNf4Kind(absl::GetFlag(FLAGS_bnb_4bit_quant_type));
  if (!kind.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("--bnb_4bit_quant_type=", kind.status().message()));
  }
  o.quant.kind = *kind;
  o.quant.block = absl::GetFlag(FLAGS_quant_block_size);
  o.quant.double_quant = absl::GetFlag(FLAGS_bnb_4bit_use_double_quant);
#define LORIKEET_READ_FLAG(name) o.name = absl::GetFlag(FLAGS_##name)
  LORIKEET_READ_FLAG(model);
  LORIKEET_READ_FLAG(data);
  LORIKEET_READ_FLAG(eval_data);
  LORIKEET_READ_FLAG(eval_fraction);
  LORIKEET_READ_FLAG(output_dir);
  LORIKEET_READ_FLAG(chat_template);
  LORIKEET_READ_FLAG(lora_r);
  LORIKEET_READ_FLAG(lora_alpha);
  LORIKEET_READ_FLAG(lora_dropout);
  LORIKEET_READ_FLAG(target_modules);
  LORIKEET_READ_FLAG(exclude_modules);
  LORIKEET_READ_FLAG(layers_to_transform);
  LORIKEET_READ_FLAG(rank_pattern);
  LORIKEET_READ_FLAG(alpha_pattern);
  LORIKEET_READ_FLAG(use_rslora);
  LORIKEET_READ_FLAG(init_lora_weights);
  LORIKEET_READ_FLAG(modules_to_save);
  LORIKEET_READ_FLAG(ensure_weight_tying);
  LORIKEET_READ_FLAG(trainable_token_indices);
  LORIKEET_READ_FLAG(bias);
  LORIKEET_READ_FLAG(max_steps);
  LORIKEET_READ_FLAG(num_epochs);
  LORIKEET_READ_FLAG(batch_size);
  LORIKEET_READ_FLAG(gradient_accumulation_steps);
  LORIKEET_READ_FLAG(max_seq_length);
  LORIKEET_READ_FLAG(packing);
  LORIKEET_READ_FLAG(train_on_prompt);
  LORIKEET_READ_FLAG(learning_rate);
  LORIKEET_READ_FLAG(lr_scheduler_type);
  LORIKEET_READ_FLAG(warmup_ratio);
  LORIKEET_READ_FLAG(weight_decay);
  LORIKEET_READ_FLAG(loraplus_lr_ratio);
  LORIKEET_READ_FLAG(max_grad_norm);
  LORIKEET_READ_FLAG(seed);
  LORIKEET_READ_FLAG(optim);
  LORIKEET_READ_FLAG(optimizer_memory);
  LORIKEET_READ_FLAG(compute_dtype);
  LORIKEET_READ_FLAG(device);
  LORIKEET_READ_FLAG(gradient_checkpointing);
  LORIKEET_READ_FLAG(gradient_checkpointing_layers);
  LORIKEET_READ_FLAG(offload_embeddings);
  LORIKEET_READ_FLAG(cuda_graphs);
  LORIKEET_READ_FLAG(threads);
  LORIKEET_READ_FLAG(rank_timeout);
  LORIKEET_READ_FLAG(logging_steps);
  LORIKEET_READ_FLAG(eval_steps);
  LORIKEET_READ_FLAG(save_steps);
  LORIKEET_READ_FLAG(save_total_limit);
  LORIKEET_READ_FLAG(resume_from_checkpoint);
  LORIKEET_READ_FLAG(dry_run);
#undef LORIKEET_READ_FLAG
  if (absl::Status s = Validate(o); !s.ok()) return s;
  return o;
}

std::map<std::string, std::string> FlagValues() {
  std::map<std::string, std::string> values;
  for (const auto& [name, flag] : absl::GetAllFlags()) {
    if (absl::StrContains(flag->Filename(), "apps/training/flags")) values[std::string(name)] = flag->CurrentValue();
  }
  return values;
}

}  // namespace lorikeet
