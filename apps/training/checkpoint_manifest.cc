#include "apps/training/checkpoint_manifest.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "apps/text/json.h"
#include "nlohmann/json.hpp"
#include "tensor/io/file.h"

namespace lorikeet {
namespace {

using nlohmann::json;

constexpr char kFormat[] = "lorikeet-checkpoint";
constexpr uint64_t kMaxManifestBytes = 1 << 20;

std::string HexOf(const std::string& bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return hash.Hex();
}

// Keys in order and no white space: the same object has the same digest when it is read again.
std::string DigestOf(json object) {
  object.erase("sha256");
  return HexOf(object.dump());
}

int64_t IntMember(const json& object, const char* key) {
  const json* value = text::Member(object, key);
  return value != nullptr && value->is_number_integer() ? value->get<int64_t>() : -1;
}

// Names come from a file: one with a slash could name any file of the machine.
bool IsPlainName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

absl::Status Damaged(absl::string_view what) { return absl::DataLossError(what); }

absl::Status ParseFiles(const json& files, CheckpointManifest* manifest) {
  for (const auto& [name, entry] : files.items()) {
    const std::string* sha256 = entry.is_object() ? text::StringMember(entry, "sha256") : nullptr;
    const int64_t bytes = entry.is_object() ? IntMember(entry, "bytes") : -1;
    if (!IsPlainName(name) || sha256 == nullptr || bytes < 0) return Damaged("its list of files is malformed");
    manifest->files[name] = {static_cast<uint64_t>(bytes), *sha256};
  }
  return absl::OkStatus();
}

}  // namespace

std::string ToJson(const CheckpointManifest& manifest) {
  json files = json::object();
  for (const auto& [name, digest] : manifest.files) {
    files[name] = {{"bytes", digest.bytes}, {"sha256", digest.sha256}};
  }
  json object = {{"format", kFormat},
                 {"version", kManifestVersion},
                 {"step", manifest.step},
                 {"commit", manifest.commit},
                 {"files", std::move(files)}};
  object["sha256"] = DigestOf(object);
  return absl::StrCat(object.dump(2), "\n");
}

absl::StatusOr<CheckpointManifest> ParseManifest(absl::string_view text) {
  const absl::StatusOr<json> object = text::ParseJson(text);
  if (!object.ok()) return Damaged(object.status().message());
  if (!object->is_object()) return Damaged("it is not an object");
  const std::string* sha256 = text::StringMember(*object, "sha256");
  if (sha256 == nullptr || *sha256 != DigestOf(*object)) return Damaged("its checksum does not match");
  const std::string* format = text::StringMember(*object, "format");
  if (format == nullptr || *format != kFormat) return Damaged("it is not a checkpoint's manifest");
  if (const int64_t version = IntMember(*object, "version"); version != kManifestVersion) {
    return absl::UnimplementedError(absl::StrCat("its format version is ", version, "; this program reads version ",
                                                 kManifestVersion, ": use the program that wrote it"));
  }
  CheckpointManifest manifest;
  manifest.step = IntMember(*object, "step");
  manifest.commit = IntMember(*object, "commit");
  const json* files = text::Member(*object, "files");
  if (manifest.step < 0 || manifest.commit < 0 || files == nullptr || !files->is_object()) {
    return Damaged("step, commit or files is missing");
  }
  absl::Status status = ParseFiles(*files, &manifest);
  if (!status.ok()) return status;
  return manifest;
}

absl::StatusOr<CheckpointManifest> ReadManifest(const std::string& checkpoint, FileSystem& file_system) {
  const std::string path = absl::StrCat(checkpoint, "/", kManifestName);
  const auto annotate = [&](const absl::Status& status) {
    return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
  };
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> file = OpenFile(path, file_system);
  if (absl::IsNotFound(file.status())) return Damaged(absl::StrCat(path, " is missing"));
  if (!file.ok()) return file.status();
  if ((*file)->size() > kMaxManifestBytes) return annotate(Damaged("it is too large to be a manifest"));
  std::string text(static_cast<size_t>((*file)->size()), '\0');
  absl::Status status = (*file)->Read(0, text.data(), text.size());
  if (!status.ok()) return status;
  absl::StatusOr<CheckpointManifest> manifest = ParseManifest(text);
  if (!manifest.ok()) return annotate(manifest.status());
  return manifest;
}

absl::Status VerifyFiles(const std::string& checkpoint, const CheckpointManifest& manifest, FileSystem& file_system) {
  for (const auto& [name, expected] : manifest.files) {
    const std::string path = absl::StrCat(checkpoint, "/", name);
    const absl::StatusOr<FileDigest> found = DigestOfFile(path, file_system);
    if (absl::IsNotFound(found.status())) return Damaged(absl::StrCat(path, " is missing"));
    if (!found.ok()) return found.status();
    if (found->bytes != expected.bytes) {
      return Damaged(absl::StrCat(path, " has ", found->bytes, " bytes, expected ", expected.bytes));
    }
    if (found->sha256 != expected.sha256) return Damaged(absl::StrCat(path, " was changed: its SHA-256 differs"));
  }
  return absl::OkStatus();
}

}  // namespace lorikeet
