#include "apps/model/save_gguf.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "apps/text/gguf_export.h"
#include "autograd/parameter.h"
#include "nn/gguf_architecture.h"
#include "nn/gguf_export.h"
#include "nn/linear_map.h"
#include "nn/module.h"
#include "nn/rope_factors.h"
#include "peft/adapter_map.h"
#include "peft/adapter_tensors.h"
#include "peft/dora_map.h"
#include "tensor/io/gguf_blocks.h"
#include "tensor/ops/elementwise.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

constexpr uint32_t kQuantizationVersion = 2;  // of ggml's block formats

struct FileType {
  const char* name;
  uint32_t id;  // general.file_type
};
constexpr FileType kFileTypes[] = {{"F32", 0}, {"F16", 1}, {"Q4_0", 2}, {"Q4_1", 3}, {"Q8_0", 7}, {"BF16", 32}};

const FileType* FindFileType(absl::string_view name) {
  for (const FileType& type : kFileTypes) {
    if (name == type.name) return &type;
  }
  return nullptr;
}

const GgufFormat* FormatFor(absl::string_view name, const Shape& shape, const std::string& type) {
  if (shape.rank() < 2) return FindGgufFormat("F32");
  const bool large = name == "token_embd.weight" || name == "output.weight";
  const GgufFormat* format = FindGgufFormat(large && absl::StartsWith(type, "Q4") ? "Q8_0" : type);
  return shape[-1] % format->block == 0 ? format : FindGgufFormat("F16");
}

// llama.cpp takes a model with phi3 in its name for Phi-3 itself, and refuses it without the tokens that this has
// (0.3.36: "error loading model vocabulary: unordered_map::at"). Such a file is better off without a name.
std::string NameFor(const std::string& name, const text::GgufTokenizerMetadata& tokenizer) {
  const std::string lower = absl::AsciiStrToLower(name);
  if (!absl::StrContains(lower, "phi3") && !absl::StrContains(lower, "phi-3")) return name;
  for (const char* token : {"</s>", "<s>", "<unk>", "<|endoftext|>"}) {
    if (!absl::c_linear_search(tokenizer.tokens, token)) return "";
  }
  return name;
}

void AddFileValues(const char* kind, const std::string& name, uint32_t file_type, GgufValues* values) {
  values->String("general.type", kind);
  if (!name.empty()) values->String("general.name", name);
  values->U32("general.file_type", file_type);
  values->U32("general.quantization_version", kQuantizationVersion);
}

absl::StatusOr<const GgufArchitecture*> ArchitectureOf(const ModelConfig& config) {
  if (const GgufArchitecture* known = GgufArchitectureOf(config.model_type)) return known;
  return absl::InvalidArgumentError(absl::StrCat("a model of type ", config.model_type,
                                                 " cannot be written as GGUF; what can is ", KnownGgufArchitectures()));
}

absl::StatusOr<std::vector<GgufSpec>> PlanTensors(const GgufArchitecture& architecture, const ModelConfig& config,
                                                  const TensorSource& source, const std::string& type) {
  std::vector<GgufSpec> specs;
  for (const RopeTensor& t : RopeTensors(config)) specs.push_back({t.name, FindGgufFormat("F32"), t.factors.shape()});
  for (const TensorInfo& t : source.tensors()) {
    const std::string name = GgufName(architecture, t.name);
    if (name.empty())
      return absl::InvalidArgumentError(
          absl::StrCat(source.where(), ": ", t.name, " has no name in GGUF; write --output_dir instead"));
    specs.push_back({name, FormatFor(name, t.shape, type), t.shape});
  }
  return specs;
}

// One adapted weight: its factors over the weight that the base's file holds.
struct Pair {
  std::string name;
  Tensor a, b;
  float alpha;  // scaling * rank
};

class CollectPairs : public Visitor {
 public:
  explicit CollectPairs(const GgufArchitecture& architecture) : architecture_(architecture) {}
  std::vector<Pair> pairs;
  absl::Status status;

 protected:
  void VisitLeaf(absl::string_view name, Parameter& p) override {
    if (p.trainable) RefuseWhole(name);
  }
  void VisitSlot(absl::string_view path, MapSlot& slot) override {
    const AdapterMap* map = dynamic_cast<const AdapterMap*>(slot.map.get());
    if (map == nullptr) {
      if (!slot.map->frozen()) RefuseWhole(path);
      return;
    }
    if (dynamic_cast<const DoraMap*>(map) != nullptr) {
      status.Update(absl::InvalidArgumentError(
          "DoRA's row lengths have no place in a GGUF adapter; merge it into the model instead, with --gguf"));
    } else if (slot.embedding) {
      status.Update(absl::InvalidArgumentError(
          absl::StrCat(path,
                       " is an adapted embedding, which a GGUF adapter cannot hold; merge it into the model "
                       "instead, with --gguf")));
    }
    auto [a, b] = FactorsOnDisk(*map);
    const float alpha = map->scaling() * static_cast<float>(a.dim(0));
    pairs.push_back({GgufName(architecture_, absl::StrCat(path, ".weight")), std::move(a), std::move(b), alpha});
  }

 private:
  const GgufArchitecture& architecture_;
  void RefuseWhole(absl::string_view name) {
    status.Update(absl::InvalidArgumentError(absl::StrCat(
        name,
        " trains beside the adapters (modules_to_save, bias, trainable_token_indices), which a GGUF adapter "
        "cannot hold; merge it into the model instead, with --gguf")));
  }
};

}  // namespace

absl::Status CheckGgufType(const std::string& type) {
  if (FindFileType(type) != nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("\"", type, "\": expected f32, f16, bf16, q8_0, q4_0 or q4_1"));
}

absl::StatusOr<std::unique_ptr<GgufWriter>> WriteGguf(const std::string& path, const ModelConfig& config,
                                                      const text::GgufTokenizerMetadata& tokenizer,
                                                      const TensorSource& source, const SaveGgufOptions& options) {
  if (absl::Status s = CheckGgufType(options.type); !s.ok()) return s;
  const absl::StatusOr<const GgufArchitecture*> architecture = ArchitectureOf(config);
  if (!architecture.ok()) return architecture.status();
  if (absl::Status s = CheckGgufRope(config); !s.ok()) return s;
  absl::StatusOr<std::vector<GgufSpec>> specs = PlanTensors(**architecture, config, source, options.type);
  if (!specs.ok()) return specs.status();
  GgufValues values;
  AddModelValues(config, &values);
  AddFileValues("model", NameFor(options.name, tokenizer), FindFileType(options.type)->id, &values);
  text::AddTokenizerValues(tokenizer, &values);
  absl::StatusOr<std::unique_ptr<GgufWriter>> writer = GgufWriter::Create(path, values, *std::move(specs));
  if (!writer.ok()) return writer;
  for (const RopeTensor& t : RopeTensors(config)) {
    if (absl::Status s = (*writer)->Write(t.name, t.factors); !s.ok()) return s;
  }
  for (const TensorInfo& t : source.tensors()) {
    const absl::StatusOr<Tensor> w = source.Read(t.name);
    if (!w.ok()) return w.status();
    const std::string name = GgufName(**architecture, t.name);
    if (absl::Status s = (*writer)->Write(name, ToGguf(**architecture, config, name, *w)); !s.ok()) return s;
  }
  return writer;
}

absl::StatusOr<std::unique_ptr<GgufWriter>> WriteGgufAdapter(const std::string& path, CausalLm& model) {
  if (absl::Status s = AdapterTensors(model).status(); !s.ok()) return s;
  const absl::StatusOr<const GgufArchitecture*> architecture = ArchitectureOf(model.config());
  if (!architecture.ok()) return architecture.status();
  CollectPairs collect(**architecture);
  model.Visit(collect);
  if (!collect.status.ok()) return collect.status;
  // With the first module's alpha, nothing is worked into B where all are alike.
  const float alpha = collect.pairs[0].alpha;
  GgufValues values;
  values.String("general.architecture", (*architecture)->name);
  AddFileValues("adapter", "", FindFileType("F32")->id, &values);
  values.String("adapter.type", "lora");
  values.F32("adapter.lora.alpha", alpha);
  std::vector<GgufSpec> specs;
  for (const Pair& p : collect.pairs) {
    specs.push_back({p.name + ".lora_a", FindGgufFormat("F32"), p.a.shape()});
    specs.push_back({p.name + ".lora_b", FindGgufFormat("F32"), p.b.shape()});
  }
  absl::StatusOr<std::unique_ptr<GgufWriter>> writer = GgufWriter::Create(path, values, std::move(specs));
  if (!writer.ok()) return writer;
  for (const Pair& p : collect.pairs) {
    const float factor = p.alpha / alpha;
    const Tensor b = ToGguf(**architecture, model.config(), p.name, p.b);
    if (absl::Status s = (*writer)->Write(p.name + ".lora_a", p.a); !s.ok()) return s;
    if (absl::Status s = (*writer)->Write(p.name + ".lora_b", factor == 1 ? b : tensor::Scale(b, factor)); !s.ok())
      return s;
  }
  return writer;
}

absl::Status CheckGgufTarget(const std::string& path, const std::string& model) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) return absl::OkStatus();
  char magic[4] = {};
  if (std::filesystem::is_regular_file(status)) std::ifstream(path, std::ios::binary).read(magic, sizeof(magic));
  if (absl::string_view(magic, sizeof(magic)) != "GGUF")
    return absl::InvalidArgumentError(
        absl::StrCat(path, " exists and is not a GGUF file; it would be lost, so give another name"));
  if (!model.empty() && std::filesystem::equivalent(path, model, error))
    return absl::InvalidArgumentError(absl::StrCat(path, " is the model itself; give another name"));
  return absl::OkStatus();
}

}  // namespace lorikeet
