// Fine-tunes a language model with LoRA, QLoRA, DoRA, QDoRA, or whole.
#include "apps/training/finetune.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
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
  lorikeet::StartProgram(argc, argv, "Fine-tunes a language model with LoRA, QLoRA, DoRA, QDoRA, or whole.");
  return lorikeet::ExitCode(Run());
}
