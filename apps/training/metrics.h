// metrics.jsonl: one JSON object a line, for plots and scripts, written while the run goes.
//
//   {"step":1,"loss":2.31,"lr":1e-04,"grad_norm":0.52,"tokens":1024,"tokens_per_second":412.5,"seconds":2.48,
//    "resident_bytes":1203765248}                                        a training step (on one line)
//   {"step":20,"eval_loss":1.87}                                         an evaluation after that step; 0: before all
//
//   absl::StatusOr<std::unique_ptr<MetricsWriter>> metrics = MetricsWriter::Resume("out/metrics.jsonl", /*step=*/120);
//   (*metrics)->Write({.step = 121, .loss = 1.5});
//   if (!(*metrics)->status().ok()) ...                                  // say so once; training goes on
//
// Resume keeps the lines of steps up to the one the checkpoint holds and drops the later ones, which the resumed run
// will write again, as well as a last line that was cut short. A line is written by one system call, so a killed run
// loses at most the last one; there is no fsync. Numbers are the shortest text that reads back as the same double, in
// every locale; what is not finite is null, because JSON has no NaN. Errors: opening fails with ErrnoStatus's codes. A
// write that fails (the disk is full) is not worth a run: the first error stays in status(), later lines are dropped.
// ReadMetrics: DataLoss with the line's number for what is not such a line. Threads: one at a time.
#ifndef LORIKEET_APPS_TRAINING_METRICS_H_
#define LORIKEET_APPS_TRAINING_METRICS_H_

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tensor/io/file_system.h"

namespace lorikeet {

struct StepMetrics {
  int64_t step = 0;  // counted from 1
  double loss = std::nan("");
  double lr = 0;
  double grad_norm = std::nan("");  // before clipping
  int64_t tokens = 0;               // that went through the model in this step
  double tokens_per_second = 0;
  double seconds = 0;          // of this step
  int64_t resident_bytes = 0;  // of the process; on a GPU the most that tensors held there
};

struct EvalMetrics {
  int64_t step = 0;  // steps taken before it
  double eval_loss = std::nan("");
};

struct MetricsSeries {
  std::vector<StepMetrics> steps;
  std::vector<EvalMetrics> evals;
};

class MetricsWriter {
 public:
  // An empty file, in place of any that is there.
  static absl::StatusOr<std::unique_ptr<MetricsWriter>> Create(const std::string& path,
                                                               FileSystem& file_system = FileSystem::Real());
  // What is there up to and including `step`; an empty file if there is none.
  static absl::StatusOr<std::unique_ptr<MetricsWriter>> Resume(const std::string& path, int64_t step,
                                                               FileSystem& file_system = FileSystem::Real());
  ~MetricsWriter();
  MetricsWriter(const MetricsWriter&) = delete;
  MetricsWriter& operator=(const MetricsWriter&) = delete;

  void Write(const StepMetrics& step);
  void Write(const EvalMetrics& eval);
  const absl::Status& status() const { return status_; }

 private:
  MetricsWriter(std::string path, int fd, FileSystem& file_system)
      : path_(std::move(path)), fd_(fd), file_system_(file_system) {}
  static absl::StatusOr<std::unique_ptr<MetricsWriter>> Open(const std::string& path, int flags, FileSystem& fs);
  void WriteLine(const std::string& line);

  std::string path_;
  int fd_;
  FileSystem& file_system_;
  absl::Status status_;
};

absl::StatusOr<MetricsSeries> ReadMetrics(const std::string& path);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_METRICS_H_
