#include "apps/training/run_report.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "apps/training/device_peak.h"
#include "apps/training/loss_svg.h"
#include "apps/training/metrics.h"
#include "apps/training/plan.h"
#include "apps/training/process_memory.h"
#include "apps/training/progress.h"
#include "apps/training/useful_flops.h"
#include "nn/layer_runner.h"
#include "nn/linear_cross_entropy.h"
#include "nn/linear_map.h"
#include "nn/module.h"
#include "optim/adamw.h"
#include "tensor/default_allocator.h"
#include "tensor/io/atomic_file.h"
#include "tensor/kernels/parallel.h"

namespace lorikeet {
namespace {

// Adds up what a model holds. Packed weights count as the weights they stand for.
class CountParameters : public Visitor {
 public:
  int64_t trainable = 0, total = 0, bytes = 0;
  int64_t frozen_linear = 0, trained_linear = 0;  // weights of linear maps but embedding and head, for the useful FLOPs

 protected:
  void VisitLeaf(absl::string_view, Parameter& p) override {
    if (p.trainable) trainable += p.value.size();
    total += p.value.size();
    bytes += p.value.nbytes();
    if (inside_linear_ && p.value.rank() == 2) (p.trainable ? trained_linear : frozen_linear) += p.value.size();
  }
  void VisitBuffer(absl::string_view, Tensor& t, int64_t logical_elements) override {
    total += logical_elements;
    bytes += t.nbytes();
    if (inside_linear_) frozen_linear += logical_elements;
  }
  void VisitSlot(absl::string_view name, MapSlot& slot) override {
    inside_linear_ = !slot.embedding && name != "lm_head";
    Visitor::VisitSlot(name, slot);
    inside_linear_ = false;
  }

 private:
  bool inside_linear_ = false;
};

// Bytes of a step's activations, as they are saved for the backward pass: per token and layer the inputs of the norms,
// projections and activations, in the compute dtype. Of layers with checkpointing only the inputs, and one layer whole.
int64_t ExpectedActivationBytes(const TrainJob& job) {
  const ModelConfig& c = job.model.lm->config();
  const int64_t width = static_cast<int64_t>(SizeOf(job.compute_dtype));
  const int64_t qkv = (c.num_heads + 2 * c.num_kv_heads) * c.head_dim;
  const int64_t layer = width * (4 * c.hidden_size + 2 * qkv + c.num_heads * c.head_dim + 4 * c.intermediate_size);
  const int64_t tokens = job.rows * job.options.max_seq_length;
  // Two of the layers' inputs are on the device while the others are in host memory.
  const bool offload = CheckpointingOf(job.options) == Checkpointing::kOffload && job.device.is_cuda();
  const int64_t asked = job.options.gradient_checkpointing_layers;
  const int64_t checkpointed = CheckpointingOf(job.options) == Checkpointing::kOff ? 0
                               : asked < 0                                         ? c.num_layers
                                                                                   : std::min(asked, c.num_layers);
  const bool selective = CheckpointingOf(job.options) == Checkpointing::kSelective;
  const int64_t input = (c.hidden_size + (selective ? c.num_heads * c.head_dim : 0)) * width;
  const int64_t inputs = (offload ? std::min<int64_t>(2, checkpointed) : checkpointed) * input;
  const int64_t per_token = inputs + std::max<int64_t>(1, c.num_layers - checkpointed) * layer;
  return tokens * per_token + LogitsChunk(tokens, job.device) * c.vocab_size * (4 + width);
}

int NumRanks(const TrainJob& job) { return job.ranks == nullptr ? 1 : job.ranks->size(); }

// mpirun gives every rank a terminal, wherever its own output goes.
ProgressOptions ProgressOptionsOf(const TrainJob& job) {
  ProgressOptions options = ProgressOptionsFor(stdout);
  if (NumRanks(job) > 1) options.terminal = false;
  return options;
}

std::string DeviceText(const TrainJob& job) {
  const std::string ranks = NumRanks(job) == 1 ? "" : absl::StrCat(", ", NumRanks(job), " ranks");
  if (job.device.is_cuda()) {
    const char* const sums = ranks.empty() ? "" : job.nccl != nullptr ? " by NCCL" : " through the host";
    return absl::StrCat(job.device_name, job.options.cuda_graphs ? ", graphs" : "", ranks, sums);
  }
  return absl::StrCat("cpu", ranks, ranks.empty() ? ", " : " of ", NumThreads(),
                      NumThreads() == 1 ? " thread" : " threads");
}

std::string JoinIds(const std::vector<int32_t>& ids) { return absl::StrJoin(ids, " "); }

// The row's text with its answer between brackets.
std::string Marked(const text::Example& e, const text::Tokenizer& tokenizer) {
  std::string out;
  std::vector<int32_t> run;
  bool answer = false;
  const auto flush = [&] {
    if (run.empty()) return;
    const std::string text = tokenizer.Decode(run);
    absl::StrAppend(&out, answer ? "[" : "", text, answer ? "]" : "");
    run.clear();
  };
  for (size_t i = 0; i < e.tokens.size(); ++i) {
    if ((e.loss_mask[i] != 0) != answer) flush();
    answer = e.loss_mask[i] != 0;
    run.push_back(e.tokens[i]);
  }
  flush();
  return out;
}

}  // namespace

struct RunReport::State {
  explicit State(const TrainJob& job) : progress(job.max_steps, ProgressOptionsOf(job)) {}
  std::unique_ptr<MetricsWriter> metrics;
  ProgressPrinter progress;
  double peak_flops = 0;  // of the dot-product instruction, measured, on all ranks
  StepFlops flops;        // but for what differs from step to step
  double seconds = 0;     // of training so far
};

RunReport::RunReport(TrainJob& job, std::string output_dir)
    : job_(job), output_dir_(std::move(output_dir)), state_(std::make_unique<State>(job)) {
  CountParameters count;
  job.model.lm->Visit(count);
  trainable_ = count.trainable;
  total_ = count.total;
  weight_bytes_ = count.bytes;
  const ModelConfig& c = job.model.lm->config();
  StepFlops& f = state_->flops;
  const bool full = job.options.method == Method::kFull;
  f.frozen_linear_weights = count.frozen_linear;
  f.trained_linear_weights = full ? count.trained_linear : 0;
  f.adapter_weights = full ? 0 : trainable_;
  f.layers = c.num_layers;
  f.heads = c.num_heads;
  f.head_dim = c.head_dim;
  f.head_weights = c.vocab_size * c.hidden_size;
  f.head_trained = full;
}

RunReport::~RunReport() = default;

void RunReport::PrintPlan() {
  const TrainOptions& o = job_.options;
  PlanInputs p;
  p.model = job_.model.path;
  p.num_layers = job_.model.lm->config().num_layers;
  p.total_parameters = total_;
  p.trainable_parameters = trainable_;
  p.method = Name(o.method);
  p.weights = Quantized(o.method) ? Name(o.quant.kind) : "";
  p.dtype = Name(job_.compute_dtype);
  p.device = DeviceText(job_);
  p.weight_bytes = weight_bytes_;
  p.gradient_bytes = 4 * trainable_;
  const DType state = StateDType(o);
  p.optimizer_bytes = 2 * StateElements(job_.parameters, state) * static_cast<int64_t>(SizeOf(state));
  p.optimizer_memory_limit = PagedState(o) ? o.optimizer_memory : 0;
  p.activation_bytes = ExpectedActivationBytes(job_);
  p.batch_size = o.batch_size;
  p.gradient_accumulation_steps = o.gradient_accumulation_steps;
  p.max_seq_length = o.max_seq_length;
  p.steps = job_.max_steps;
  p.train_rows = static_cast<int64_t>(job_.train.examples.size());
  p.eval_rows = static_cast<int64_t>(job_.eval.examples.size());
  std::fputs(FormatPlan(p, ProgressOptionsFor(stdout).utf8).c_str(), stdout);
  const text::DatasetStats& stats = job_.train.stats;
  if (stats.truncated > 0)
    std::printf("%lld rows were cut to %lld tokens\n", static_cast<long long>(stats.truncated),
                static_cast<long long>(o.max_seq_length));
  if (stats.dropped > 0)
    std::printf("%lld rows were dropped: cut before their answer\n", static_cast<long long>(stats.dropped));
  for (const std::string& w : job_.model.warnings) std::fprintf(stderr, "warning: %s\n", w.c_str());
  std::fflush(stdout);
}

void RunReport::PrintRows(int64_t count) {
  for (int64_t i = 0; i < std::min<int64_t>(count, static_cast<int64_t>(job_.train.examples.size())); ++i) {
    const text::Example& e = job_.train.examples[static_cast<size_t>(i)];
    std::printf(
        "\nrow %lld (line %lld), %zu tokens, the model learns what is in [brackets]:\n%s\nids:  %s\nmask: %s\n",
        static_cast<long long>(i + 1), static_cast<long long>(e.line), e.tokens.size(),
        Marked(e, *job_.model.tokenizer).c_str(), JoinIds(e.tokens).c_str(),
        absl::StrJoin(e.loss_mask, " ", [](std::string* out, uint8_t m) { out->push_back(m ? '1' : '0'); }).c_str());
  }
}

absl::Status RunReport::Open(int64_t first_step) {
  const std::string path = output_dir_ + "/metrics.jsonl";
  absl::StatusOr<std::unique_ptr<MetricsWriter>> metrics =
      first_step > 0 ? MetricsWriter::Resume(path, first_step) : MetricsWriter::Create(path);
  if (!metrics.ok()) return metrics.status();
  state_->metrics = *std::move(metrics);
  state_->peak_flops = DevicePeakFlops(job_.device, job_.compute_dtype) * NumRanks(job_);
  return absl::OkStatus();
}

void RunReport::Stepped(const StepResult& r) {
  StepMetrics m;
  m.step = r.step + 1;
  m.loss = r.loss;
  m.lr = r.learning_rate;
  m.grad_norm = r.grad_norm;
  m.tokens = r.tokens;
  m.seconds = r.seconds;
  m.tokens_per_second = static_cast<double>(r.tokens) / r.seconds;
  m.resident_bytes = job_.device.is_cpu() ? ResidentBytes() : DeviceMemory().peak_bytes();
  state_->metrics->Write(m);
  state_->seconds += r.seconds;
  if (m.step % job_.options.logging_steps != 0 && m.step != job_.max_steps) return;
  state_->flops.tokens = r.tokens;
  state_->flops.target_rows = r.answer_tokens;
  state_->flops.causal_pairs = r.causal_pairs;
  const double peak = UsefulFlopsPerStep(state_->flops) / r.seconds / state_->peak_flops;
  state_->progress.Report({m.step, m.loss, m.lr, m.grad_norm, m.tokens_per_second, peak, m.resident_bytes},
                          state_->seconds);
}

void RunReport::Evaluated(int64_t step, const EvalResult& result) {
  if (result.examples == 0) return;
  state_->metrics->Write(EvalMetrics{step, result.loss()});
  state_->progress.Note(
      absl::StrFormat("eval after %d steps: loss %.4f, perplexity %.2f, token accuracy %.1f%% (%d rows)", step,
                      result.loss(), result.perplexity(), 100 * result.accuracy(), result.examples));
}

absl::Status RunReport::Close(double eval_loss_before, const EvalResult& after) {
  state_->progress.Finish();
  absl::StatusOr<MetricsSeries> series = ReadMetrics(output_dir_ + "/metrics.jsonl");
  if (series.ok()) {
    LossPlot plot;
    plot.title = absl::StrCat(Name(job_.options.method), " on ", job_.options.data);
    for (const StepMetrics& m : series->steps) plot.train.push_back({m.step, m.loss});
    for (const EvalMetrics& m : series->evals) plot.eval.push_back({m.step, m.eval_loss});
    if (absl::Status s = WriteFileAtomically(output_dir_ + "/loss.svg", LossSvg(plot)); !s.ok()) return s;
  }
  if (after.examples > 0)
    std::printf("\neval loss %.4f -> %.4f (%+.1f%%)\n", eval_loss_before, after.loss(),
                100 * (after.loss() / eval_loss_before - 1));
  std::printf("written to %s\ntry it:\n  %s\n", output_dir_.c_str(),
              GenerateCommand(job_.options, job_.model.path).c_str());
  return absl::OkStatus();
}

}  // namespace lorikeet
