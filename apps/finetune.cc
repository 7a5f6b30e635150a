// Fine-tunes a language model with LoRA, QLoRA, DoRA, QDoRA, or whole. Without flags: the demonstration.
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "apps/demo/demo.h"
#include "apps/parallel/ranks.h"
#include "apps/program.h"
#include "apps/training/finetune.h"
#include "apps/training/flags.h"
#include "apps/training/options.h"

namespace {

absl::Status Run(bool demo, lorikeet::Ranks& ranks) {
  if (demo && ranks.size() > 1)
    return absl::InvalidArgumentError("the demonstration is for one process: without mpirun");
  if (demo) return lorikeet::RunDemo();
  absl::StatusOr<lorikeet::TrainOptions> options = lorikeet::OptionsFromFlags();
  if (!options.ok()) return options.status();
  return lorikeet::FineTune(*options, ranks);
}

// One rank speaks where all have failed at the same thing; one that failed alone speaks for itself.
int Leave(lorikeet::Ranks& ranks, const absl::Status& status) {
  const int code = ranks.rank() == 0 ? lorikeet::ExitCode(status) : lorikeet::SilentExitCode(status);
  const bool all = status.ok() || absl::IsCancelled(status) || absl::IsAborted(status);  // stopping is agreed on
  if (ranks.Leave(all)) return code;
  if (all) return lorikeet::ExitCode(absl::DeadlineExceededError("the other ranks did not come to the end"));
  if (ranks.rank() == 0) return code;
  return lorikeet::ExitCode(
      absl::Status(status.code(), absl::StrCat(ranks.NameOf(ranks.rank()), ": ", status.message())));
}

}  // namespace

int main(int argc, char** argv) {
  lorikeet::StartProgram(argc, argv,
                         "Fine-tunes a language model with LoRA, QLoRA, DoRA, QDoRA, or whole. Without flags it shows "
                         "how, on the small model that comes with Lorikeet.");
  const absl::StatusOr<std::unique_ptr<lorikeet::Ranks>> ranks = lorikeet::Ranks::Join();
  if (!ranks.ok()) return lorikeet::ExitCode(ranks.status());
  return Leave(**ranks, Run(argc == 1, **ranks));
}
