// Writes a 4-bit checkpoint that transformers with bitsandbytes, and Lorikeet, load.
//
//   1  stream the model in, every linear layer but the head in 4 bits (one dense tensor in memory at a time)
//   2  write codes, scales and the dense rest into DIR.partial
//   3  compare with the original weights, tensor by tensor
//   4  rename DIR.partial to DIR
//
// A model that is in 4 bits already is written again, byte for byte.
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "apps/model/model_flags.h"
#include "apps/model/open_model.h"
#include "apps/model/output_directory.h"
#include "apps/model/save_model.h"
#include "apps/model/stored_source.h"
#include "apps/program.h"
#include "nlohmann/json.hpp"
#include "nn/linear_map.h"
#include "nn/module.h"
#include "quant/bnb_checkpoint.h"
#include "quant/nf4.h"
#include "quant/nf4_map.h"
#include "tensor/dtype.h"
#include "tensor/io/tensor_source.h"
#include "tensor/tensor.h"

ABSL_FLAG(std::string, output_dir, "", "directory to write");

namespace lorikeet {
namespace {

// Lets packed weights decode to `dtype`, whatever the original was: transformers multiplies in the dtype that a weight
// decodes to, and the rest of the model must be in it too.
class SetDecodedDType : public Visitor {
 public:
  explicit SetDecodedDType(DType dtype) : dtype_(dtype) {}

 protected:
  void VisitSlot(absl::string_view, MapSlot& slot) override {
    const Nf4Map* map = dynamic_cast<const Nf4Map*>(slot.map.get());
    if (map == nullptr) return;
    Nf4Tensor w = map->weight();
    w.dtype = dtype_;
    slot.map = std::make_unique<Nf4Map>(std::move(w));
  }

 private:
  const DType dtype_;
};

// Mean |w - decoded(w)| and mean |w| over the 4-bit weights, reading each original once more.
class MeasureError : public Visitor {
 public:
  explicit MeasureError(const TensorSource& original) : original_(original) {}
  absl::Status status;
  int64_t layers = 0, weights = 0;
  double error = 0, magnitude = 0;  // sums until Finish

 protected:
  void VisitSlot(absl::string_view name, MapSlot& slot) override {
    const Nf4Map* map = dynamic_cast<const Nf4Map*>(slot.map.get());
    if (map == nullptr || !status.ok()) return;
    const absl::StatusOr<Tensor> w = original_.Read(absl::StrCat(name, ".weight"));
    if (!w.ok()) {
      status = w.status();
      return;
    }
    Add(slot.Turned(*w).Cast(DType::kF32), Dequantize(map->weight(), DType::kF32));
  }

 private:
  void Add(const Tensor& w, const Tensor& decoded) {
    const absl::Span<const float> x = w.data<float>(), y = decoded.data<float>();
    for (size_t i = 0; i < x.size(); ++i) {
      error += std::abs(double{x[i]} - double{y[i]});
      magnitude += std::abs(double{x[i]});
    }
    ++layers;
    weights += w.size();
  }
  const TensorSource& original_;
};

int64_t Bytes(const TensorSource& source) {
  int64_t bytes = 0;
  for (const TensorInfo& info : source.tensors()) bytes += info.bytes;
  return bytes;
}

nlohmann::ordered_json Provenance(const OpenedModel& m) { return {{"program", "quantize"}, {"model", m.path}}; }

absl::Status Commit(OutputDirectory& out, const nlohmann::ordered_json& provenance) {
  if (absl::Status s = out.Commit(provenance.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
      !s.ok())
    return s;
  std::printf("wrote %s\n", absl::GetFlag(FLAGS_output_dir).c_str());
  return absl::OkStatus();
}

absl::Status Quantize(const OpenOptions& options, OpenedModel& m, OutputDirectory& out) {
  const TensorSource& original = m.files->weights();
  SetDecodedDType set_dtype(options.compute_dtype);
  m.lm->Visit(set_dtype);
  const StoredSource stored(*m.lm, options.compute_dtype);
  if (absl::Status s = SaveModel(out.path(), m.files->config(), m.files->tokenizer_files(), stored,
                                 {.dtype = options.compute_dtype,
                                  .quantization_config = Nf4QuantizationConfig(options.quant, options.compute_dtype)});
      !s.ok())
    return s;
  MeasureError e(original);
  m.lm->Visit(e);
  if (!e.status.ok()) return e.status;
  nlohmann::ordered_json provenance = Provenance(m);
  provenance["quant_type"] = Name(options.quant.kind);
  provenance["quant_block_size"] = options.quant.block;
  provenance["double_quant"] = options.quant.double_quant;
  provenance["relative_error"] = e.error / e.magnitude;
  if (absl::Status s = Commit(out, provenance); !s.ok()) return s;
  const int64_t before = Bytes(original), after = Bytes(stored);
  std::printf("tensors   %lld bytes before, %lld after (%.1f %%)\n", static_cast<long long>(before),
              static_cast<long long>(after), 100.0 * static_cast<double>(after) / static_cast<double>(before));
  std::printf("in 4 bits %lld layers, %lld weights: mean |error| %.3g, %.2f %% of the mean |weight|\n",
              static_cast<long long>(e.layers), static_cast<long long>(e.weights),
              e.error / static_cast<double>(e.weights), 100 * e.error / e.magnitude);
  return absl::OkStatus();
}

// Through the model and out again: dtypes, shards and config.json are the original's.
absl::Status WriteAgain(const OpenOptions& options, OpenedModel& m, OutputDirectory& out) {
  if (!(options.quant == Nf4Options{}))
    return absl::InvalidArgumentError(
        absl::StrCat(m.path,
                     " is in 4 bits already, which --bnb_4bit_quant_type, --bnb_4bit_use_double_quant and "
                     "--quant_block_size cannot change; give --model the original weights"));
  const StoredSource stored(*m.lm, m.files->weights());
  if (absl::Status s = SaveModel(out.path(), m.files->config(), m.files->tokenizer_files(), stored,
                                 {.config_json = m.files->config_json()});
      !s.ok())
    return s;
  if (absl::Status s = Commit(out, Provenance(m)); !s.ok()) return s;
  std::printf("%s is in 4 bits already: written again as it is\n", m.path.c_str());
  return absl::OkStatus();
}

absl::Status Run() {
  if (!absl::GetFlag(FLAGS_adapter).empty())
    return absl::InvalidArgumentError(
        "--adapter: 4 bits may lose what an adapter learned (merge says how much); quantize the base and keep the "
        "adapter beside it, or merge first");
  absl::StatusOr<std::unique_ptr<OutputDirectory>> out = OutputDirectory::Create(absl::GetFlag(FLAGS_output_dir));
  if (!out.ok()) return out.status();
  absl::StatusOr<OpenOptions> options = OpenOptionsFromFlags("bf16");
  if (!options.ok()) return options.status();
  absl::StatusOr<OpenedModel> m = OpenWithoutWeights(absl::GetFlag(FLAGS_model));
  if (!m.ok()) return m.status();
  const bool packed = HoldsNf4(m->files->weights());
  options->use = WeightUse::kQuantized;
  if (packed) options->compute_dtype = DType::kF32;  // which changes no bit of the dense rest
  if (absl::Status s = LoadWeights(*options, &*m); !s.ok()) return s;
  PrintWarnings(*m);
  return packed ? WriteAgain(*options, *m, **out) : Quantize(*options, *m, **out);
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) {
  lorikeet::StartProgram(
      argc, argv,
      "Writes a model's linear layers in 4 bits, as transformers and bitsandbytes store them.\n"
      "  quantize --model=DIR_OR_GGUF --output_dir=DIR\n"
      "--compute_dtype is that of the rest, the embedding and the norms (auto: bf16). A model that is in "
      "4 bits already is written again as it is.");
  return lorikeet::ExitCode(lorikeet::Run());
}
