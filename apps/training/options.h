// TrainOptions: everything a fine-tuning run may be told, with the names that users of PEFT and TRL know.
//
//   absl::StatusOr<TrainOptions> options = OptionsFromFlags();       // apps/training/flags.h
//
// A plain value: programs fill it from flags, tests by hand. Validate() has the rules that concern several fields.
#ifndef LORIKEET_APPS_TRAINING_OPTIONS_H_
#define LORIKEET_APPS_TRAINING_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "nn/layer_runner.h"
#include "quant/nf4.h"
#include "tensor/dtype.h"

namespace lorikeet {

enum class Method : uint8_t { kLora, kQlora, kDora, kQdora, kFull };

// "lora", "qlora", ...
const char* Name(Method method);
bool Quantized(Method method);
bool UsesDora(Method method);

struct TrainOptions {
  // Input and output. Paths are absolute or relative to the working directory.
  std::string model;      // Hugging Face directory or .gguf file; empty: the small model of the repository
  std::string data;       // jsonl
  std::string eval_data;  // jsonl; empty: eval_fraction of `data`
  double eval_fraction = 0.05;
  std::string output_dir;
  std::string chat_template;  // a name of apps/text/chat_template.h; empty: the model's own

  // What is trained.
  Method method = Method::kLora;
  int64_t lora_r = 16;
  double lora_alpha = 32;
  double lora_dropout = 0;
  std::string target_modules = "all-linear";  // comma-separated names, "all-linear", or one regular expression
  std::string exclude_modules;                // as target_modules: what is left out of them
  std::string layers_to_transform;            // comma-separated numbers of layers; empty: all
  std::string rank_pattern, alpha_pattern;    // as in adapter_config.json, {"q_proj": 8}; empty: none
  bool use_rslora = false;
  std::string init_lora_weights = "true";  // peft/lora_init.h has the names
  std::string modules_to_save;             // comma-separated: modules that train whole, by the ends of their paths
  bool ensure_weight_tying = false;        // modules_to_save may name an embedding that is the head too
  std::string trainable_token_indices;     // as in adapter_config.json, [49152, 49153]; empty: none
  std::string bias = "none";               // none, all, lora_only
  Nf4Options quant;

  // How long, on what, how fast.
  int64_t max_steps = -1;  // > 0 overrides num_epochs
  double num_epochs = 1;
  int64_t batch_size = 4;  // rows of a micro-batch
  int64_t gradient_accumulation_steps = 1;
  int64_t max_seq_length = 512;
  bool packing = false;
  bool train_on_prompt = false;
  double learning_rate = 2e-4;
  std::string lr_scheduler_type = "cosine";  // constant, constant_with_warmup, linear, cosine
  double warmup_ratio = 0.03;
  double weight_decay = 0;
  double loraplus_lr_ratio = 1;  // of B's learning rate to A's
  double max_grad_norm = 1;
  uint64_t seed = 42;

  // Machine.
  std::string optim = "adamw";                 // adamw, adamw_8bit, paged_adamw, paged_adamw_8bit
  int64_t optimizer_memory = 64 << 20;         // bytes of RAM that a paged optimizer may use for its state
  std::string compute_dtype = "auto";          // auto, bf16, f32
  std::string device = "auto";                 // auto, cpu, cuda
  std::string gradient_checkpointing = "off";  // off, on, selective, offload
  int64_t gradient_checkpointing_layers = -1;  // the first so many; -1: all
  bool offload_embeddings = false;
  bool cuda_graphs = false;
  int threads = 0;            // 0: every processor allowed
  double rank_timeout = 600;  // seconds that one rank may keep the others waiting

  // Reports and checkpoints.
  int64_t logging_steps = 1;
  int64_t eval_steps = 0;  // 0: only before and after
  int64_t save_steps = 0;  // 0: only at the end
  int64_t save_total_limit = 3;
  std::string resume_from_checkpoint;  // a checkpoint's directory, or "latest"
  bool dry_run = false;
};

// What --gradient_checkpointing says.
Checkpointing CheckpointingOf(const TrainOptions& o);

// What --optim says of AdamW's state: beyond a budget of memory it lies elsewhere; its elements' dtype, u8 for 8 bits.
bool PagedState(const TrainOptions& options);
DType StateDType(const TrainOptions& options);

// "bazel run //apps:generate -- ...", with the flags that load what the run wrote over its base, or the whole model
// that it wrote, as the run did; for a shell.
std::string GenerateCommand(const TrainOptions& options, const std::string& base_model);

// InvalidArgument names the flag, its value and what is allowed.
absl::Status Validate(const TrainOptions& options);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_OPTIONS_H_
