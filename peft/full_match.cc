#include "peft/full_match.h"

#include <pcre2.h>

#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace lorikeet {
namespace {

constexpr uint32_t kMaxSteps = 1000000;  // a path of 60 letters under a sane expression takes a few hundred

PCRE2_SPTR Bytes(absl::string_view s) { return reinterpret_cast<PCRE2_SPTR>(s.data()); }

std::string PcreMessage(int code) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(code, text, sizeof(text));
  return reinterpret_cast<const char*>(text);
}

}  // namespace

struct FullMatch::Code {
  pcre2_code* expression;
  pcre2_match_context* limits;
};

void FullMatch::Free::operator()(Code* code) const {
  pcre2_match_context_free(code->limits);
  pcre2_code_free(code->expression);
  delete code;
}

FullMatch::FullMatch(std::string pattern, Code* code) : pattern_(std::move(pattern)), code_(code) {}
FullMatch::~FullMatch() = default;

absl::StatusOr<FullMatch> FullMatch::Compile(absl::string_view pattern) {
  int error;
  PCRE2_SIZE at;
  pcre2_code* expression = pcre2_compile(Bytes(pattern), pattern.size(), PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_UTF,
                                         &error, &at, nullptr);
  if (expression == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", pattern, "\" is not a regular expression: ", PcreMessage(error), " at position ", at));
  }
  pcre2_match_context* limits = pcre2_match_context_create(nullptr);
  pcre2_set_match_limit(limits, kMaxSteps);
  return FullMatch(std::string(pattern), new Code{expression, limits});
}

absl::StatusOr<bool> FullMatch::Matches(absl::string_view text, std::string* group) const {
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
      pcre2_match_data_create_from_pattern(code_->expression, nullptr), &pcre2_match_data_free);
  const int n = pcre2_match(code_->expression, Bytes(text), text.size(), 0, 0, data.get(), code_->limits);
  if (n == PCRE2_ERROR_NOMATCH) return false;
  if (n < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("regular expression \"", pattern_, "\" on \"", text, "\": ", PcreMessage(n)));
  }
  if (group != nullptr) {
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(data.get());
    *group = n > 1 && ends[2] != PCRE2_UNSET ? std::string(text.substr(ends[2], ends[3] - ends[2])) : "";
  }
  return true;
}

}  // namespace lorikeet
