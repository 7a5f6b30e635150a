// RunReport: what a run says while it goes, on the terminal and in metrics.jsonl and loss.svg.
//
//   RunReport report(job, output_dir);
//   report.PrintPlan();
//   status = report.Open(first_step);                   // metrics.jsonl, anew or cut back to first_step
//   report.Stepped(result);  report.Evaluated(step, eval);
//   status = report.Close(loss_before, after);          // the plot, and how to try the adapter
//
// Everything printed goes to stdout; a metrics file that cannot be written any more is a warning, not an error.
#ifndef LORIKEET_APPS_TRAINING_RUN_REPORT_H_
#define LORIKEET_APPS_TRAINING_RUN_REPORT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "apps/training/evaluate.h"
#include "apps/training/job.h"
#include "apps/training/trainer.h"

namespace lorikeet {

class RunReport {
 public:
  // The job must outlive the report. An empty output_dir: print only.
  RunReport(TrainJob& job, std::string output_dir);
  ~RunReport();

  void PrintPlan();
  // The first rows as the model will see them: text with the answer marked, token ids and loss mask.
  void PrintRows(int64_t count);
  absl::Status Open(int64_t first_step);
  void Stepped(const StepResult& result);
  void Evaluated(int64_t step, const EvalResult& result);
  // `eval_loss_before`: before the first step, whichever run took it.
  absl::Status Close(double eval_loss_before, const EvalResult& after);

  int64_t trainable() const { return trainable_; }
  int64_t total() const { return total_; }

 private:
  struct State;
  TrainJob& job_;
  std::string output_dir_;
  int64_t trainable_ = 0, total_ = 0, weight_bytes_ = 0;
  std::unique_ptr<State> state_;
};

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_RUN_REPORT_H_
