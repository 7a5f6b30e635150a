// What every program does first and last: the user's working directory, flags, and exit codes.
//
//   int main(int argc, char** argv) {
//     lorikeet::StartProgram(argc, argv, "Fine-tunes a language model.");
//     return lorikeet::ExitCode(Run());                 // prints the message of an error
//   }
//
// Exit codes: 0 done; 2 bad input (NotFound, InvalidArgument and their like); 3 out of memory or disk, or another
// process of the run is lost (ResourceExhausted, DeadlineExceeded); 4 a damaged file (DataLoss); 5 NaN found
// (FailedPrecondition); 130 and 143 stopped by SIGINT and SIGTERM (Cancelled and Aborted).
//
// Under `bazel run` a program starts in its runfiles; StartProgram moves to $BUILD_WORKING_DIRECTORY before it parses,
// so that relative paths, the flag file's too, mean the user's directory. A flag file that is not there is looked for
// among the shipped recipes: --flagfile=qlora.flags.
#ifndef LORIKEET_APPS_PROGRAM_H_
#define LORIKEET_APPS_PROGRAM_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace lorikeet {

// Parses flags. An unknown flag, or an argument that is none, ends the process with exit code 2.
void StartProgram(int argc, char** argv, absl::string_view usage);

int ExitCode(const absl::Status& status);

// The same without a word, for a process of several where another one has printed it.
int SilentExitCode(const absl::Status& status);

// A file that ships with the programs, found among the runfiles: Runfile("apps/recipes/qlora.flags"). Empty: not found.
std::string Runfile(absl::string_view path);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_PROGRAM_H_
