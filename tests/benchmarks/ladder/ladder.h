// A ladder: one computation in several versions, from the plainest to the one that ships, each a step faster than the
// one before for a reason that fits in a line. Teaching material that is built and run.
//
//   std::vector<Rung> rungs = {{"three loops", "the definition", [] { ... }}, ...};
//   RunLadder("y = x*W^T", work, "GFLOP/s", rungs, [] { return error of what the last rung computed; });
//
// Every rung's result is compared with the shipped one before it is timed; one that is wrong ends the program. Rates
// are the best of several runs, since other processes only ever slow one down.
#ifndef LORIKEET_TESTS_BENCHMARKS_LADDER_LADDER_H_
#define LORIKEET_TESTS_BENCHMARKS_LADDER_LADDER_H_

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

namespace lorikeet {

struct Rung {
  std::string name;
  std::string reason;  // why it is faster than the one before
  std::function<void()> run;
};

struct Ladder {
  std::string title;
  double work;  // of a run, in units of 1e9 of `unit`
  std::string unit;
  double tolerance;
  std::vector<Rung> rungs;
  std::function<double()> error;  // of the latest run's result; NaN counts as wrong
};

inline double BestSeconds(const std::function<void()>& run) {
  using Clock = std::chrono::steady_clock;
  double best = 1e30, total = 0;
  for (int i = 0; i < 1000 && (i < 3 || total < 0.3); ++i) {
    const auto start = Clock::now();
    run();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::min(best, seconds);
    total += seconds;
  }
  return best;
}

inline void RunLadder(const Ladder& ladder) {
  std::printf("\n%s\n", ladder.title.c_str());
  double first = 0, previous = 0;
  for (const Rung& rung : ladder.rungs) {
    rung.run();
    const double error = ladder.error();
    if (!(error <= ladder.tolerance)) {
      std::fprintf(stderr, "%s: wrong by %g\n", rung.name.c_str(), error);
      std::exit(1);
    }
    const double rate = ladder.work / BestSeconds(rung.run);
    if (first == 0) first = previous = rate;
    std::printf("  %-34s %9.2f %s  %6.1fx %7.1fx  %s\n", rung.name.c_str(), rate, ladder.unit.c_str(), rate / previous,
                rate / first, rung.reason.c_str());
    std::fflush(stdout);
    previous = rate;
  }
}

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_BENCHMARKS_LADDER_LADDER_H_
