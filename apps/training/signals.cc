#include "apps/training/signals.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>

namespace lorikeet {
namespace {

std::atomic<int> requested{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may use no lock");

extern "C" void OnStopSignal(int number) {
  if (requested.exchange(number) != 0) _exit(128 + number);
}

}  // namespace

void InstallStopSignals() {
  struct sigaction action = {};
  action.sa_handler = OnStopSignal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
}

absl::Status StopStatus() {
  switch (requested.load()) {
    case 0:
      return absl::OkStatus();
    case SIGINT:
      return absl::CancelledError("stopped by SIGINT");
    default:
      return absl::AbortedError("stopped by SIGTERM");
  }
}

}  // namespace lorikeet
