#include "apps/model/output_directory.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/file_system.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;

constexpr char kMarker[] = "lorikeet.json";

bool BelongsToModel(absl::string_view name) {
  for (absl::string_view known : {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
                                  "special_tokens_map.json", "chat_template.jinja", "README.md", kMarker}) {
    if (name == known) return true;
  }
  if (absl::StartsWith(name, ".") && absl::EndsWith(name, ".tmp")) return true;  // an unfinished AtomicFile
  return absl::StartsWith(name, "model") &&
         (absl::EndsWith(name, ".safetensors") || absl::EndsWith(name, ".safetensors.index.json"));
}

// OK if removing the directory loses nothing but an earlier output.
absl::Status CheckReplaceable(const std::string& path, bool needs_marker) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path, error);
  if (!fs::exists(status)) return absl::OkStatus();
  if (!fs::is_directory(status))
    return absl::InvalidArgumentError(absl::StrCat(path, " exists and is not a directory; give another --output_dir"));
  bool empty = true, marked = false;
  fs::directory_iterator entry(path, error);
  if (error) return ErrnoStatus(error.value(), "list", path);
  for (const fs::directory_entry& e : entry) {
    const std::string name = e.path().filename().string();
    empty = false;
    marked |= name == kMarker;
    if (!BelongsToModel(name) || !e.is_regular_file(error))
      return absl::InvalidArgumentError(absl::StrCat(path, " holds ", name,
                                                     ", which is no part of a model written here, and would be lost; "
                                                     "give another --output_dir or empty it yourself"));
  }
  if (empty || marked || !needs_marker) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(path, " holds a model that Lorikeet did not write; give another --output_dir or empty it yourself"));
}

std::string WithoutTrailingSlash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

}  // namespace

absl::StatusOr<std::unique_ptr<OutputDirectory>> OutputDirectory::Create(const std::string& path) {
  if (path.empty()) return absl::InvalidArgumentError("--output_dir is missing: name a directory to write");
  const std::string final_path = WithoutTrailingSlash(path), partial = final_path + ".partial";
  if (absl::Status s = CheckReplaceable(final_path, /*needs_marker=*/true); !s.ok()) return s;
  if (absl::Status s = CheckReplaceable(partial, /*needs_marker=*/false); !s.ok()) return s;
  std::error_code error;
  fs::remove_all(partial, error);
  if (!error) fs::create_directories(partial, error);
  if (error) return ErrnoStatus(error.value(), "make directory", partial);
  return std::unique_ptr<OutputDirectory>(new OutputDirectory(final_path, partial));
}

OutputDirectory::~OutputDirectory() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(partial_, ignored);
}

absl::Status OutputDirectory::Commit(const std::string& provenance) {
  if (absl::Status s = WriteFileAtomically(partial_ + "/" + kMarker, provenance); !s.ok()) return s;
  // Again, because writing may have taken long.
  if (absl::Status s = CheckReplaceable(final_, /*needs_marker=*/true); !s.ok()) return s;
  std::error_code error;
  fs::remove_all(final_, error);
  if (!error) fs::rename(partial_, final_, error);
  if (error) return ErrnoStatus(error.value(), "rename directory to", final_);
  committed_ = true;
  return absl::OkStatus();
}

}  // namespace lorikeet
