// AdapterRun: what changes for every adapter from one forward pass to the next, held once and shared by all of them.
//
//   AdapterRun run;
//   run.training = true;
//   run.key = root.Fold(step).Fold(micro_batch);        // before each forward pass: the dropout masks' randomness
//   ++run.weights_version;                              // after each update: what depends on the weights alone is kept
//
// Each adapter folds its own index into the key. Ownership: the trainer owns it; the maps keep a pointer, so it must
// outlive the model. Without one (nullptr) adapters run in evaluation mode and keep nothing. Threads: not to be changed
// while a pass runs.
#ifndef LORIKEET_PEFT_ADAPTER_RUN_H_
#define LORIKEET_PEFT_ADAPTER_RUN_H_

#include <cstdint>

#include "tensor/random.h"

namespace lorikeet {

struct AdapterRun {
  RngKey key;
  const RngKey* key_in_memory = nullptr;  // not null: instead of `key`, in the adapters' memory; read by the kernels
  bool training = false;
  // Differs whenever the adapters' weights may differ: DoRA then computes its norm once for each value instead of once
  // for each pass (micro-batches, recomputed layers, generated tokens); captured passes count one up each, since each
  // must find the norm itself. 0: not tracked.
  uint64_t weights_version = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_PEFT_ADAPTER_RUN_H_
