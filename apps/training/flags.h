// The command-line flags of training, and TrainOptions made from them.
//
//   StartProgram(argc, argv, usage);                  // apps/program.h: working directory, flag files, parsing
//   absl::StatusOr<TrainOptions> options = OptionsFromFlags();
//
// Defined in a target of its own so that only programs link it. docs: every flag carries its help text.
#ifndef LORIKEET_APPS_TRAINING_FLAGS_H_
#define LORIKEET_APPS_TRAINING_FLAGS_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "apps/training/options.h"

namespace lorikeet {

// Reads and validates. InvalidArgument names the flag.
absl::StatusOr<TrainOptions> OptionsFromFlags();

// Every training flag and its value, by name, for run.json.
std::map<std::string, std::string> FlagValues();

// "lora", "qlora", "dora", "qdora" or "full".
absl::StatusOr<Method> ParseMethod(absl::string_view name);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_FLAGS_H_
