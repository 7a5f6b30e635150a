#include "apps/text/pretokenizer.h"

#include <pcre2.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tensor/check.h"

namespace lorikeet::text {
namespace {

struct Family {
  PretokenizerFamily family;
  const char* name;
  const char* pattern;
};

constexpr char kGpt2Pattern[] = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

constexpr Family kFamilies[] = {
    {PretokenizerFamily::kGpt2, "gpt2", kGpt2Pattern},
    {PretokenizerFamily::kSmolLm, "smollm", kGpt2Pattern},
    {PretokenizerFamily::kLlama3, "llama3",
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    {PretokenizerFamily::kQwen2, "qwen2",
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    {PretokenizerFamily::kQwen35, "qwen35",
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    // Each once with small letters at its end and once without. Titlecase, modifiers, letters without case and marks
    // may stand on either side.
    {PretokenizerFamily::kTekken, "tekken",
     R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
     R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
     R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    {PretokenizerFamily::kGpt4o, "gpt4o",
     R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
     R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
     R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
};

struct GgufName {
  const char* pre;
  PretokenizerFamily family;
};

constexpr GgufName kGgufNames[] = {
    {"gpt-2", PretokenizerFamily::kGpt2},       {"phi-2", PretokenizerFamily::kGpt2},
    {"smollm", PretokenizerFamily::kSmolLm},    {"starcoder", PretokenizerFamily::kSmolLm},
    {"llama-bpe", PretokenizerFamily::kLlama3}, {"llama3", PretokenizerFamily::kLlama3},
    {"llama-v3", PretokenizerFamily::kLlama3},  {"qwen2", PretokenizerFamily::kQwen2},
    {"qwen35", PretokenizerFamily::kQwen35},    {"deepseek-r1-qwen", PretokenizerFamily::kQwen2},
    {"tekken", PretokenizerFamily::kTekken},    {"gpt-4o", PretokenizerFamily::kGpt4o},
    {"llama4", PretokenizerFamily::kGpt4o},
};

// The insides of PCRE2 classes. Beside \p{..} stand the characters of Unicode 15 and 16 that PCRE2 10.42 does not know.
constexpr char kSpace[] = R"(\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
constexpr char kLetter[] =
    R"(\p{L}\x{1C89}-\x{1C8A}\x{A7CB}-\x{A7CD}\x{A7DA}-\x{A7DC}\x{105C0}-\x{105F3}\x{10D4A}-\x{10D65})"
    R"(\x{10D6F}-\x{10D85}\x{10EC2}-\x{10EC4}\x{1123F}-\x{11240}\x{11380}-\x{11389}\x{1138B}\x{1138E})"
    R"(\x{11390}-\x{113B5}\x{113B7}\x{113D1}\x{113D3}\x{11BC0}-\x{11BE0}\x{11F02}\x{11F04}-\x{11F10})"
    R"(\x{11F12}-\x{11F33}\x{1342F}\x{13441}-\x{13446}\x{13460}-\x{143FA}\x{16100}-\x{1611D}\x{16D40}-\x{16D6C})"
    R"(\x{18CFF}\x{1B132}\x{1B155}\x{1DF25}-\x{1DF2A}\x{1E030}-\x{1E06D}\x{1E4D0}-\x{1E4EB}\x{1E5D0}-\x{1E5ED})"
    R"(\x{1E5F0}\x{2B739}\x{2EBF0}-\x{2EE5D}\x{31350}-\x{323AF})";
// The letters again, by their case.
constexpr char kUpper[] = R"(\p{Lu}\x{1C89}\x{A7CB}-\x{A7CC}\x{A7DA}\x{A7DC}\x{10D50}-\x{10D65})";
constexpr char kLower[] = R"(\p{Ll}\x{1C8A}\x{A7CD}\x{A7DB}\x{10D70}-\x{10D85}\x{1DF25}-\x{1DF2A})";
constexpr char kModifier[] =
    R"(\p{Lm}\x{10D4E}\x{10D6F}\x{16D40}-\x{16D42}\x{16D6B}-\x{16D6C}\x{1E030}-\x{1E06D}\x{1E4EB})";
constexpr char kOtherLetter[] =
    R"(\p{Lo}\x{105C0}-\x{105F3}\x{10D4A}-\x{10D4D}\x{10D4F}\x{10EC2}-\x{10EC4}\x{1123F}-\x{11240})"
    R"(\x{11380}-\x{11389}\x{1138B}\x{1138E}\x{11390}-\x{113B5}\x{113B7}\x{113D1}\x{113D3}\x{11BC0}-\x{11BE0})"
    R"(\x{11F02}\x{11F04}-\x{11F10}\x{11F12}-\x{11F33}\x{1342F}\x{13441}-\x{13446}\x{13460}-\x{143FA})"
    R"(\x{16100}-\x{1611D}\x{16D43}-\x{16D6A}\x{18CFF}\x{1B132}\x{1B155}\x{1E4D0}-\x{1E4EA}\x{1E5D0}-\x{1E5ED})"
    R"(\x{1E5F0}\x{2B739}\x{2EBF0}-\x{2EE5D}\x{31350}-\x{323AF})";
constexpr char kMark[] =
    R"(\p{M}\x{897}\x{CF3}\x{ECE}\x{10D69}-\x{10D6D}\x{10EFC}-\x{10EFF}\x{11241}\x{113B8}-\x{113C0}\x{113C2}\x{113C5})"
    R"(\x{113C7}-\x{113CA}\x{113CC}-\x{113D0}\x{113D2}\x{113E1}-\x{113E2}\x{11F00}-\x{11F01}\x{11F03})"
    R"(\x{11F34}-\x{11F3A}\x{11F3E}-\x{11F42}\x{11F5A}\x{13440}\x{13447}-\x{13455}\x{1611E}-\x{1612F}\x{1E08F})"
    R"(\x{1E4EC}-\x{1E4EF}\x{1E5EE}-\x{1E5EF})";
constexpr char kNumber[] =
    R"(\p{N}\x{10D40}-\x{10D49}\x{116D0}-\x{116E3}\x{11BF0}-\x{11BF9}\x{11F50}-\x{11F59}\x{16130}-\x{16139})"
    R"(\x{16D70}-\x{16D79}\x{1CCF0}-\x{1CCF9}\x{1D2C0}-\x{1D2D3}\x{1E4F0}-\x{1E4F9}\x{1E5F1}-\x{1E5FA})";
// The Digits step of the reference knows Unicode 17's numbers as well.
constexpr char kUnicode17Numbers[] = R"(\x{11DE0}-\x{11DE9}\x{16FF4}-\x{16FF6})";

// A tokenizer.json expression with every class spelled out. Inside brackets a class loses its own pair.
std::string ToPcre2(absl::string_view pattern) {
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '[' || pattern[i] == ']') in_class = pattern[i] == '[';
    const absl::string_view rest = pattern.substr(i);
    const auto put = [&](absl::string_view written, absl::string_view inside) {
      if (rest.substr(0, written.size()) != written) return false;
      in_class ? absl::StrAppend(&out, inside) : absl::StrAppend(&out, "[", inside, "]");
      i += written.size() - 1;
      return true;
    };
    const std::string not_space = absl::StrCat("^", kSpace);  // \S stands outside brackets only
    if (put(R"(\p{L})", kLetter) || put(R"(\p{M})", kMark) || put(R"(\p{N})", kNumber) || put(R"(\s)", kSpace) ||
        put(R"(\S)", not_space) || put(R"(\p{Lu})", kUpper) || put(R"(\p{Ll})", kLower) ||
        put(R"(\p{Lm})", kModifier) || put(R"(\p{Lo})", kOtherLetter)) {
      continue;
    }
    out.push_back(pattern[i]);
  }
  return out;
}

constexpr uint32_t kMatchLimit = 100'000'000;
constexpr uint32_t kHeapLimitKiB = 65'536;

struct Pcre2Free {
  void operator()(pcre2_code* p) const { pcre2_code_free(p); }
  void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
  void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
};

// One compiled constant: a failure to compile is our mistake.
class Matcher {
 public:
  explicit Matcher(const std::string& pattern) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_UTF | PCRE2_UCP,
                              &error, &offset, nullptr));
    LORIKEET_CHECK(code_ != nullptr) << "PCRE2 error " << error << " at byte " << offset << " of " << pattern;
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);  // without a JIT the interpreter gives the same pieces
    context_.reset(pcre2_match_context_create(nullptr));
    pcre2_set_match_limit(context_.get(), kMatchLimit);
    pcre2_set_heap_limit(context_.get(), kHeapLimitKiB);
  }

  // Calls found(begin, end) for every match in text, in order.
  template <typename Found>
  void ForEach(absl::string_view text, Found found) const {
    const std::unique_ptr<pcre2_match_data, Pcre2Free> data(pcre2_match_data_create(1, nullptr));
    size_t pos = 0;
    while (pos < text.size()) {
      const int rc = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), pos,
                                 PCRE2_NO_UTF_CHECK, data.get(), context_.get());
      if (rc == PCRE2_ERROR_NOMATCH) return;
      LORIKEET_CHECK(rc >= 0) << "Pretokenizer: PCRE2 error " << rc << " in a text of " << text.size() << " bytes";
      const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(data.get());
      LORIKEET_CHECK_GT(ends[1], ends[0]) << "Pretokenizer: empty match";
      found(ends[0], ends[1]);
      pos = ends[1];
    }
  }

 private:
  std::unique_ptr<pcre2_code, Pcre2Free> code_;
  std::unique_ptr<pcre2_match_context, Pcre2Free> context_;
};

// Cuts text around the matches; what lies between two matches is a stretch of its own.
template <typename Stretch, typename Match>
void Cut(const Matcher& matcher, absl::string_view text, Stretch stretch, Match match) {
  size_t done = 0;
  matcher.ForEach(text, [&](size_t begin, size_t end) {
    if (begin > done) stretch(text.substr(done, begin - done));
    match(text.substr(begin, end - begin));
    done = end;
  });
  if (done < text.size()) stretch(text.substr(done));
}

}  // namespace

absl::string_view FamilyName(PretokenizerFamily family) { return kFamilies[static_cast<int>(family)].name; }
absl::string_view FamilyPattern(PretokenizerFamily family) { return kFamilies[static_cast<int>(family)].pattern; }

absl::optional<PretokenizerFamily> FamilyOfPattern(absl::string_view pattern) {
  for (const Family& f : kFamilies) {
    if (f.pattern != kGpt2Pattern && pattern == f.pattern) return f.family;
  }
  return absl::nullopt;
}

absl::optional<PretokenizerFamily> FamilyOfGgufName(absl::string_view pre) {
  for (const GgufName& name : kGgufNames) {
    if (pre == name.pre) return name.family;
  }
  return absl::nullopt;
}

absl::string_view GgufNameOfFamily(PretokenizerFamily family) {
  for (const GgufName& name : kGgufNames) {
    if (name.family == family) return name.pre;  // the first of a family is its own name
  }
  LORIKEET_CHECK(false) << "GgufNameOfFamily: a family without a name";
  return "";
}

bool GgufNameSaysIgnoreMerges(PretokenizerFamily family) {
  return family == PretokenizerFamily::kLlama3 || family == PretokenizerFamily::kTekken;
}

class Pretokenizer::Expression {
 public:
  explicit Expression(absl::string_view pattern)
      : words(ToPcre2(pattern)), digit(absl::StrCat("[", kNumber, kUnicode17Numbers, "]")) {}
  Matcher words;
  Matcher digit;
};

Pretokenizer::Pretokenizer(PretokenizerFamily family)
    : expression_(std::make_unique<Expression>(FamilyPattern(family))),
      single_digits_(family == PretokenizerFamily::kSmolLm) {}
Pretokenizer::~Pretokenizer() = default;
Pretokenizer::Pretokenizer(Pretokenizer&&) noexcept = default;
Pretokenizer& Pretokenizer::operator=(Pretokenizer&&) noexcept = default;

void Pretokenizer::Split(absl::string_view text, std::vector<absl::string_view>* pieces) const {
  const auto keep = [&](absl::string_view piece) { pieces->push_back(piece); };
  const auto words = [&](absl::string_view stretch) { Cut(expression_->words, stretch, keep, keep); };
  if (single_digits_) {
    Cut(expression_->digit, text, words, keep);
  } else {
    words(text);
  }
}

}  // namespace lorikeet::text
