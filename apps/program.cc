#include "apps/program.h"

#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/flags/usage_config.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace lorikeet {
namespace {

// Abseil ends the process by exit(1) on a bad flag and on --help alike; the contract is 2 and 0.
enum class Parsing { kNo, kHelp, kFlags };
Parsing parsing = Parsing::kNo;

void FixExitCode() {
  if (parsing == Parsing::kNo) return;
  std::fflush(nullptr);
  std::_Exit(parsing == Parsing::kHelp ? 0 : 2);
}

bool Exists(const std::string& path) { return access(path.c_str(), R_OK) == 0; }

// --flagfile=qlora.flags means the user's file, or else the shipped recipe of that name.
std::string FindFlagFile(absl::string_view argument) {
  absl::string_view path = argument;
  if (!absl::ConsumePrefix(&path, "--flagfile=") || Exists(std::string(path))) return std::string(argument);
  const std::string recipe = Runfile(absl::StrCat("apps/recipes/", path));
  return recipe.empty() ? std::string(argument) : absl::StrCat("--flagfile=", recipe);
}

// Abseil reads `--packing False` as --packing, and an argument.
void RefuseArgument(const char* argument) {
  std::fprintf(stderr,
               "error: unexpected argument \"%s\"; every input is a flag, and a boolean one is written "
               "--packing=false\n",
               argument);
  std::exit(2);
}

}  // namespace

void StartProgram(int argc, char** argv, absl::string_view usage) {
  // Only `bazel run` sets it; elsewhere the working directory is the user's already.
  if (const char* directory = std::getenv("BUILD_WORKING_DIRECTORY"); directory != nullptr && chdir(directory) != 0) {
    std::perror(directory);
    std::exit(2);
  }
  parsing = Parsing::kFlags;
  std::vector<std::string> arguments;
  for (int i = 0; i < argc; ++i) {
    arguments.push_back(FindFlagFile(argv[i]));
    if (absl::StartsWith(argv[i], "--help")) parsing = Parsing::kHelp;
  }
  std::vector<char*> pointers;
  for (std::string& a : arguments) pointers.push_back(a.data());
  absl::SetProgramUsageMessage(usage);
  // --help shows the flags of the programs' own files.
  absl::FlagsUsageConfig config;
  config.contains_help_flags =
      config.contains_helpshort_flags = [](absl::string_view file) { return absl::StrContains(file, "apps/"); };
  absl::SetFlagsUsageConfig(config);
  std::atexit(FixExitCode);
  const std::vector<char*> rest = absl::ParseCommandLine(static_cast<int>(pointers.size()), pointers.data());
  parsing = Parsing::kNo;
  if (rest.size() > 1) RefuseArgument(rest[1]);
}

int ExitCode(const absl::Status& status) {
  if (!status.ok()) std::fprintf(stderr, "error: %s\n", std::string(status.message()).c_str());
  return SilentExitCode(status);
}

int SilentExitCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kDeadlineExceeded:
      return 3;
    case absl::StatusCode::kDataLoss:
      return 4;
    case absl::StatusCode::kFailedPrecondition:
      return 5;
    case absl::StatusCode::kCancelled:
      return 130;
    case absl::StatusCode::kAborted:
      return 143;
    default:
      return 2;
  }
}

std::string Runfile(absl::string_view path) {
  std::vector<std::string> roots;
  if (const char* dir = std::getenv("RUNFILES_DIR")) roots.push_back(absl::StrCat(dir, "/lorikeet/"));
  if (const char* dir = std::getenv("TEST_SRCDIR")) roots.push_back(absl::StrCat(dir, "/lorikeet/"));
  char exe[PATH_MAX];
  const ssize_t n = readlink("/proc/self/exe", exe, sizeof exe);
  // The link resolves to the binary in bazel-bin, beside which its runfiles lie.
  if (n > 0) roots.push_back(absl::StrCat(absl::string_view(exe, static_cast<size_t>(n)), ".runfiles/lorikeet/"));
  for (const std::string& root : roots) {
    if (const std::string file = absl::StrCat(root, path); Exists(file)) return file;
  }
  return "";
}

}  // namespace lorikeet
