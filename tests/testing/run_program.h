// Running a program of //apps as a user does, and what came of it.
//
//   const Outcome o = RunProgram("evaluate --model=...");       // needs data = ["//apps:evaluate"]
//   EXPECT_EQ(o.code, 0) << o.err;
//
// The command goes through the shell, so `setup` may hold what is done before the program starts: "ulimit -f 8;".
// Standard input is empty.
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

inline Outcome RunProgram(const std::string& command, const std::string& setup = "") {
  const std::string out = FreshPath("out"), err = FreshPath("err");
  const std::string line = setup + " exec apps/" + command + " >" + out + " 2>" + err + " </dev/null";
  const int status = std::system(line.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, Contents(out), Contents(err)};
}

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_TESTING_RUN_PROGRAM_H_
