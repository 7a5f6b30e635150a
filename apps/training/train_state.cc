#include "apps/training/train_state.h"

#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "tensor/io/atomic_file.h"
#include "tensor/io/file.h"
#include "tensor/io/safetensors.h"
#include "tensor/io/safetensors_writer.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

constexpr int kFormat = 1;

absl::Status SaveParameters(const std::string& path, const std::vector<Parameter*>& parameters) {
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const Parameter* p : parameters) tensors.emplace_back(p->name, p->value);
  return WriteSafetensors(path, tensors, {});
}

// The moments in the optimizer's own order, as they come: no tensor of them is ever whole in memory.
absl::Status SaveMoments(const std::string& path, AdamW& optimizer) {
  uint64_t bytes = 0;
  for (const StateTensor& t : optimizer.StateTensors())
    bytes += static_cast<uint64_t>(t.shape.size()) * SizeOf(t.dtype);
  absl::StatusOr<std::unique_ptr<AtomicFile>> file = AtomicFile::Create(path, bytes);
  if (!file.ok()) return file.status();
  absl::Status status = optimizer.SaveState([&](const StateTensor&, int64_t, const Tensor& values) {
    return (*file)->Append({static_cast<const char*>(values.raw()), static_cast<size_t>(values.nbytes())});
  });
  return status.ok() ? (*file)->Commit() : status;
}

absl::Status LoadParameters(const std::string& path, const std::vector<Parameter*>& parameters) {
  absl::StatusOr<std::unique_ptr<SafetensorsFile>> file = SafetensorsFile::Open(path);
  if (!file.ok()) return file.status();
  for (Parameter* p : parameters) {
    absl::StatusOr<Tensor> t = (*file)->Read(p->name);
    if (!t.ok()) return t.status();
    if (!(t->shape() == p->value.shape()) || t->dtype() != p->value.dtype()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": ", p->name, " is ", Describe(*t), ", but this run's is ", Describe(p->value)));
    }
    p->value = t->To(p->value.device());
  }
  return absl::OkStatus();
}

absl::Status LoadMoments(const std::string& path, int64_t steps, AdamW& optimizer) {
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> file = OpenFile(path);
  if (!file.ok()) return file.status();
  uint64_t offset = 0;
  return optimizer.LoadState(steps, [&](const StateTensor& info, int64_t begin, int64_t end) -> absl::StatusOr<Tensor> {
    Tensor t = Tensor::Empty({end - begin}, info.dtype);
    absl::Status s = (*file)->Read(offset, t.raw(), static_cast<size_t>(t.nbytes()));
    if (!s.ok()) return s;
    offset += static_cast<uint64_t>(t.nbytes());
    return t;
  });
}

}  // namespace

absl::Status SaveTrainState(absl::FunctionRef<std::string(absl::string_view)> path_of,
                            const std::vector<Parameter*>& parameters, AdamW& optimizer,
                            const TrainProgress& progress) {
  if (absl::Status s = SaveParameters(path_of("trainable.safetensors"), parameters); !s.ok()) return s;
  if (absl::Status s = SaveMoments(path_of("optimizer.bin"), optimizer); !s.ok()) return s;
  nlohmann::ordered_json j;
  j["format"] = kFormat;
  j["step"] = progress.step;
  j["optimizer_steps"] = optimizer.steps();
  if (std::isfinite(progress.best_eval_loss)) j["best_eval_loss"] = progress.best_eval_loss;
  if (std::isfinite(progress.first_eval_loss)) j["first_eval_loss"] = progress.first_eval_loss;
  j["fingerprint"] = progress.fingerprint;
  return WriteFileAtomically(path_of("progress.json"), j.dump(2) + "\n");
}

absl::StatusOr<TrainProgress> LoadTrainState(const std::string& directory, const std::vector<Parameter*>& parameters,
                                             AdamW& optimizer, const std::string& fingerprint) {
  const std::string path = directory + "/progress.json";
  absl::StatusOr<std::string> text = ReadFileToString(path, 1 << 20);
  if (!text.ok()) return text.status();
  const nlohmann::json j = nlohmann::json::parse(*text, nullptr, false);
  if (!j.is_object() || !j.value("step", nlohmann::json()).is_number_integer() ||
      !j.value("optimizer_steps", nlohmann::json()).is_number_integer() ||
      !j.value("fingerprint", nlohmann::json()).is_string()) {
    return absl::DataLossError(absl::StrCat(path, ": not a training state; is the checkpoint damaged?"));
  }
  if (j.value("format", 0) != kFormat) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": format ", j.value("format", 0), ", but this program reads ", kFormat));
  }
  TrainProgress progress;
  progress.fingerprint = j["fingerprint"].get<std::string>();
  if (progress.fingerprint != fingerprint) {
    return absl::InvalidArgumentError(
        absl::StrCat(directory, ": the checkpoint belongs to another run.\n  checkpoint: ", progress.fingerprint,
                     "\n  this run:   ", fingerprint, "\nGive the same flags and files, or another --output_dir"));
  }
  progress.step = j["step"].get<int64_t>();
  if (j.contains("best_eval_loss") && j["best_eval_loss"].is_number())
    progress.best_eval_loss = j["best_eval_loss"].get<double>();
  if (j.contains("first_eval_loss") && j["first_eval_loss"].is_number())
    progress.first_eval_loss = j["first_eval_loss"].get<double>();
  if (absl::Status s = LoadParameters(directory + "/trainable.safetensors", parameters); !s.ok()) return s;
  if (absl::Status s = LoadMoments(directory + "/optimizer.bin", j["optimizer_steps"].get<int64_t>(), optimizer);
      !s.ok())
    return s;
  return progress;
}

}  // namespace lorikeet
