// Learning-rate schedules: a rate for every optimizer step, as transformers' get_scheduler has them.
//
//   Schedule schedule(ScheduleType::kCosine, /*base=*/2e-4, WarmupSteps(0.03, total), total);
//   for (int64_t step = 0; step < total; ++step) optimizer.Step(schedule.Rate(step));
//
//   constant               base
//   constant_with_warmup   base * min(1, step / warmup)
//   linear                 warm-up likewise, then base * (total - step) / (total - warmup)
//   cosine                 warm-up likewise, then base/2 * (1 + cos(pi * (step - warmup) / (total - warmup)))
//
// A pure function of the step, counted from 0: a resumed run needs nothing but its step. Note that the first rate of a
// warm-up is 0. Threads: any.
#ifndef LORIKEET_OPTIM_SCHEDULE_H_
#define LORIKEET_OPTIM_SCHEDULE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace lorikeet {

enum class ScheduleType { kConstant, kConstantWithWarmup, kLinear, kCosine };

// "constant", "constant_with_warmup", "linear", "cosine"; else an error that lists them.
absl::StatusOr<ScheduleType> ParseScheduleType(absl::string_view name);

// ceil(ratio * total), as transformers' Trainer rounds it; ratio in [0, 1].
int64_t WarmupSteps(double ratio, int64_t total);

class Schedule {
 public:
  Schedule(ScheduleType type, double base, int64_t warmup, int64_t total);
  double Rate(int64_t step) const;

 private:
  ScheduleType type_;
  double base_;
  int64_t warmup_, total_;
};

}  // namespace lorikeet

#endif  // LORIKEET_OPTIM_SCHEDULE_H_
