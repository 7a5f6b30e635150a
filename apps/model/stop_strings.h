// StopStrings: ends a stream of text at the first of some strings, which may lie across several pieces of the stream.
//
//   StopStrings stops({"\nQuestion:"});
//   Print(stops.Push("42\nQues"));                      // "42": the rest may be the beginning of a stop string
//   Print(stops.Push("tion: next"));  stops.found();    // "", true
//
// What Push and, unless found(), Finish return, joined, is the text before the first stop string.
#ifndef LORIKEET_APPS_MODEL_STOP_STRINGS_H_
#define LORIKEET_APPS_MODEL_STOP_STRINGS_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace lorikeet {

class StopStrings {
 public:
  // Empty strings are no stop strings.
  explicit StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  std::string Push(absl::string_view text);  // nothing once found
  std::string Finish();
  bool found() const { return found_; }

 private:
  std::vector<std::string> stops_;
  std::string pending_;
  bool found_ = false;
};

}  // namespace lorikeet

#endif  // LORIKEET_APPS_MODEL_STOP_STRINGS_H_
