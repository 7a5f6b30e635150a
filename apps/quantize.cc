// Writes a 4-bit checkpoint that transformers with bitsandbytes, and Lorikeet, load.
//
//   1  stream the model in, every linear layer but the head in 4 bits (one dense tensor in memory at a time)
//   2  write codes, scales and the dense rest into DIR.partial
//   3  compare with the original weights, tensor by tensor
//   4  rename DIR.partial to DIR
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

absl::Status CheckNotPacked(const TensorSource& source) {
  for (const TensorInfo& info : source.tensors()) {
    if (IsNf4QuantState(info.name))
      return absl::InvalidArgumentError(
          absl::StrCat(source.where(), " is in 4 bits already; give --model the original weights"));
  }
  return absl::OkStatus();
}

std::string Provenance(const OpenedModel& m, const Nf4Options& quant, double relative_error) {
  const nlohmann::ordered_json json = {{"program", "quantize"},
                                       {"model", m.path},
                                       {"quant_type", quant.kind == Nf4Kind::kFp4 ? "fp4" : "nf4"},
                                       {"quant_block_size", quant.block},
                                       {"double_quant", quant.double_quant},
                                       {"relative_error", relative_error}};
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

void Report(int64_t before, int64_t after, const MeasureError& e) {
  const double n = static_cast<double>(e.weights);
  std::printf("wrote %s\n", absl::GetFlag(FLAGS_output_dir).c_str());
  std::printf("tensors   %lld bytes before, %lld after (%.1f %%)\n", static_cast<long long>(before),
              static_cast<long long>(after), 100.0 * static_cast<double>(after) / static_cast<double>(before));
  std::printf("in 4 bits %lld layers, %lld weights: mean |error| %.3g, %.2f %% of the mean |weight|\n",
              static_cast<long long>(e.layers), static_cast<long long>(e.weights), e.error / n,
              100 * e.error / e.magnitude);
}

absl::Status Run() {
  if (!absl::GetFlag(FLAGS_adapter).empty())
    return absl::InvalidArgumentError(
        "--adapter: 4 bits would lose most of what an adapter learned; quantize the base and keep the adapter beside "
        "it, or merge first");
  absl::StatusOr<std::unique_ptr<OutputDirectory>> out = OutputDirectory::Create(absl::GetFlag(FLAGS_output_dir));
  if (!out.ok()) return out.status();
  absl::StatusOr<OpenOptions> options = OpenOptionsFromFlags("bf16");
  if (!options.ok()) return options.status();
  options->use = WeightUse::kQuantized;
  const absl::StatusOr<OpenedModel> m = OpenModel(absl::GetFlag(FLAGS_model), *options);
  if (!m.ok()) return m.status();
  PrintWarnings(*m);
  const TensorSource& original = m->files->weights();
  if (absl::Status s = CheckNotPacked(original); !s.ok()) return s;
  SetDecodedDType set_dtype(options->compute_dtype);
  m->lm->Visit(set_dtype);
  const StoredSource stored(*m->lm, options->compute_dtype);
  if (absl::Status s =
          SaveModel((*out)->path(), m->files->config(), m->files->tokenizer_files(), stored,
                    {.dtype = options->compute_dtype,
                     .quantization_config = Nf4QuantizationConfig(options->quant, options->compute_dtype)});
      !s.ok())
    return s;
  MeasureError error(original);
  m->lm->Visit(error);
  if (!error.status.ok()) return error.status;
  if (absl::Status s = (*out)->Commit(Provenance(*m, options->quant, error.error / error.magnitude)); !s.ok()) return s;
  Report(Bytes(original), Bytes(stored), error);
  return absl::OkStatus();
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) {
  lorikeet::StartProgram(argc, argv,
                         "Writes a model's linear layers in 4 bits, as transformers and bitsandbytes store them.\n"
                         "  quantize --model=DIR_OR_GGUF --output_dir=DIR\n"
                         "--compute_dtype is that of the rest, the embedding and the norms (auto: bf16).");
  return lorikeet::ExitCode(lorikeet::Run());
}
