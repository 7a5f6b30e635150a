#include "peft/targets.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/optional.h"
#include "nn/nearest_names.h"
#include "peft/disk_names.h"
#include "peft/full_match.h"
#include "peft/whole_modules.h"

namespace lorikeet {
namespace {

// True for "q_proj" and "self_attn.q_proj" in "model.layers.0.self_attn.q_proj", false for "proj".
bool EndsPath(absl::string_view path, absl::string_view entry) {
  return path == entry || absl::EndsWith(path, absl::StrCat(".", entry));
}

std::string LastName(const std::string& path) { return path.substr(path.rfind('.') + 1); }

// A NamePattern with its expression compiled.
class Matcher {
 public:
  static absl::StatusOr<Matcher> Make(const NamePattern& pattern, const char* field) {
    Matcher m;
    m.list_ = pattern.list;
    if (!pattern.regex) return m;
    absl::StatusOr<FullMatch> regex = FullMatch::Compile(*pattern.regex);
    if (!regex.ok()) return absl::InvalidArgumentError(absl::StrCat(field, ": ", regex.status().message()));
    m.regex_ = *std::move(regex);
    return m;
  }
  absl::StatusOr<bool> Matches(absl::string_view path) const {
    if (regex_) return regex_->Matches(path);
    return std::any_of(list_.begin(), list_.end(), [&](const std::string& e) { return EndsPath(path, e); });
  }

 private:
  std::vector<std::string> list_;
  absl::optional<FullMatch> regex_;
};

// Which layers may be adapted.
class LayerFilter {
 public:
  static absl::StatusOr<LayerFilter> Make(const AdapterConfig& config) {
    LayerFilter f;
    f.layers_ = config.layers_to_transform;
    if (f.layers_.empty()) return f;
    std::vector<std::string> names = config.layers_pattern;
    if (names.empty()) names = {"[^.]*"};
    for (const std::string& name : names) {
      absl::StatusOr<FullMatch> regex = FullMatch::Compile(absl::StrCat(".*?\\.(?:", name, ")\\.(\\d+)\\..*"));
      if (!regex.ok()) return absl::InvalidArgumentError(absl::StrCat("layers_pattern: ", regex.status().message()));
      f.numbers_.push_back(*std::move(regex));
    }
    return f;
  }
  absl::StatusOr<bool> Passes(absl::string_view path) const {
    if (layers_.empty()) return true;
    for (const FullMatch& number : numbers_) {
      std::string digits;
      absl::StatusOr<bool> found = number.Matches(path, &digits);
      if (!found.ok()) return found.status();
      if (!*found) continue;
      int64_t layer;
      return absl::SimpleAtoi(digits, &layer) && std::count(layers_.begin(), layers_.end(), layer) > 0;
    }
    return false;
  }

 private:
  std::vector<int64_t> layers_;
  std::vector<FullMatch> numbers_;
};

bool IsHead(absl::string_view path) { return EndsPath(path, kHead); }

// The embedding that serves as the head too, or null.
const Place* TiedEmbedding(const std::vector<Place>& places) {
  const Place* embedding = nullptr;
  for (const Place& p : places) {
    if (IsHead(p.path)) return nullptr;
    if (p.embedding && embedding == nullptr) embedding = &p;
  }
  return embedding;
}

absl::Status CheckEmbedding(const Place& p, const std::vector<Place>& places, const AdapterConfig& config) {
  if (TiedEmbedding(places) == &p) {
    return absl::InvalidArgumentError(
        absl::StrCat("target_modules: ", p.path,
                     " is the output head's weight too in this model: an adapter would change both, or "
                     "untie them when merged; leave it out of target_modules"));
  }
  if (!config.use_dora) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("target_modules: ", p.path,
                                                 " is an embedding, for which use_dora is not supported; leave it out "
                                                 "of target_modules, or train it whole (modules_to_save)"));
}

std::vector<std::string> Unmatched(const std::vector<std::string>& list, const std::vector<Place>& places) {
  std::vector<std::string> unmatched;
  for (const std::string& entry : list) {
    const bool matches =
        std::any_of(places.begin(), places.end(), [&](const Place& p) { return EndsPath(p.path, entry); });
    if (!matches) unmatched.push_back(entry);
  }
  return unmatched;
}

absl::StatusOr<bool> Selects(const Place& p, const AdapterConfig& config, const Matcher& target, const Matcher& exclude,
                             const LayerFilter& layers) {
  if (IsSavedWhole(p.path, config)) return false;
  const absl::StatusOr<bool> excluded = exclude.Matches(p.path);
  if (!excluded.ok() || *excluded) return excluded.ok() ? absl::StatusOr<bool>(false) : excluded;
  if (config.all_linear) return p.embedding || IsHead(p.path) ? absl::StatusOr<bool>(false) : layers.Passes(p.path);
  const absl::StatusOr<bool> wanted = target.Matches(p.path);
  if (!wanted.ok() || !*wanted || config.target.regex) return wanted;
  const std::vector<std::string>& list = config.target.list;
  if (std::find(list.begin(), list.end(), p.path) != list.end()) return true;
  return layers.Passes(p.path);
}

absl::Status NothingSelected(const std::vector<Place>& places, const AdapterConfig& config) {
  std::set<std::string> ends;
  for (const Place& p : places) {
    if (!p.embedding) ends.insert(LastName(p.path));
  }
  const char* why = config.exclude.empty() && config.layers_to_transform.empty()
                        ? ""
                        : " that exclude_modules and layers_to_transform leave";
  return absl::InvalidArgumentError(absl::StrCat("target_modules matches no linear layer of the model", why,
                                                 "; there are ", absl::StrJoin(ends, ", ")));
}

absl::StatusOr<bool> KeyMatches(const std::string& key, absl::string_view path) {
  absl::StatusOr<FullMatch> regex = FullMatch::Compile(absl::StrCat("(?:.*\\.)?(?:", key, ")"));
  if (!regex.ok()) return regex.status();
  return regex->Matches(path);
}

template <typename T>
absl::StatusOr<T> FirstMatch(absl::string_view path, const std::vector<std::pair<std::string, T>>& patterns,
                             T otherwise) {
  for (const auto& [key, value] : patterns) {
    const absl::StatusOr<bool> matches = KeyMatches(key, path);
    if (!matches.ok()) return matches.status();
    if (*matches) return value;
  }
  return otherwise;
}

}  // namespace

absl::StatusOr<Targets> SelectTargets(const std::vector<Place>& places, const AdapterConfig& config) {
  const absl::StatusOr<Matcher> target = Matcher::Make(config.target, "target_modules");
  if (!target.ok()) return target.status();
  const absl::StatusOr<Matcher> exclude = Matcher::Make(config.exclude, "exclude_modules");
  if (!exclude.ok()) return exclude.status();
  const absl::StatusOr<LayerFilter> layers = LayerFilter::Make(config);
  if (!layers.ok()) return layers.status();
  Targets targets;
  for (const Place& p : places) {
    const absl::StatusOr<bool> selected = Selects(p, config, *target, *exclude, *layers);
    if (!selected.ok()) return selected.status();
    if (!*selected) continue;
    if (p.embedding) {
      if (absl::Status s = CheckEmbedding(p, places, config); !s.ok()) return s;
    }
    targets.modules.push_back(p.path);
  }
  if (!config.all_linear) targets.unmatched = Unmatched(config.target.list, places);
  if (!targets.modules.empty()) return targets;
  if (!targets.unmatched.empty()) return UnmatchedError(targets.unmatched, places);
  return NothingSelected(places, config);
}

std::vector<std::string> Condensed(const std::vector<std::string>& modules, const std::vector<Place>& places) {
  std::set<std::string> ends;
  for (const std::string& m : modules) ends.insert(LastName(m));
  size_t selected = 0;
  for (const Place& p : places) selected += ends.count(LastName(p.path));
  return selected == modules.size() ? std::vector<std::string>(ends.begin(), ends.end()) : modules;
}

absl::Status UnmatchedError(const std::vector<std::string>& unmatched, const std::vector<Place>& places) {
  std::set<std::string> known;
  for (const Place& p : places) {
    if (p.embedding) continue;
    known.insert(p.path);
    known.insert(LastName(p.path));
  }
  const std::vector<std::string> candidates(known.begin(), known.end());
  std::vector<std::string> complaints;
  for (const std::string& entry : unmatched) {
    const Place* tied = TiedEmbedding(places);
    if (tied != nullptr && IsHead(entry)) {
      complaints.push_back(absl::StrCat("\"", entry, "\" is tied to ", tied->path,
                                        " in this model: an adapter on the head alone would untie them when merged"));
    } else {
      complaints.push_back(
          absl::StrCat("\"", entry, "\" matches no linear layer of the model", DidYouMean(entry, candidates)));
    }
  }
  return absl::InvalidArgumentError(absl::StrCat("target_modules: ", absl::StrJoin(complaints, "; ")));
}

absl::StatusOr<int64_t> RankFor(absl::string_view path, const AdapterConfig& config) {
  return FirstMatch(path, config.rank_pattern, config.r);
}

absl::StatusOr<double> AlphaFor(absl::string_view path, const AdapterConfig& config) {
  return FirstMatch(path, config.alpha_pattern, config.lora_alpha);
}

absl::StatusOr<std::vector<std::string>> KeysWithoutMatch(const AdapterConfig& config,
                                                          const std::vector<std::string>& modules) {
  std::vector<std::string> keys, without;
  for (const auto& [key, rank] : config.rank_pattern) keys.push_back(key);
  for (const auto& [key, alpha] : config.alpha_pattern) keys.push_back(key);
  for (const std::string& key : keys) {
    bool found = false;
    for (size_t i = 0; i < modules.size() && !found; ++i) {
      const absl::StatusOr<bool> matches = KeyMatches(key, modules[i]);
      if (!matches.ok()) return matches.status();
      found = *matches;
    }
    if (!found) without.push_back(key);
  }
  return without;
}

}  // namespace lorikeet
