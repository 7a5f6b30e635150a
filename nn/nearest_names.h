// NearestNames: which existing names somebody may have meant.
//
//   NearestNames("q_prj", {"q_proj", "k_proj", "down_proj"}) -> {"q_proj", "k_proj"}
//
// By Levenshtein distance, nearest first, at most `limit` and none farther than half the name's length (at least 2).
#ifndef LORIKEET_NN_NEAREST_NAMES_H_
#define LORIKEET_NN_NEAREST_NAMES_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace lorikeet {

std::vector<std::string> NearestNames(absl::string_view name, const std::vector<std::string>& candidates,
                                      size_t limit = 3);

// "; did you mean a, b?", or nothing.
std::string DidYouMean(absl::string_view name, const std::vector<std::string>& candidates);

}  // namespace lorikeet

#endif  // LORIKEET_NN_NEAREST_NAMES_H_
