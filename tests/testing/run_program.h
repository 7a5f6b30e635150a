// Running a program of //apps as a user does, and what came of it.
//
//   const Outcome o = RunProgram("evaluate --model=...");       // needs data = ["//apps:evaluate"]
//   EXPECT_EQ(o.code, 0) << o.err;
//
// The command goes through the shell, so `setup` may hold what is done before the program starts: "ulimit -f 8;".
// Standard input is empty. MpiRun starts several processes of one:
//
//   RunShell(MpiRun() + "-n 2 apps/finetune --data=...");
#ifndef LORIKEET_TESTS_TESTING_RUN_PROGRAM_H_
#define LORIKEET_TESTS_TESTING_RUN_PROGRAM_H_

#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/testing/tiny_model.h"

namespace lorikeet {

// The whole of a file; "" if there is none.
inline std::string Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Outcome {
  int code = -1;  // -1: it did not exit
  std::string out, err;
};

inline Outcome RunShell(const std::string& command) {
  const std::string out = FreshPath("out"), err = FreshPath("err");
  const int status = std::system((command + " >" + out + " 2>" + err + " </dev/null").c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, Contents(out), Contents(err)};
}

inline Outcome RunProgram(const std::string& command, const std::string& setup = "") {
  return RunShell(setup + " exec apps/" + command);
}

// mpirun and its options, to be followed by "-n 2 apps/finetune ...": more processes than processors, and by root, as
// in a container. Open MPI keeps some memory to the end of a process.
inline std::string MpiRun() {
  return "exec env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 "
         "mpirun --oversubscribe ";
}

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_TESTING_RUN_PROGRAM_H_
