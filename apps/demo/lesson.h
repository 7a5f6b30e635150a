// A lesson: the small model that ships with Lorikeet learns a task that it has never seen, by one method.
//
//   absl::StatusOr<Lesson> lesson = Teach({.method = Method::kQlora, .steps = 40});
//   lesson->after.exact                                  // held-out rows answered to the letter
//
// The task (apps/demo/corpus.h) is to turn a story about a person into JSON. The model has read such stories, but no
// JSON; the held-out rows are about people that no training row is about. An answer is exact if greedy generation gives
// the expected text and stops there. Weights and activations are in bf16, 4-bit weights in NF4.
// Nothing is written to disk. On one machine the outcome is the same every time, `seconds` excepted. Errors: NotFound
// if the small model is not among the runfiles; those of training.
#ifndef LORIKEET_APPS_DEMO_LESSON_H_
#define LORIKEET_APPS_DEMO_LESSON_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "apps/demo/corpus.h"
#include "apps/training/options.h"

namespace lorikeet {

struct LessonOptions {
  Method method = Method::kLora;  // one with an adapter
  int64_t steps = 120;
  int64_t batch_size = 16;
  int64_t train_rows = 1500;
  int64_t held_out_rows = 100;
  int64_t lora_r = 8;
  double learning_rate = 5e-3;
  uint64_t seed = 42;
  std::function<void(int64_t step, double loss)> on_step = nullptr;  // counted from 1
};

// How well the held-out rows are answered.
struct Score {
  double loss = 0;     // mean over the answers' tokens
  int64_t exact = 0;   // answers right to the letter
  std::string sample;  // the answer to the first of them
};

struct Lesson {
  int64_t parameters = 0, trainable = 0;  // weights of the model; of its adapters
  int64_t weight_bytes = 0;               // the model's, without adapters
  demo::Task sample;                      // the first held-out row
  Score before, after;
  double seconds = 0;  // of training
};

absl::StatusOr<Lesson> Teach(const LessonOptions& options);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_DEMO_LESSON_H_
