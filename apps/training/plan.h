// The plan that a run prints before it begins: what will be trained, how much memory it takes, how long it is.
//
//   PlanInputs plan;
//   plan.model = "SmolLM2-135M-Instruct";  plan.total_parameters = 134515008;  ...
//   std::fputs(FormatPlan(plan).c_str(), stdout);
//
//   model       SmolLM2-135M-Instruct · 139M parameters, 30 layers
//   method      qlora · nf4 weights, bf16 computation, cpu, 2 threads
//   trainable   4,884,480 of 139,399,488 (3.50%)
//   memory      weights 84.1 MB + gradients 19.5 MB + optimizer 39.1 MB + activations 412 MB = 555 MB
//   data        1,900 rows to train on, 100 held out
//   steps       200 × at most 4,096 tokens (4 sequences × 4 micro-batches × 256)
//
// Numbers, not modules: whoever has the modules counts. A packed weight counts as the weights it holds, not as its
// bytes. Errors: none. Threads: any.
#ifndef LORIKEET_APPS_TRAINING_PLAN_H_
#define LORIKEET_APPS_TRAINING_PLAN_H_

#include <cstdint>
#include <string>

namespace lorikeet {

struct PlanInputs {
  std::string model;
  int64_t num_layers = 0;
  int64_t total_parameters = 0;  // the adapter's among them
  int64_t trainable_parameters = 0;
  std::string method;        // "qlora"
  std::string weights;       // how the base is stored: "nf4", "bf16"; empty: as `dtype`
  std::string dtype;         // of the computation
  std::string device;        // "cpu, 2 threads"
  int64_t weight_bytes = 0;  // base and adapter as they lie in memory
  int64_t gradient_bytes = 0;
  int64_t optimizer_bytes = 0;         // of state
  int64_t optimizer_memory_limit = 0;  // > 0: a paged optimizer keeps this much in memory, the rest in a file
  int64_t activation_bytes = 0;        // expected at the peak of a step
  int64_t batch_size = 0, gradient_accumulation_steps = 1, max_seq_length = 0;
  int64_t steps = 0, first_step = 0;  // first_step > 0: resumed
  int64_t train_rows = 0, eval_rows = 0;
};

// Several lines, each with its newline; UTF-8 unless `utf8` is false.
std::string FormatPlan(const PlanInputs& plan, bool utf8 = true);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_PLAN_H_
