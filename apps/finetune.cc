// Fine-tunes a language model with LoRA, QLoRA, DoRA, QDoRA, or whole. Without flags: the demonstration.
#include "apps/training/finetune.h"

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "apps/demo/demo.h"
#include "apps/program.h"
#include "apps/training/flags.h"
#include "apps/training/options.h"

namespace {

absl::Status Run() {
  absl::StatusOr<lorikeet::TrainOptions> options = lorikeet::OptionsFromFlags();
  if (!options.ok()) return options.status();
  return lorikeet::FineTune(*options);
}

}  // namespace

int main(int argc, char** argv) {
  lorikeet::StartProgram(argc, argv,
                         "Fine-tunes a language model with LoRA, QLoRA, DoRA, QDoRA, or whole. Without flags it shows "
                         "how, on the small model that comes with Lorikeet.");
  return lorikeet::ExitCode(argc == 1 ? lorikeet::RunDemo() : Run());
}
