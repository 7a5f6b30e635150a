#include "apps/model/model_flags.h"

#include <cstdio>
#include <string>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "apps/model/choose_device.h"
#include "tensor/dtype.h"
#include "tensor/kernels/parallel.h"

ABSL_FLAG(
    std::string, model, "",
    "Hugging Face directory or .gguf file; empty: the adapter's base, or the small model that comes with Lorikeet");
ABSL_FLAG(std::string, adapter, "", "directory of a LoRA or DoRA adapter in PEFT's format; empty: none");
ABSL_FLAG(std::string, compute_dtype, "auto", "bf16, f32, or auto: what suits the program and the processor");
ABSL_FLAG(std::string, device, "auto", "auto, cpu or cuda: the GPU if there is one that works, else the CPU");
ABSL_FLAG(int, threads, 0, "CPU threads; 0: all that the process may use. Results do not depend on it");
ABSL_FLAG(bool, load_in_4bit, false,
          "quantize the base on loading, as qlora and qdora did when they trained the adapter");
ABSL_FLAG(std::string, bnb_4bit_quant_type, "nf4", "nf4 or fp4");
ABSL_FLAG(int, quant_block_size, 64, "weights that share a scale: 32, 64, ... 4096");
ABSL_FLAG(bool, bnb_4bit_use_double_quant, true, "quantize the scales too");

namespace lorikeet {

absl::StatusOr<Nf4Options> QuantOptionsFromFlags() {
  const absl::StatusOr<Nf4Kind> kind = ParseNf4Kind(absl::GetFlag(FLAGS_bnb_4bit_quant_type));
  if (!kind.ok()) return absl::InvalidArgumentError(absl::StrCat("--bnb_4bit_quant_type=", kind.status().message()));
  const Nf4Options options = {.kind = *kind,
                              .block = absl::GetFlag(FLAGS_quant_block_size),
                              .double_quant = absl::GetFlag(FLAGS_bnb_4bit_use_double_quant)};
  if (absl::Status s = Validate(options); !s.ok()) return s;
  return options;
}

absl::StatusOr<OpenOptions> OpenOptionsFromFlags(absl::string_view auto_dtype) {
  const absl::StatusOr<DeviceChoice> device = ChooseDevice(absl::GetFlag(FLAGS_device));
  if (!device.ok()) return device.status();
  if (absl::GetFlag(FLAGS_threads) < 0)
    return absl::InvalidArgumentError(
        absl::StrCat("--threads=", absl::GetFlag(FLAGS_threads), ": expected 0 (all) or more"));
  SetNumThreads(absl::GetFlag(FLAGS_threads));
  const std::string name = absl::GetFlag(FLAGS_compute_dtype);
  const absl::StatusOr<DType> dtype = ParseComputeDtype(name == "auto" ? auto_dtype : name, device->device);
  if (!dtype.ok()) return dtype.status();
  const absl::StatusOr<Nf4Options> quant = QuantOptionsFromFlags();
  if (!quant.ok()) return quant.status();
  const WeightUse use = absl::GetFlag(FLAGS_load_in_4bit) ? WeightUse::kQuantized : WeightUse::kFrozen;
  return OpenOptions{.compute_dtype = *dtype, .use = use, .quant = *quant, .device = device->device};
}

absl::StatusOr<AdaptedModel> OpenModelFromFlags(absl::string_view auto_dtype) {
  const absl::StatusOr<OpenOptions> options = OpenOptionsFromFlags(auto_dtype);
  if (!options.ok()) return options.status();
  absl::StatusOr<AdaptedModel> m = OpenAdaptedModel(absl::GetFlag(FLAGS_model), absl::GetFlag(FLAGS_adapter), *options);
  if (m.ok()) PrintWarnings(m->base);
  return m;
}

void PrintWarnings(const OpenedModel& model) {
  for (const std::string& warning : model.warnings) std::fprintf(stderr, "warning: %s\n", warning.c_str());
}

}  // namespace lorikeet
