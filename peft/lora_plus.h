// LoRA+: B learns `ratio` times as fast as A, because a B that starts at zero has gradients of another size.
//
//   const auto group = [](const Parameter& p) { return AdamWGroup{.lr_scale = LoraPlusScale(p, 16)}; };
//
// As in PEFT, whatever is a vector (DoRA's magnitude) goes with B. ratio 1 is plain LoRA.
// Source: Hayou et al., "LoRA+: Efficient low rank adaptation of large models", 2024; PEFT's create_loraplus_optimizer.
#ifndef LORIKEET_PEFT_LORA_PLUS_H_
#define LORIKEET_PEFT_LORA_PLUS_H_

#include "absl/strings/match.h"
#include "autograd/parameter.h"

namespace lorikeet {

// What multiplies the learning rate for this parameter.
inline double LoraPlusScale(const Parameter& p, double ratio) {
  return absl::StrContains(p.name, "lora_B") || p.value.rank() == 1 ? ratio : 1;
}

}  // namespace lorikeet

#endif  // LORIKEET_PEFT_LORA_PLUS_H_
