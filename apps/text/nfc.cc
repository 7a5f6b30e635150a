#include "apps/text/nfc.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>
#include <vector>

#include "apps/text/utf8.h"
#include "tensor/check.h"

namespace lorikeet::text {
namespace {

struct Range {
  char32_t first, last;
};

// Combining and decomposing characters that utf8proc knows and the reference's older tables do not: there they stand
// alone.
constexpr Range kStandAlone[] = {
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},     {0xC3C, 0xC3C},
    {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},   {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},
    {0xA82C, 0xA82C},   {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50},
    {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A},
    {0x11930, 0x11930}, {0x11935, 0x11935}, {0x11938, 0x11938}, {0x1193D, 0x1193E}, {0x11943, 0x11943},
    {0x119E0, 0x119E0}, {0x11A34, 0x11A34}, {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42},
    {0x11D44, 0x11D45}, {0x11D97, 0x11D97}, {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E08F},
    {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF},
};

bool StandsAlone(char32_t c) {
  const auto after = std::upper_bound(std::begin(kStandAlone), std::end(kStandAlone), c,
                                      [](char32_t x, const Range& range) { return x < range.first; });
  return after != std::begin(kStandAlone) && c <= std::prev(after)->last;
}

int CombiningClass(utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; }

// Every character below U+0300 is its own normal form and a starter.
bool IsTriviallyNormal(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char b) { return static_cast<unsigned char>(b) < 0xCC; });
}

std::vector<utf8proc_int32_t> Decompose(absl::string_view text) {
  constexpr int kLongestDecomposition = 8;  // canonical ones have at most 4
  std::vector<utf8proc_int32_t> out;
  out.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) {
    const Utf8Step step = DecodeUtf8(text, pos);
    utf8proc_int32_t parts[kLongestDecomposition];
    int boundary = 0;
    const utf8proc_ssize_t n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(step.code_point), parts,
                                                       kLongestDecomposition, UTF8PROC_DECOMPOSE, &boundary);
    LORIKEET_CHECK(n >= 0 && n <= kLongestDecomposition) << "NormalizeNfc: utf8proc error " << n;
    out.insert(out.end(), parts, parts + n);
    pos += step.length;
  }
  return out;
}

// utf8proc's own ordering is quadratic in the length of a run of marks.
void OrderMarks(std::vector<utf8proc_int32_t>* text) {
  const auto is_starter = [](utf8proc_int32_t c) { return CombiningClass(c) == 0; };
  for (auto run = text->begin(); run != text->end();) {
    run = std::find_if_not(run, text->end(), is_starter);
    const auto end = std::find_if(run, text->end(), is_starter);
    std::stable_sort(run, end,
                     [](utf8proc_int32_t a, utf8proc_int32_t b) { return CombiningClass(a) < CombiningClass(b); });
    run = end;
  }
}

void AppendNormalized(absl::string_view text, std::string* out) {
  if (IsTriviallyNormal(text)) {
    out->append(text.data(), text.size());
    return;
  }
  std::vector<utf8proc_int32_t> decomposed = Decompose(text);
  OrderMarks(&decomposed);
  const utf8proc_ssize_t n =
      utf8proc_normalize_utf32(decomposed.data(), static_cast<utf8proc_ssize_t>(decomposed.size()),
                               static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  LORIKEET_CHECK(n >= 0) << "NormalizeNfc: utf8proc error " << n;
  for (utf8proc_ssize_t i = 0; i < n; ++i) AppendUtf8(static_cast<char32_t>(decomposed[i]), out);
}

}  // namespace

std::string NormalizeNfc(absl::string_view text) {
  if (IsTriviallyNormal(text)) return std::string(text);
  std::string out;
  out.reserve(text.size());
  size_t done = 0;
  for (size_t pos = 0; pos < text.size();) {
    const Utf8Step step = DecodeUtf8(text, pos);
    if (StandsAlone(step.code_point)) {
      AppendNormalized(text.substr(done, pos - done), &out);
      out.append(text.data() + pos, step.length);
      done = pos + step.length;
    }
    pos += step.length;
  }
  AppendNormalized(text.substr(done), &out);
  return out;
}

}  // namespace lorikeet::text
