// Stopping a run: the first SIGINT or SIGTERM is a request, the second ends the process.
//
//   InstallStopSignals();
//   for (...) {
//     ... one step ...
//     if (absl::Status s = StopStatus(); !s.ok()) { save; return s; }      // exit code 130 (SIGINT) or 143 (SIGTERM)
//   }
//
// The handler only sets a flag, so files are whole whatever it interrupts; a loop asks between steps. The
// second signal calls _exit at once with the same code: nothing is flushed, and what was committed before stays.
// SIGPIPE is ignored: a run whose output is piped into `head` goes on. Threads: any may ask. Source: signal-safety(7);
// 128 + n is the shells' convention.
#ifndef LORIKEET_APPS_TRAINING_SIGNALS_H_
#define LORIKEET_APPS_TRAINING_SIGNALS_H_

#include "absl/status/status.h"

namespace lorikeet {

void InstallStopSignals();
// OK if nothing was requested, else Cancelled (SIGINT) or Aborted (SIGTERM).
absl::Status StopStatus();

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_SIGNALS_H_
