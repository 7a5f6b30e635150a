// What `bazel run //apps:finetune` does without flags: LoRA, QLoRA and DoRA each teach the small model that ships with
// Lorikeet to write JSON (apps/demo/lesson.h), and a table tells them apart. In under two minutes on two cores.
//
//   absl::Status s = RunDemo();
//
// Prints on standard output; on a terminal, progress on standard error. Writes no file.
#ifndef LORIKEET_APPS_DEMO_DEMO_H_
#define LORIKEET_APPS_DEMO_DEMO_H_

#include "absl/status/status.h"

namespace lorikeet {

absl::Status RunDemo();

}  // namespace lorikeet

#endif  // LORIKEET_APPS_DEMO_DEMO_H_
