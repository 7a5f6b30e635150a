// The logits of a model, with or without an adapter, for scripts that compare them with another implementation's.
//
//   logits --model=DIR --adapter=DIR --tokens=tokens.safetensors --output=logits.safetensors
//
// `tokens` i32 [sequences, length] in the one file, `logits` f32 [sequences, length, vocabulary] in the other.
#include <memory>
#include <string>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "apps/model/adapted_model.h"
#include "apps/model/model_flags.h"
#include "apps/program.h"
#include "tensor/dtype.h"
#include "tensor/io/safetensors.h"
#include "tensor/io/safetensors_writer.h"
#include "tensor/tensor.h"
#include "tests/testing/sequences.h"

ABSL_FLAG(std::string, tokens, "", "safetensors file to read");
ABSL_FLAG(std::string, output, "", "safetensors file to write");

namespace lorikeet {
namespace {

absl::Status Run() {
  const absl::StatusOr<std::unique_ptr<SafetensorsFile>> file = SafetensorsFile::Open(absl::GetFlag(FLAGS_tokens));
  if (!file.ok()) return file.status();
  const absl::StatusOr<Tensor> tokens = (*file)->Read("tokens");
  if (!tokens.ok()) return tokens.status();
  if (tokens->rank() != 2) return absl::InvalidArgumentError("--tokens: expected [sequences, length]");
  const absl::StatusOr<AdaptedModel> m = OpenModelFromFlags("f32");
  if (!m.ok()) return m.status();
  const Tensor logits = m->base.lm->Logits(m->base.lm->Hidden(SequencesOf(*tokens), nullptr).value());
  const Tensor shaped = logits.Cast(DType::kF32).Reshape({tokens->dim(0), tokens->dim(1), -1});
  return WriteSafetensors(absl::GetFlag(FLAGS_output), {{"logits", shaped}}, {{"format", "pt"}});
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) {
  lorikeet::StartProgram(argc, argv, "Writes a model's logits.\n  logits --model=DIR --tokens=FILE --output=FILE");
  return lorikeet::ExitCode(lorikeet::Run());
}
