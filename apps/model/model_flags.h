// The command-line flags that programs which run a model share, and the model that they ask for.
//
//   StartProgram(argc, argv, usage);
//   absl::StatusOr<AdaptedModel> m = OpenModelFromFlags("auto");
//
// --model --adapter --compute_dtype --device --threads, and for a base in 4 bits --load_in_4bit --bnb_4bit_quant_type
// --quant_block_size --bnb_4bit_use_double_quant. Flags exist in a program only if it links this target. Errors:
// InvalidArgument names the flag; those of OpenAdaptedModel. Warnings go to stderr.
#ifndef LORIKEET_APPS_MODEL_MODEL_FLAGS_H_
#define LORIKEET_APPS_MODEL_MODEL_FLAGS_H_

#include <string>

#include "absl/flags/declare.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "apps/model/adapted_model.h"
#include "apps/model/open_model.h"
#include "quant/nf4.h"

// For programs that open the model themselves.
ABSL_DECLARE_FLAG(std::string, model);
ABSL_DECLARE_FLAG(std::string, adapter);

namespace lorikeet {

// The flags, checked; also sets the number of threads. `auto_dtype` is what --compute_dtype=auto means: "auto" (the
// fastest), "f32" or "bf16".
absl::StatusOr<OpenOptions> OpenOptionsFromFlags(absl::string_view auto_dtype);
absl::StatusOr<Nf4Options> QuantOptionsFromFlags();

absl::StatusOr<AdaptedModel> OpenModelFromFlags(absl::string_view auto_dtype);

// For a second model in the same process.
void PrintWarnings(const OpenedModel& model);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_MODEL_MODEL_FLAGS_H_
