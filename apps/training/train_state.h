// The state of a run between two optimizer steps: trained parameters, AdamW's moments, and how far it is.
//
//   absl::Status s = SaveTrainState([&](absl::string_view name) { return writer->Path(name); }, parameters, adamw,
//                                   {.step = 120, .best_eval_loss = 1.31, .fingerprint = fingerprint});
//   absl::StatusOr<TrainProgress> p = LoadTrainState(directory, parameters, adamw);
//
//   trainable.safetensors   the parameters, f32, by the names of an adapter file
//   optimizer.bin           AdamW's moments, little-endian f32: exp_avg of every parameter in the file's order of
//                           parameters, then exp_avg_sq (AdamW::StateTensors); in 8 bits the blocks as they are, each
//                           256 codes and an f32 scale
//   progress.json           format (1), step, optimizer_steps, best_eval_loss, first_eval_loss, fingerprint
//
// Nothing else needs saving: rows, learning rate and dropout masks are functions of the step. Moments stream page by
// page. `fingerprint` names what a resumed run must share (model, data, adapter shape); a difference is an error that
// prints both. Errors: InvalidArgument for another run's state, DataLoss for damage, ResourceExhausted for a full disk.
#ifndef LORIKEET_APPS_TRAINING_TRAIN_STATE_H_
#define LORIKEET_APPS_TRAINING_TRAIN_STATE_H_

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "autograd/parameter.h"
#include "optim/adamw.h"

namespace lorikeet {

struct TrainProgress {
  int64_t step = 0;  // optimizer steps taken
  double best_eval_loss = std::numeric_limits<double>::infinity();
  double first_eval_loss = std::numeric_limits<double>::quiet_NaN();  // before the first step; NaN: none
  std::string fingerprint;
};

// `path_of` says where to write the file of a given name.
absl::Status SaveTrainState(absl::FunctionRef<std::string(absl::string_view)> path_of,
                            const std::vector<Parameter*>& parameters, AdamW& optimizer, const TrainProgress& progress);

// Restores the parameters and the moments; `fingerprint` is this run's.
absl::StatusOr<TrainProgress> LoadTrainState(const std::string& directory, const std::vector<Parameter*>& parameters,
                                             AdamW& optimizer, const std::string& fingerprint);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_TRAIN_STATE_H_
