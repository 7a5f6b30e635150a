#include "apps/training/signals.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace lorikeet {
namespace {

// Runs `body` in a process of its own; its exit status as waitpid gives it.
template <typename F>
int InChild(F body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    InstallStopSignals();
    _exit(body());
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

int ExitedWith(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : -1; }

TEST(SignalsTest, TheFirstSignalIsARequest) {
  EXPECT_EQ(ExitedWith(InChild([] {
              if (!StopStatus().ok()) return 1;
              raise(SIGINT);
              return absl::IsCancelled(StopStatus()) ? 0 : 2;
            })),
            0);
  EXPECT_EQ(ExitedWith(InChild([] {
              raise(SIGTERM);
              return absl::IsAborted(StopStatus()) ? 0 : 2;
            })),
            0);
}

TEST(SignalsTest, TheSecondEndsTheProcessAtOnce) {
  const auto raise_both = [](int first, int second) { return InChild([=] { return raise(first), raise(second), 7; }); };
  EXPECT_EQ(ExitedWith(raise_both(SIGINT, SIGINT)), 130);
  EXPECT_EQ(ExitedWith(raise_both(SIGTERM, SIGTERM)), 143);
  EXPECT_EQ(ExitedWith(raise_both(SIGTERM, SIGINT)), 130);
}

TEST(SignalsTest, AClosedPipeDoesNotEndTheProcess) {
  EXPECT_EQ(ExitedWith(InChild([] {
              int ends[2];
              if (pipe(ends) != 0) return 1;
              close(ends[0]);
              return write(ends[1], "x", 1) == -1 ? 0 : 2;
            })),
            0);
}

}  // namespace
}  // namespace lorikeet
