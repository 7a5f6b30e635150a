// How PEFT's files name tensors: base_model.model.<path of the module>.<what>.
#ifndef LORIKEET_PEFT_DISK_NAMES_H_
#define LORIKEET_PEFT_DISK_NAMES_H_

#include "absl/strings/string_view.h"

namespace lorikeet {

inline constexpr absl::string_view kDiskPrefix = "base_model.model.";

// The output head's path.
inline constexpr absl::string_view kHead = "lm_head";

}  // namespace lorikeet

#endif  // LORIKEET_PEFT_DISK_NAMES_H_
