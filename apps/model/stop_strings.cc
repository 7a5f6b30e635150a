#include "apps/model/stop_strings.h"

#include <algorithm>

#include "absl/strings/match.h"

namespace lorikeet {

std::string StopStrings::Push(absl::string_view text) {
  if (found_) return "";
  pending_.append(text.data(), text.size());
  size_t end = std::string::npos;
  for (const std::string& stop : stops_) {
    if (!stop.empty()) end = std::min(end, pending_.find(stop));
  }
  if (end != std::string::npos) {
    found_ = true;
    pending_.resize(end);
    return std::exchange(pending_, "");
  }
  // The longest end of the text that begins a stop string stays back.
  size_t held = 0;
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(pending_.size(), stop.empty() ? 0 : stop.size() - 1); n > held; --n) {
      if (absl::EndsWith(pending_, absl::string_view(stop).substr(0, n))) held = n;
    }
  }
  std::string shown = pending_.substr(0, pending_.size() - held);
  pending_.erase(0, shown.size());
  return shown;
}

std::string StopStrings::Finish() { return std::exchange(pending_, ""); }

}  // namespace lorikeet
