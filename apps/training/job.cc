#include "apps/training/job.h"

#include <cmath>
#include <filesystem>
#include <future>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "apps/model/choose_device.h"
#include "apps/parallel/nccl_library.h"
#include "apps/training/run_info.h"
#include "optim/cuda_paged_store.h"
#include "optim/paged_store.h"
#include "optim/resident_store.h"
#include "optim/state_store.h"
#include "peft/inject.h"
#include "peft/lora_plus.h"
#include "peft/targets.h"
#include "tensor/cuda_memory.h"
#include "tensor/device.h"
#include "tensor/kernels/parallel.h"
#include "tensor/random.h"

namespace lorikeet {
namespace {

// Streams of randomness, so that no two uses share bits.
enum RandomStream : uint64_t { kAdapterStart, kDropout };

WeightUse UseFor(Method method) {
  if (method == Method::kFull) return WeightUse::kTrainable;
  return Quantized(method) ? WeightUse::kQuantized : WeightUse::kFrozen;
}

text::DatasetOptions RowOptions(const TrainOptions& o) {
  text::DatasetOptions rows;
  rows.max_seq_length = o.max_seq_length;
  rows.train_on_prompt = o.train_on_prompt;
  return rows;
}

// Enough to tell one set of files from another: the first digits of a digest over their digests.
std::string ShortDigest(const std::map<std::string, FileDigest>& files) {
  Sha256 all;
  for (const auto& [name, digest] : files) all.Update(digest.sha256);
  return all.Hex().substr(0, 16);
}

}  // namespace

NamePattern ParseNames(const std::string& flag) {
  NamePattern names;
  if (flag.find_first_of("*+?()[]{}|^$\\") != std::string::npos) {
    names.regex = flag;
  } else {
    names.list = absl::StrSplit(flag, ',', absl::SkipEmpty());
  }
  return names;
}

absl::StatusOr<AdapterConfig> AdapterConfigFor(const TrainOptions& o) {
  AdapterConfig c;
  c.r = o.lora_r;
  c.lora_alpha = o.lora_alpha;
  c.lora_dropout = o.lora_dropout;
  c.use_rslora = o.use_rslora;
  c.use_dora = UsesDora(o.method);
  c.init_lora_weights = o.init_lora_weights;
  c.bias = o.bias;
  c.modules_to_save = absl::StrSplit(o.modules_to_save, ',', absl::SkipEmpty());
  c.ensure_weight_tying = o.ensure_weight_tying;
  c.all_linear = o.target_modules == "all-linear";
  if (!c.all_linear) c.target = ParseNames(o.target_modules);
  c.exclude = ParseNames(o.exclude_modules);
  for (absl::string_view number : absl::StrSplit(o.layers_to_transform, ',', absl::SkipEmpty())) {
    int64_t layer;
    if (!absl::SimpleAtoi(number, &layer) || layer < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("--layers_to_transform=", o.layers_to_transform, ": expected numbers of layers, as 0,1,2"));
    }
    c.layers_to_transform.push_back(layer);
  }
  if (absl::Status s = ParseRankPattern(o.rank_pattern, "--rank_pattern", &c); !s.ok()) return s;
  if (absl::Status s = ParseTrainableTokenIndices(o.trainable_token_indices, "--trainable_token_indices", &c); !s.ok())
    return s;
  if (absl::Status s = ParseAlphaPattern(o.alpha_pattern, "--alpha_pattern", &c); !s.ok()) return s;
  return c;
}

absl::Status TrainJob::DivideSteps() {
  const int64_t n = ranks == nullptr ? 1 : ranks->size();
  rows = options.batch_size;
  micro_batches = options.gradient_accumulation_steps;
  if (micro_batches % n == 0) return absl::OkStatus();
  if (rows % n == 0) {
    rows /= n;
    micro_batches *= n;
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--batch_size=", rows, " --gradient_accumulation_steps=", micro_batches,
                   ": a step cannot be divided among ", n, " ranks; make one of the two a multiple of ", n));
}

absl::StatusOr<std::unique_ptr<TrainJob>> TrainJob::Create(const TrainOptions& options, Ranks* ranks) {
  auto job = std::make_unique<TrainJob>();
  job->options = options;
  job->ranks = ranks;
  if (absl::Status s = job->DivideSteps(); !s.ok()) return s;
  SetNumThreads(options.threads);
  absl::StatusOr<DeviceChoice> choice = ChooseDevice(options.device);
  if (!choice.ok()) return choice.status();
  job->device = choice->device;
  job->device_name = choice->why;
  if (ranks != nullptr) {
    if (absl::Status s = ranks->ExpectSame("the device", ToString(job->device)); !s.ok()) return s;
  }
  if (absl::Status s = job->OpenModelAndData(); !s.ok()) return s;
  // Digests are read beside the weights: the files are then in memory for one of the two.
  std::future<absl::Status> digests = std::async(std::launch::async, [&job] { return job->DigestInputs(); });
  absl::Status loaded = LoadWeights({.compute_dtype = job->compute_dtype,
                                     .use = UseFor(options.method),
                                     .quant = options.quant,
                                     .device = job->device,
                                     .offload_embeddings = options.offload_embeddings},
                                    &job->model);
  if (absl::Status s = digests.get(); !s.ok()) return s;
  if (!loaded.ok()) return loaded;
  const int64_t layers = options.gradient_checkpointing_layers;
  job->model.lm->set_gradient_checkpointing(CheckpointingOf(options), layers < 0 ? INT64_MAX : layers);
  if (absl::Status s = job->AddAdapters(); !s.ok()) return s;
  if (absl::Status s = job->MakeOptimizer(); !s.ok()) return s;
  return job;
}

absl::Status TrainJob::OpenModelAndData() {
  absl::StatusOr<DType> dtype = ParseComputeDtype(options.compute_dtype, device);
  if (!dtype.ok()) return dtype.status();
  compute_dtype = *dtype;
  absl::StatusOr<OpenedModel> opened = OpenWithoutWeights(options.model);
  if (!opened.ok()) return opened.status();
  model = *std::move(opened);
  const int64_t longest = model.files->config().max_position_embeddings;
  if (options.max_seq_length > longest) {
    return absl::InvalidArgumentError(absl::StrCat("--max_seq_length=", options.max_seq_length,
                                                   ": the model was made for at most ", longest, " tokens"));
  }
  absl::StatusOr<text::ChatTemplate> made =
      text::ChatTemplate::ForTokenizer(model.tokenizer->spec(), options.chat_template);
  if (!made.ok()) return made.status();
  chat = std::make_unique<text::ChatTemplate>(*std::move(made));
  absl::StatusOr<text::Dataset> data = text::LoadDataset(options.data, *model.tokenizer, *chat, RowOptions(options));
  if (!data.ok()) return data.status();
  train = *std::move(data);
  if (!options.eval_data.empty()) {
    absl::StatusOr<text::Dataset> held_out =
        text::LoadDataset(options.eval_data, *model.tokenizer, *chat, RowOptions(options));
    if (!held_out.ok()) return held_out.status();
    eval = *std::move(held_out);
  } else {
    std::tie(train, eval) = text::SplitDataset(std::move(train), options.eval_fraction, options.seed);
  }
  if (train.examples.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(options.data, ": no row is left to train on (", train.stats.dropped,
                                                   " were cut before their answer; raise --max_seq_length)"));
  }
  return absl::OkStatus();
}

absl::Status TrainJob::DigestInputs() {
  std::vector<std::pair<std::string, std::string>> paths = {{"model", model.path}, {"data", options.data}};
  if (!options.eval_data.empty()) paths.emplace_back("eval_data", options.eval_data);
  for (const auto& [role, path] : paths) {
    absl::StatusOr<std::map<std::string, FileDigest>> digests = DigestsOf(path);
    if (!digests.ok()) return digests.status();
    inputs[role] = *std::move(digests);
  }
  return absl::OkStatus();
}

absl::Status TrainJob::AddAdapters() {
  if (options.method != Method::kFull) {
    absl::StatusOr<AdapterConfig> config = AdapterConfigFor(options);
    if (!config.ok()) return config.status();
    adapter = *std::move(config);
    // Absolute, so that the adapter finds its base from anywhere on this machine.
    std::error_code ignored;
    adapter.base_model_name_or_path = std::filesystem::absolute(model.path, ignored).string();
    absl::StatusOr<InjectReport> report =
        Inject(*model.lm, adapter, RngKey{.seed = options.seed}.Fold(kAdapterStart), &run, &model.files->weights());
    if (!report.ok()) return report.status();
    adapted = report->modules;
    const absl::StatusOr<std::vector<std::string>> without = KeysWithoutMatch(adapter, adapted);
    if (!without.ok()) return without.status();
    if (!without->empty()) {
      return absl::InvalidArgumentError(absl::StrCat("--rank_pattern or --alpha_pattern: \"", without->front(),
                                                     "\" matches the end of no adapted module's path, such as ",
                                                     adapted.front()));
    }
  }
  parameters = TrainableParameters(*model.lm);
  return absl::OkStatus();
}

absl::Status TrainJob::MakeOptimizer() {
  stream = std::make_unique<text::SequenceStream>(
      &train.examples,
      text::StreamOptions{.max_seq_length = options.max_seq_length, .packing = options.packing, .seed = options.seed});
  const int64_t per_step = options.batch_size * options.gradient_accumulation_steps;
  max_steps =
      options.max_steps > 0
          ? options.max_steps
          : static_cast<int64_t>(std::ceil(options.num_epochs * static_cast<double>(stream->sequences_per_epoch()) /
                                           static_cast<double>(per_step)));
  absl::StatusOr<ScheduleType> type = ParseScheduleType(options.lr_scheduler_type);
  if (!type.ok()) return type.status();
  schedule =
      std::make_unique<Schedule>(*type, options.learning_rate, WarmupSteps(options.warmup_ratio, max_steps), max_steps);
  std::unique_ptr<StateStore> store;
  const DType dtype = StateDType(options);
  const int64_t elements = StateElements(parameters, dtype);
  if (PagedState(options) && device.is_cuda()) {
    absl::StatusOr<std::unique_ptr<CudaPagedStore>> paged =
        CudaPagedStore::Create(elements, dtype, {.budget_bytes = options.optimizer_memory});
    if (!paged.ok()) return paged.status();
    store = *std::move(paged);
  } else if (PagedState(options)) {
    absl::StatusOr<std::unique_ptr<PagedStore>> paged = PagedStore::Create(
        elements, dtype,
        {.budget_bytes = options.optimizer_memory, .directory = options.output_dir, .page_elements = 0});
    if (!paged.ok()) return paged.status();
    store = *std::move(paged);
  } else {
    store = std::make_unique<ResidentStore>(elements, dtype, device);
  }
  const auto group = [&](const Parameter& p) {
    return AdamWGroup{.lr_scale = LoraPlusScale(p, options.loraplus_lr_ratio), .weight_decay = options.weight_decay};
  };
  optimizer = std::make_unique<AdamW>(parameters, AdamWOptions{.group = group}, std::move(store));
  if (ranks != nullptr && ranks->size() > 1 && device.is_cuda()) {
    absl::StatusOr<std::unique_ptr<NcclSum>> made = NcclSum::Create(*ranks, OpenNccl(), CudaDeviceAddress());
    if (!made.ok()) return made.status();
    nccl = *std::move(made);
  }
  trainer = std::make_unique<Trainer>(*model.lm, parameters, *optimizer, *schedule, &run, *stream,
                                      TrainerOptions{.batch_size = rows,
                                                     .gradient_accumulation_steps = micro_batches,
                                                     .max_grad_norm = options.max_grad_norm,
                                                     .key = RngKey{.seed = options.seed}.Fold(kDropout),
                                                     .cuda_graphs = options.cuda_graphs && device.is_cuda(),
                                                     .ranks = ranks,
                                                     .nccl = nccl.get()});
  fingerprint = Fingerprint();
  return absl::OkStatus();
}

std::string TrainJob::EvalDigest() const {
  const auto found = inputs.find("eval_data");
  return found == inputs.end() ? "none" : ShortDigest(found->second);
}

std::string TrainJob::Fingerprint() const {
  const TrainOptions& o = options;
  std::vector<std::string> facts = {
      absl::StrCat("model ", ShortDigest(inputs.at("model"))),
      absl::StrCat("data ", ShortDigest(inputs.at("data"))),
      absl::StrCat("rows ", train.examples.size()),
      absl::StrCat("chat_template ", o.chat_template),
      absl::StrCat("train_on_prompt ", o.train_on_prompt),
      absl::StrCat("method ", Name(o.method)),
      absl::StrCat("parameters ", StateElements(parameters)),
      absl::StrCat("batch ", o.batch_size, "x", o.gradient_accumulation_steps),
      absl::StrCat("max_seq_length ", o.max_seq_length),
      absl::StrCat("packing ", o.packing),
      absl::StrCat("steps ", max_steps),
      absl::StrCat("learning_rate ", o.learning_rate, " ", o.lr_scheduler_type, " warmup ", o.warmup_ratio),
      absl::StrCat("weight_decay ", o.weight_decay),
      absl::StrCat("max_grad_norm ", o.max_grad_norm),
      absl::StrCat("compute_dtype ", Name(compute_dtype)),
      absl::StrCat("seed ", o.seed)};
  if (o.method != Method::kFull) {
    facts.push_back(absl::StrCat("lora_r ", o.lora_r, " lora_alpha ", o.lora_alpha, " use_rslora ", o.use_rslora));
    facts.push_back(absl::StrCat("lora_dropout ", o.lora_dropout, " loraplus_lr_ratio ", o.loraplus_lr_ratio));
    facts.push_back(absl::StrCat("target_modules ", o.target_modules, " without ", o.exclude_modules, " in layers ",
                                 o.layers_to_transform));
    if (!o.rank_pattern.empty()) facts.push_back("rank_pattern " + o.rank_pattern);
    if (!o.alpha_pattern.empty()) facts.push_back("alpha_pattern " + o.alpha_pattern);
    if (!o.trainable_token_indices.empty()) facts.push_back("trainable_token_indices " + o.trainable_token_indices);
    facts.push_back(absl::StrCat("init_lora_weights ", o.init_lora_weights, " modules_to_save ", o.modules_to_save,
                                 " ensure_weight_tying ", o.ensure_weight_tying, " bias ", o.bias));
  }
  if (o.cuda_graphs && device.is_cuda()) facts.push_back("cuda_graphs");  // padding, and so the order of some sums
  if (StateDType(o) != DType::kF32) facts.push_back("optimizer state in 8 bits");
  if (Quantized(o.method)) {
    facts.push_back(absl::StrCat("quant_type ", Name(o.quant.kind), " block ", o.quant.block, " double_quant ",
                                 o.quant.double_quant));
  }
  return absl::StrJoin(facts, ", ");
}

}  // namespace lorikeet
