// Progress of a run: one line that is drawn over itself on a terminal, plain lines elsewhere.
//
//   ProgressPrinter progress(/*total_steps=*/200, ProgressOptionsFor(stderr));
//   progress.Report({.step = 120, .loss = 1.234, ...}, elapsed_seconds);
//   progress.Note("eval loss 1.187 after step 120");             // a line of its own, above the bar
//   progress.Finish();
//
//   120/200 ━━━━━━━━━━━━━────────  loss 1.234 ↓  lr 1.80e-04  grad 0.52  412 tok/s  43% of peak  1.2 GB  eta 3m12s
//
// Elsewhere (a file, a pipe) a line begins with "step 120/200" and has no bar. The trend compares the mean loss of the
// last eighth of the steps seen with the eighth before: ↓ falls, ↑ rises, → neither (by a twentieth of the losses'
// spread). Time left is the mean of the latest steps times the steps to go. No line is wider than the terminal, nor
// than 100 columns: the parts named last are left out first. Where the locale is not UTF-8 there is ASCII instead.
// Errors of writing are ignored: training goes on when the terminal is gone. Threads: one at a time.
#ifndef LORIKEET_APPS_TRAINING_PROGRESS_H_
#define LORIKEET_APPS_TRAINING_PROGRESS_H_

#include <cstdint>
#include <cstdio>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace lorikeet {

struct ProgressLine {
  int64_t step = 0;  // steps done
  double loss = 0;
  double lr = 0;
  double grad_norm = 0;
  double tokens_per_second = 0;
  double fraction_of_peak = 0;  // <= 0: not known, not shown
  int64_t resident_bytes = 0;
};

struct ProgressOptions {
  std::FILE* out = stderr;
  bool terminal = false;  // draw over the line
  bool utf8 = false;
  int columns = 80;
  int64_t every = 1;  // elsewhere than on a terminal: a line every so many steps, and the last
};

// What the stream's terminal and the environment (LC_ALL, LC_CTYPE, LANG, TERM) say.
ProgressOptions ProgressOptionsFor(std::FILE* out);

enum class Trend { kUnknown, kFalls, kFlat, kRises };
Trend LossTrend(const std::vector<double>& losses);

class ProgressPrinter {
 public:
  ProgressPrinter(int64_t total_steps, ProgressOptions options);
  ~ProgressPrinter() { Finish(); }
  ProgressPrinter(const ProgressPrinter&) = delete;
  ProgressPrinter& operator=(const ProgressPrinter&) = delete;

  // `seconds`: since any fixed moment; their differences are the steps' durations.
  void Report(const ProgressLine& line, double seconds);
  void Note(absl::string_view text);
  void Finish();  // leaves the last line on the terminal

  // What Report shows, without control characters.
  std::string Format(const ProgressLine& line) const;

 private:
  std::string Bar(int64_t step, int width) const;
  double SecondsLeft(int64_t step) const;

  int64_t total_steps_;
  ProgressOptions options_;
  std::vector<double> losses_;
  std::deque<std::pair<int64_t, double>> clock_;  // (step, seconds) of the latest reports
  std::string drawn_;                             // the line on the terminal now
};

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_PROGRESS_H_
