// FullMatch: a regular expression that must match a module's whole path.
//
//   absl::StatusOr<FullMatch> layers = FullMatch::Compile("model\\.layers\\.(\\d+)\\..*_proj");
//   std::string layer;
//   absl::StatusOr<bool> yes = layers->Matches("model.layers.3.mlp.up_proj", &layer);        // true, "3"
//
// Perl's syntax (PCRE2), of which Python's `re` as adapter files use it is a part; UTF-8. Expressions come from files,
// so matching stops with an error after a fixed number of steps. Threads: const methods may run concurrently. Errors:
// InvalidArgument with the expression and what PCRE2 says.
#ifndef LORIKEET_PEFT_FULL_MATCH_H_
#define LORIKEET_PEFT_FULL_MATCH_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace lorikeet {

class FullMatch {
 public:
  static absl::StatusOr<FullMatch> Compile(absl::string_view pattern);
  FullMatch(FullMatch&&) = default;
  FullMatch& operator=(FullMatch&&) = default;
  ~FullMatch();

  // `group` (may be null) receives the text of the first parenthesis; empty if it took no part.
  absl::StatusOr<bool> Matches(absl::string_view text, std::string* group = nullptr) const;

 private:
  struct Code;
  struct Free {
    void operator()(Code* code) const;
  };
  FullMatch(std::string pattern, Code* code);

  std::string pattern_;
  std::unique_ptr<Code, Free> code_;
};

}  // namespace lorikeet

#endif  // LORIKEET_PEFT_FULL_MATCH_H_
