#include "apps/training/run_info.h"

#include <dirent.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <fstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "tensor/io/file_system.h"

namespace lorikeet {
namespace {

using nlohmann::json;

// Of the first processor: the value of "model name" in /proc/cpuinfo.
std::string CpuModel() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const size_t colon = line.find(':');
    if (absl::StartsWith(line, "model name") && colon != line.npos) {
      return std::string(absl::StripAsciiWhitespace(line.substr(colon + 1)));
    }
  }
  return "unknown";
}

// gcc gives its number only, clang its name too.
std::string Compiler() {
  const std::string version = __VERSION__;
  return absl::ascii_isdigit(version[0]) ? absl::StrCat("gcc ", version) : version;
}

json OrNull(const std::string& text) { return text.empty() ? json(nullptr) : json(text); }

// What a model is read from; a directory may hold much else, and large.
bool IsModelFile(absl::string_view name) {
  return absl::EndsWith(name, ".json") || absl::EndsWith(name, ".jinja") || absl::EndsWith(name, ".safetensors") ||
         absl::EndsWith(name, ".zst");
}

bool IsRegular(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

}  // namespace

MachineInfo ThisMachine() {
  MachineInfo machine;
  machine.compiler = Compiler();
  machine.cpu = CpuModel();
  utsname names = {};
  if (::uname(&names) == 0) {
    machine.system = absl::StrCat(names.sysname, " ", names.release, " ", names.machine);
    machine.host = names.nodename;
  }
  cpu_set_t allowed;
  if (::sched_getaffinity(0, sizeof allowed, &allowed) == 0) machine.processors = CPU_COUNT(&allowed);
  machine.memory_bytes = int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE);
  return machine;
}

std::string UtcTime(std::time_t time) {
  std::tm parts = {};
  char text[32];
  if (::gmtime_r(&time, &parts) == nullptr || std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0) {
    return "";
  }
  return text;
}

absl::StatusOr<std::map<std::string, FileDigest>> DigestsOf(const std::string& path) {
  std::map<std::string, FileDigest> digests;
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, "read", path);
  if (!S_ISDIR(info.st_mode)) {
    absl::StatusOr<FileDigest> digest = DigestOfFile(path);
    if (!digest.ok()) return digest.status();
    digests[path.substr(path.rfind('/') + 1)] = *digest;
    return digests;
  }
  DIR* dir = ::opendir(path.c_str());
  if (dir == nullptr) return ErrnoStatus(errno, "list", path);
  absl::Status status;
  while (const dirent* entry = ::readdir(dir)) {
    const std::string name = entry->d_name, file = absl::StrCat(path, "/", name);
    if (!status.ok() || !IsModelFile(name) || !IsRegular(file)) continue;
    absl::StatusOr<FileDigest> digest = DigestOfFile(file);
    if (digest.ok()) digests[name] = *digest;
    status.Update(digest.status());
  }
  ::closedir(dir);
  if (!status.ok()) return status;
  return digests;
}

std::string ToJson(const RunInfo& info) {
  json files = json::object();
  for (const auto& [role, digests] : info.inputs) {
    for (const auto& [name, d] : digests) files[role][name] = {{"bytes", d.bytes}, {"sha256", d.sha256}};
  }
  const json object = {{"program", info.program},
                       {"version", kLorikeetVersion},
                       {"compiler", info.machine.compiler},
                       {"cpu", info.machine.cpu},
                       {"system", info.machine.system},
                       {"host", info.machine.host},
                       {"processors", info.machine.processors},
                       {"memory_bytes", info.machine.memory_bytes},
                       {"threads", info.threads},
                       {"ranks", info.ranks},
                       {"flags", info.flags},
                       {"inputs", std::move(files)},
                       {"started", OrNull(info.started)},
                       {"ended", OrNull(info.ended)},
                       {"resumed_from", OrNull(info.resumed_from)},
                       {"status", info.status}};
  // A path need not be UTF-8.
  return absl::StrCat(object.dump(2, ' ', false, json::error_handler_t::replace), "\n");
}

}  // namespace lorikeet
