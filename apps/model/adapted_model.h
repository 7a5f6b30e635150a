// A model with an adapter over it, ready for inference.
//
//   absl::StatusOr<AdaptedModel> m = OpenAdaptedModel("SmolLM2.gguf", "out/adapter", {.compute_dtype = DType::kBF16});
//   Tensor h = m->base.lm->Hidden(batch, nullptr).value();
//
// An empty adapter directory is no adapter. An empty model path is the base that the adapter names, if there is an
// adapter and the base is where it says, else the small model. Ownership: the caller. Errors: those of OpenModel and of
// LoadAdapter.
#ifndef LORIKEET_APPS_MODEL_ADAPTED_MODEL_H_
#define LORIKEET_APPS_MODEL_ADAPTED_MODEL_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "apps/model/open_model.h"
#include "peft/adapter_run.h"

namespace lorikeet {

struct AdaptedModel {
  std::unique_ptr<AdapterRun> run;  // the adapter's maps point to it, so it must go last
  OpenedModel base;                 // base.lm carries the adapter; base.warnings has the adapter's too
  std::string adapter;              // its directory, or empty
};

absl::StatusOr<AdaptedModel> OpenAdaptedModel(const std::string& model, const std::string& adapter,
                                              const OpenOptions& options);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_MODEL_ADAPTED_MODEL_H_
