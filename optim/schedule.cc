#include "optim/schedule.h"

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tensor/check.h"

namespace lorikeet {

absl::StatusOr<ScheduleType> ParseScheduleType(absl::string_view name) {
  if (name == "constant") return ScheduleType::kConstant;
  if (name == "constant_with_warmup") return ScheduleType::kConstantWithWarmup;
  if (name == "linear") return ScheduleType::kLinear;
  if (name == "cosine") return ScheduleType::kCosine;
  return absl::InvalidArgumentError(absl::StrCat("no learning-rate schedule is called '", name,
                                                 "': use constant, constant_with_warmup, linear or cosine"));
}

int64_t WarmupSteps(double ratio, int64_t total) {
  LORIKEET_CHECK(ratio >= 0 && ratio <= 1) << "WarmupSteps: ratio " << ratio;
  return static_cast<int64_t>(std::ceil(ratio * static_cast<double>(total)));
}

Schedule::Schedule(ScheduleType type, double base, int64_t warmup, int64_t total)
    : type_(type), base_(base), warmup_(warmup), total_(total) {
  LORIKEET_CHECK(warmup >= 0 && total >= 0) << "Schedule: " << warmup << " of " << total << " steps";
}

double Schedule::Rate(int64_t step) const {
  if (type_ == ScheduleType::kConstant) return base_;
  if (step < warmup_) return base_ * (static_cast<double>(step) / static_cast<double>(warmup_));
  if (type_ == ScheduleType::kConstantWithWarmup) return base_;
  const double span = static_cast<double>(std::max<int64_t>(1, total_ - warmup_));
  if (type_ == ScheduleType::kLinear) return base_ * std::max(0.0, static_cast<double>(total_ - step) / span);
  const double progress = static_cast<double>(step - warmup_) / span;
  return base_ * std::max(0.0, 0.5 * (1 + std::cos(M_PI * progress)));
}

}  // namespace lorikeet
