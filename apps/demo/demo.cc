#include "apps/demo/demo.h"

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "apps/demo/corpus.h"
#include "apps/demo/lesson.h"
#include "apps/training/number_text.h"
#include "apps/training/options.h"

namespace lorikeet {
namespace {

struct Way {
  Method method;
  const char* name;
  const char* idea;
};
constexpr Way kWays[] = {
    {Method::kLora, "LoRA", "W stays, and B*A of low rank is learned beside it"},
    {Method::kQlora, "QLoRA", "the same, while W is stored in 4 bits"},
    {Method::kDora, "DoRA", "the length of each row of W is learned apart from its direction"},
};

// On a terminal: a bar that is drawn over itself, and wiped at the end.
void ShowProgress(absl::string_view name, int64_t step, int64_t steps, double loss) {
  static const bool terminal = isatty(STDERR_FILENO) != 0;
  if (!terminal) return;
  constexpr int kWidth = 40;
  const int done = static_cast<int>(kWidth * step / steps);
  const std::string bar =
      std::string(static_cast<size_t>(done), '#') + std::string(static_cast<size_t>(kWidth - done), '.');
  absl::FPrintF(stderr, "\r%-6s [%s] step %d of %d, loss %.3f ", name, bar, step, steps, loss);
  if (step == steps) absl::FPrintF(stderr, "\r%78s\r", "");
  std::fflush(stderr);
}

absl::StatusOr<Lesson> Teach(const Way& way) {
  LessonOptions options;
  options.method = way.method;
  options.on_step = [&](int64_t step, double loss) { ShowProgress(way.name, step, options.steps, loss); };
  return Teach(options);
}

void PrintIntroduction() {
  const LessonOptions o;
  absl::PrintF(
      "Lorikeet teaches a small language model to write JSON, in three ways.\n\n"
      "The model has read little stories, records, sums and lists (//apps:pretrain), but never any JSON.\n"
      "Each way starts from that model and takes %d steps of %d rows, with adapters of rank %d.\n"
      "Then the model writes the JSON of %d stories about people whom it has not met.\n\n",
      o.steps, o.batch_size, o.lora_r, o.held_out_rows);
  for (const Way& way : kWays) absl::PrintF("  %-6s %s\n", way.name, way.idea);
  absl::PrintF("\n");
}

void PrintRow(absl::string_view name, const std::string& trains, const std::string& bytes, const std::string& before,
              const std::string& after, const std::string& exact, const std::string& seconds) {
  absl::PrintF("%-8s %12s %16s %14s %12s %14s %9s\n", name, trains, bytes, before, after, exact, seconds);
  std::fflush(stdout);
}

std::string OfAll(int64_t exact) { return absl::StrCat(exact, " of ", LessonOptions().held_out_rows); }

void PrintLesson(absl::string_view name, const Lesson& l) {
  PrintRow(name, WithThousands(l.trainable), WithThousands(l.weight_bytes), absl::StrFormat("%.3f", l.before.loss),
           absl::StrFormat("%.3f", l.after.loss), OfAll(l.after.exact), absl::StrFormat("%.1f", l.seconds));
}

void PrintSamples(const std::vector<std::pair<const char*, Lesson>>& lessons) {
  const Lesson& first = lessons.front().second;
  absl::PrintF("\nOne of the stories, and what became of it\n\n");
  const auto line = [](absl::string_view who, absl::string_view text) { absl::PrintF("  %-9s %s\n", who, text); };
  line("story", first.sample.prompt);
  line("expected", first.sample.answer);
  line("untaught", first.before.sample);
  for (const auto& [name, lesson] : lessons) line(name, lesson.after.sample);
}

}  // namespace

absl::Status RunDemo() {
  PrintIntroduction();
  PrintRow("", "trained", "weights,", "loss", "loss", "exact", "training,");
  PrintRow("method", "parameters", "bytes", "before", "after", "answers", "seconds");
  absl::PrintF("%s\n", std::string(91, '-'));
  std::vector<std::pair<const char*, Lesson>> lessons;
  for (const Way& way : kWays) {
    absl::StatusOr<Lesson> lesson = Teach(way);
    if (!lesson.ok()) return lesson.status();
    if (lessons.empty()) {
      PrintRow("untaught", "", WithThousands(lesson->weight_bytes), absl::StrFormat("%.3f", lesson->before.loss), "",
               OfAll(lesson->before.exact), "");
    }
    PrintLesson(way.name, *lesson);
    lessons.emplace_back(way.name, *std::move(lesson));
  }
  PrintSamples(lessons);
  absl::PrintF(
      "\nYour own model and data:\n"
      "  bazel run //apps:finetune -- --model=PATH --data=FILE.jsonl --method=qlora --output_dir=DIR\n");
  return absl::OkStatus();
}

}  // namespace lorikeet
