#include "apps/demo/lesson.h"

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "apps/demo/corpus.h"
#include "apps/model/generate.h"
#include "apps/model/open_model.h"
#include "apps/text/batches.h"
#include "apps/text/chat_template.h"
#include "apps/text/dataset.h"
#include "apps/text/tokenizer.h"
#include "apps/training/evaluate.h"
#include "apps/training/trainer.h"
#include "autograd/parameter.h"
#include "nn/causal_lm.h"
#include "nn/module.h"
#include "optim/adamw.h"
#include "optim/resident_store.h"
#include "optim/schedule.h"
#include "peft/adapter_config.h"
#include "peft/adapter_run.h"
#include "peft/inject.h"
#include "tensor/dtype.h"
#include "tensor/random.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

constexpr int64_t kContext = 256;
constexpr int64_t kEvalTokens = 2048;  // that go through the model together
enum RandomStream : uint64_t { kTrainRows, kHeldOutRows, kAdapterStart, kDropout };

// A model's weights: how many, and in how many bytes.
class Weigh : public Visitor {
 public:
  int64_t parameters = 0, bytes = 0;

 protected:
  void VisitLeaf(absl::string_view, Parameter& p) override { Add(p.value, p.value.size()); }
  void VisitBuffer(absl::string_view, Tensor& t, int64_t logical_elements) override { Add(t, logical_elements); }

 private:
  void Add(const Tensor& t, int64_t elements) {
    parameters += elements;
    bytes += t.nbytes();
  }
};

std::vector<demo::Task> Tasks(const LessonOptions& o, demo::Split split) {
  const bool train = split == demo::Split::kTrain;
  const RngKey key = RngKey{.seed = o.seed}.Fold(train ? kTrainRows : kHeldOutRows);
  std::vector<demo::Task> tasks;
  for (int64_t i = 0; i < (train ? o.train_rows : o.held_out_rows); ++i) {
    tasks.push_back(demo::JsonTask(key.Fold(static_cast<uint64_t>(i)), split));
  }
  return tasks;
}

// The model and its pupil's books: one lesson's parts, in the order in which they come to be.
class Classroom {
 public:
  explicit Classroom(const LessonOptions& options)
      : options_(options), held_out_(Tasks(options, demo::Split::kHeldOut)) {}

  absl::Status Open() {
    const bool quantized = Quantized(options_.method);
    absl::StatusOr<OpenedModel> model = OpenModel(
        "",
        {.compute_dtype = DType::kBF16, .use = quantized ? WeightUse::kQuantized : WeightUse::kFrozen, .quant = {}});
    if (!model.ok()) return model.status();
    model_ = *std::move(model);
    absl::StatusOr<text::ChatTemplate> chat = text::ChatTemplate::ForTokenizer(model_.tokenizer->spec(), "");
    if (!chat.ok()) return chat.status();
    chat_ = std::make_unique<text::ChatTemplate>(*std::move(chat));
    if (absl::Status s = Encode(Tasks(options_, demo::Split::kTrain), &train_examples_); !s.ok()) return s;
    return Encode(held_out_, &held_out_examples_);
  }

  absl::StatusOr<Score> Examine() {
    Generator generator(model_.lm.get(), model_.tokenizer.get(), kContext);  // a new one: it remembers what it read
    Score score;
    score.loss = EvaluateLoss(*model_.lm, held_out_examples_, kEvalTokens).loss();
    for (const demo::Task& task : held_out_) {
      absl::StatusOr<std::string> answer = Answer(generator, task.prompt);
      if (!answer.ok()) return answer.status();
      if (&task == &held_out_.front()) score.sample = *answer;
      if (*answer == task.answer) ++score.exact;
    }
    return score;
  }

  absl::StatusOr<int64_t> AddAdapters() {
    AdapterConfig config;
    config.r = options_.lora_r;
    config.lora_alpha = 2 * static_cast<double>(options_.lora_r);
    config.use_dora = UsesDora(options_.method);
    absl::StatusOr<InjectReport> report = Inject(*model_.lm, config, key_.Fold(kAdapterStart), &run_);
    if (!report.ok()) return report.status();
    return report->trainable;
  }

  absl::Status Train() {
    const text::SequenceStream stream(&train_examples_, {.max_seq_length = kContext, .seed = options_.seed});
    const std::vector<Parameter*> parameters = TrainableParameters(*model_.lm);
    AdamW optimizer(parameters, AdamWOptions{}, std::make_unique<ResidentStore>(StateElements(parameters)));
    const Schedule schedule(ScheduleType::kCosine, options_.learning_rate, WarmupSteps(0.05, options_.steps),
                            options_.steps);
    Trainer trainer(*model_.lm, parameters, optimizer, schedule, &run_, stream,
                    {.batch_size = options_.batch_size, .key = key_.Fold(kDropout)});
    for (int64_t step = 0; step < options_.steps; ++step) {
      absl::StatusOr<StepResult> r = trainer.Step(step);
      if (!r.ok()) return r.status();
      if (options_.on_step) options_.on_step(step + 1, r->loss);
    }
    return absl::OkStatus();
  }

  const demo::Task& sample() const { return held_out_.front(); }
  CausalLm& model() { return *model_.lm; }

 private:
  absl::Status Encode(const std::vector<demo::Task>& tasks, std::vector<text::Example>* examples) const {
    for (const demo::Task& t : tasks) {
      const absl::StatusOr<std::vector<text::Segment>> segments =
          chat_->Render({{"user", t.prompt}, {"assistant", t.answer}});
      if (!segments.ok()) return segments.status();
      examples->push_back(text::EncodeSegments(*segments, *model_.tokenizer, /*train_on_prompt=*/false));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Answer(Generator& generator, const std::string& prompt) {
    const absl::StatusOr<std::vector<text::Segment>> segments =
        chat_->Render({{"user", prompt}}, /*add_generation_prompt=*/true);
    if (!segments.ok()) return segments.status();
    const std::vector<int32_t> ids =
        text::EncodeSegments(*segments, *model_.tokenizer, /*train_on_prompt=*/false).tokens;
    GenerateOptions options;
    options.max_tokens = 80;
    options.stop = {"\n"};
    absl::StatusOr<Generation> g = generator.Generate(ids, options, [](absl::string_view) {});
    if (!g.ok()) return g.status();
    return g->text;
  }

  LessonOptions options_;
  RngKey key_{.seed = options_.seed};
  std::vector<demo::Task> held_out_;
  AdapterRun run_;
  OpenedModel model_;
  std::unique_ptr<text::ChatTemplate> chat_;
  std::vector<text::Example> train_examples_, held_out_examples_;
};

}  // namespace

absl::StatusOr<Lesson> Teach(const LessonOptions& options) {
  Classroom room(options);
  if (absl::Status s = room.Open(); !s.ok()) return s;
  Lesson lesson;
  lesson.sample = room.sample();
  Weigh weigh;
  room.model().Visit(weigh);
  lesson.parameters = weigh.parameters;
  lesson.weight_bytes = weigh.bytes;
  absl::StatusOr<Score> before = room.Examine();
  if (!before.ok()) return before.status();
  lesson.before = *std::move(before);

  absl::StatusOr<int64_t> trainable = room.AddAdapters();
  if (!trainable.ok()) return trainable.status();
  lesson.trainable = *trainable;
  const auto start = std::chrono::steady_clock::now();
  if (absl::Status s = room.Train(); !s.ok()) return s;
  lesson.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  absl::StatusOr<Score> after = room.Examine();
  if (!after.ok()) return after.status();
  lesson.after = *std::move(after);
  return lesson;
}

}  // namespace lorikeet
