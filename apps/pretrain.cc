// Trains the small model from nothing, on text that is made up as it goes: apps/demo/corpus.h.
//
//   1  write documents                         4  train every weight
//   2  learn a vocabulary from them            5  save a Hugging Face directory
//   3  draw a model at random
#include <sys/stat.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "apps/demo/corpus.h"
#include "apps/model/open_model.h"
#include "apps/model/random_weights.h"
#include "apps/model/save_model.h"
#include "apps/model/zstd_file.h"
#include "apps/program.h"
#include "apps/text/batches.h"
#include "apps/text/bpe_trainer.h"
#include "apps/text/chat_template.h"
#include "apps/text/dataset.h"
#include "apps/text/tokenizer.h"
#include "apps/text/tokenizer_json.h"
#include "apps/training/evaluate.h"
#include "apps/training/trainer.h"
#include "nn/causal_lm.h"
#include "nn/load.h"
#include "nn/model_config.h"
#include "optim/adamw.h"
#include "optim/resident_store.h"
#include "optim/schedule.h"
#include "peft/inject.h"
#include "peft/merge.h"
#include "tensor/io/file.h"
#include "tensor/io/file_system.h"
#include "tensor/random.h"

ABSL_FLAG(std::string, output_dir, "", "directory for the model; it is made if it is not there");
ABSL_FLAG(int64_t, steps, 2500, "optimizer steps");
ABSL_FLAG(int64_t, batch_size, 8, "packed sequences in a step");
ABSL_FLAG(int64_t, max_seq_length, 256, "tokens of a packed sequence");
ABSL_FLAG(int64_t, documents, 50000, "documents to learn from, once or several times");
ABSL_FLAG(int, vocab_size, 512, "tokens of the vocabulary, 256 of them the bytes");
ABSL_FLAG(int64_t, hidden_size, 128, "width of the model, a multiple of 64");
ABSL_FLAG(int64_t, num_layers, 4, "depth of the model");
ABSL_FLAG(double, learning_rate, 4e-3, "peak learning rate");
ABSL_FLAG(uint64_t, seed, 1, "of the text, of the weights' start and of the order of the documents");
ABSL_FLAG(std::string, compute_dtype, "auto", "bf16, f32, or auto: bf16 where the processor multiplies it fast");
ABSL_FLAG(bool, zstd, false, "store the weights as model.safetensors.zst, which only Lorikeet reads");

namespace lorikeet {
namespace {

constexpr int64_t kHeadDim = 32;
constexpr int64_t kHeldOut = 500;  // documents
enum RandomStream : uint64_t { kText, kHeldOutText, kWeights };

std::vector<std::string> Documents(RngKey key, int64_t count) {
  std::vector<std::string> documents;
  for (int64_t i = 0; i < count; ++i)
    documents.push_back(demo::PretrainingDocument(key.Fold(static_cast<uint64_t>(i))));
  return documents;
}

absl::StatusOr<text::Tokenizer> LearnTokenizer(const std::vector<std::string>& documents) {
  text::BpeTrainer trainer({.vocab_size = absl::GetFlag(FLAGS_vocab_size),
                            .special_tokens = {"<|endoftext|>"},
                            .pretokenizer = text::PretokenizerFamily::kSmolLm});
  for (const std::string& d : documents) trainer.Add(d);
  return text::Tokenizer::Create(trainer.Train());
}

std::vector<text::Example> Encode(const std::vector<std::string>& documents, const text::Tokenizer& tokenizer,
                                  const text::ChatTemplate& chat) {
  std::vector<text::Example> examples;
  for (const std::string& d : documents) {
    text::Example e = text::EncodeSegments(chat.RenderText(d), tokenizer, /*train_on_prompt=*/true);
    if (static_cast<int64_t>(e.tokens.size()) <= absl::GetFlag(FLAGS_max_seq_length)) examples.push_back(std::move(e));
  }
  return examples;
}

ModelConfig Config(const text::BpeSpec& spec) {
  ModelConfig c;
  c.vocab_size = spec.num_tokens();
  c.hidden_size = absl::GetFlag(FLAGS_hidden_size);
  c.intermediate_size = 3 * c.hidden_size;
  c.num_layers = absl::GetFlag(FLAGS_num_layers);
  c.num_heads = c.hidden_size / kHeadDim;
  c.num_kv_heads = c.num_heads / 2;
  c.head_dim = kHeadDim;
  c.max_position_embeddings = 2048;
  c.tie_word_embeddings = true;
  c.eos_token_ids = {spec.eos_id};
  c.bos_token_ids = {spec.eos_id};
  return c;
}

absl::StatusOr<std::unique_ptr<CausalLm>> UntrainedModel(const ModelConfig& config, RngKey key) {
  if (absl::Status s = ValidateModelConfig(config, "--hidden_size and --num_layers"); !s.ok()) return s;
  absl::StatusOr<DType> dtype = ParseComputeDtype(absl::GetFlag(FLAGS_compute_dtype));
  if (!dtype.ok()) return dtype.status();
  std::unique_ptr<CausalLm> lm = BuildModel(config, *dtype);
  const RandomWeights start(*lm, key);
  absl::Status s = LoadWeights(*lm, start, DenseFactory(*dtype, /*trainable=*/true), /*trainable=*/true, nullptr);
  if (!s.ok()) return s;
  return lm;
}

absl::Status Train(CausalLm& lm, const std::vector<text::Example>& train, const std::vector<text::Example>& held_out) {
  const int64_t steps = absl::GetFlag(FLAGS_steps);
  const text::SequenceStream stream(
      &train,
      {.max_seq_length = absl::GetFlag(FLAGS_max_seq_length), .packing = true, .seed = absl::GetFlag(FLAGS_seed)});
  const std::vector<Parameter*> parameters = TrainableParameters(lm);
  AdamW optimizer(parameters, {.beta2 = 0.98, .weight_decay = 0.05},
                  std::make_unique<ResidentStore>(StateElements(parameters)));
  const Schedule schedule(ScheduleType::kCosine, absl::GetFlag(FLAGS_learning_rate), WarmupSteps(0.03, steps), steps);
  Trainer trainer(lm, parameters, optimizer, schedule, /*run=*/nullptr, stream,
                  {.batch_size = absl::GetFlag(FLAGS_batch_size), .key = {}});
  double seconds = 0;
  for (int64_t step = 0; step < steps; ++step) {
    absl::StatusOr<StepResult> r = trainer.Step(step);
    if (!r.ok()) return r.status();
    seconds += r->seconds;
    if ((step + 1) % 50 == 0 || step + 1 == steps) {
      std::printf("step %5lld of %lld   loss %.4f   %6.0f tokens/s   %4.0f s\n", static_cast<long long>(step + 1),
                  static_cast<long long>(steps), r->loss, static_cast<double>(r->tokens) / r->seconds, seconds);
      std::fflush(stdout);
    }
  }
  const EvalResult e = EvaluateLoss(lm, held_out, 2048);
  std::printf("held-out loss %.4f, perplexity %.2f, token accuracy %.1f%%\n", e.loss(), e.perplexity(),
              100 * e.accuracy());
  return absl::OkStatus();
}

absl::Status Save(CausalLm& lm, const text::BpeSpec& spec, const std::string& directory) {
  text::TokenizerFiles files;
  files.tokenizer_json = text::ToTokenizerJson(spec);
  files.tokenizer_config_json = text::ToTokenizerConfigJson(spec);
  const MergedSource weights(lm, DType::kBF16);
  if (absl::Status s = SaveModel(directory, lm.config(), files, weights, {.dtype = DType::kBF16}); !s.ok()) return s;
  if (!absl::GetFlag(FLAGS_zstd)) return absl::OkStatus();
  const std::string path = directory + "/model.safetensors";
  absl::StatusOr<std::string> bytes = ReadFileToString(path, uint64_t{1} << 30);
  if (!bytes.ok()) return bytes.status();
  if (absl::Status s = WriteZstdFile(path + ".zst", *bytes); !s.ok()) return s;
  if (FileSystem::Real().Unlink(path) != 0) return ErrnoStatus(errno, "remove", path);
  return absl::OkStatus();
}

absl::Status CheckFlags() {
  const std::tuple<const char*, int64_t, int64_t> least[] = {{"steps", absl::GetFlag(FLAGS_steps), 1},
                                                             {"batch_size", absl::GetFlag(FLAGS_batch_size), 1},
                                                             {"max_seq_length", absl::GetFlag(FLAGS_max_seq_length), 2},
                                                             {"documents", absl::GetFlag(FLAGS_documents), 2},
                                                             {"num_layers", absl::GetFlag(FLAGS_num_layers), 1}};
  for (const auto& [flag, value, min] : least) {
    if (value >= min) continue;
    return absl::InvalidArgumentError(absl::StrCat("--", flag, "=", value, ": expected ", min, " or more"));
  }
  if (absl::GetFlag(FLAGS_output_dir).empty())
    return absl::InvalidArgumentError("--output_dir is missing: name a directory for the model");
  return absl::OkStatus();
}

absl::Status Run() {
  if (absl::Status s = CheckFlags(); !s.ok()) return s;
  const std::string directory = absl::GetFlag(FLAGS_output_dir);
  if (mkdir(directory.c_str(), 0777) != 0 && errno != EEXIST) return ErrnoStatus(errno, "make", directory);
  const RngKey key{.seed = absl::GetFlag(FLAGS_seed)};
  const std::vector<std::string> documents = Documents(key.Fold(kText), absl::GetFlag(FLAGS_documents));
  absl::StatusOr<text::Tokenizer> tokenizer = LearnTokenizer(documents);
  if (!tokenizer.ok()) return tokenizer.status();
  absl::StatusOr<text::ChatTemplate> chat = text::ChatTemplate::ForTokenizer(tokenizer->spec(), "plain");
  if (!chat.ok()) return chat.status();
  const std::vector<text::Example> train = Encode(documents, *tokenizer, *chat);
  const std::vector<text::Example> held_out = Encode(Documents(key.Fold(kHeldOutText), kHeldOut), *tokenizer, *chat);
  absl::StatusOr<std::unique_ptr<CausalLm>> lm = UntrainedModel(Config(tokenizer->spec()), key.Fold(kWeights));
  if (!lm.ok()) return lm.status();
  std::printf("%zu documents, for example\n\n%s\n\n%s\n\n", train.size(), documents[0].c_str(), documents[1].c_str());
  if (absl::Status s = Train(**lm, train, held_out); !s.ok()) return s;
  if (absl::Status s = Save(**lm, tokenizer->spec(), directory); !s.ok()) return s;
  std::printf("wrote %s\n", directory.c_str());
  return absl::OkStatus();
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) {
  lorikeet::StartProgram(argc, argv, "Trains the small model from nothing on text that is made up as it goes.");
  return lorikeet::ExitCode(lorikeet::Run());
}
