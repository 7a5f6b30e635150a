#include "apps/model/open_model.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "apps/model/nf4_factory.h"
#include "apps/model/zstd_file.h"
#include "apps/program.h"
#include "apps/text/gguf_tokenizer.h"
#include "nn/gguf_model.h"
#include "nn/host_embedding.h"
#include "nn/load.h"
#include "quant/bnb_checkpoint.h"
#include "quant/nf4_map.h"
#include "tensor/io/device_source.h"
#include "tensor/io/file.h"
#include "tensor/io/gguf.h"
#include "tensor/io/safetensors.h"
#include "tensor/io/sharded_safetensors.h"
#include "tensor/ops/matmul.h"

namespace lorikeet {
namespace {

constexpr int64_t kMaxConfigBytes = 16 << 20;
constexpr uint64_t kMaxCompressedModelBytes = uint64_t{1} << 30;  // decoded

// A directory's safetensors, in one file or in shards; or compressed, as a small model may be stored.
absl::StatusOr<std::unique_ptr<TensorSource>> OpenWeights(const std::string& directory) {
  absl::StatusOr<std::unique_ptr<TensorSource>> plain = OpenSafetensorsDirectory(directory);
  const std::string compressed = directory + "/model.safetensors.zst";
  if (plain.ok() || !absl::IsNotFound(plain.status()) || access(compressed.c_str(), F_OK) != 0) return plain;
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> decoded = OpenZstdFile(compressed, kMaxCompressedModelBytes);
  if (!decoded.ok()) return decoded.status();
  absl::StatusOr<std::unique_ptr<SafetensorsFile>> file = SafetensorsFile::Open(*std::move(decoded));
  if (!file.ok()) return file.status();
  return *std::move(file);
}

class DirectoryFiles : public ModelFiles {
 public:
  static absl::StatusOr<std::unique_ptr<ModelFiles>> Open(const std::string& path) {
    auto files = std::make_unique<DirectoryFiles>();
    const std::string config_path = path + "/config.json";
    absl::StatusOr<std::string> json = ReadFileToString(config_path, kMaxConfigBytes);
    if (!json.ok()) return json.status();
    absl::StatusOr<ModelConfig> config = ParseModelConfig(*json, config_path);
    if (!config.ok()) return config.status();
    files->config_ = *std::move(config);
    files->config_json_ = *std::move(json);
    absl::StatusOr<std::unique_ptr<TensorSource>> weights = OpenWeights(path);
    if (!weights.ok()) return weights.status();
    files->weights_ = UnderModelNames(*std::move(weights), files->config_);
    absl::StatusOr<text::TokenizerFiles> texts = text::ReadTokenizerFiles(path);
    if (!texts.ok()) return texts.status();
    files->texts_ = *std::move(texts);
    absl::StatusOr<text::BpeSpec> spec = text::TokenizerSpecFromJson(files->texts_);
    if (!spec.ok()) return absl::Status(spec.status().code(), absl::StrCat(path, ": ", spec.status().message()));
    files->spec_ = *std::move(spec);
    return std::unique_ptr<ModelFiles>(std::move(files));
  }

  const ModelConfig& config() const override { return config_; }
  const std::string& config_json() const override { return config_json_; }
  const TensorSource& weights() const override { return *weights_; }
  const text::BpeSpec& tokenizer_spec() const override { return spec_; }
  const text::TokenizerFiles& tokenizer_files() const override { return texts_; }

 private:
  ModelConfig config_;
  std::string config_json_;
  std::unique_ptr<TensorSource> weights_;
  text::TokenizerFiles texts_;
  text::BpeSpec spec_;
};

class GgufFiles : public ModelFiles {
 public:
  static absl::StatusOr<std::unique_ptr<ModelFiles>> Open(const std::string& path) {
    auto files = std::make_unique<GgufFiles>();
    absl::StatusOr<std::unique_ptr<GgufFile>> file = GgufFile::Open(path);
    if (!file.ok()) return file.status();
    files->file_ = *std::move(file);
    absl::StatusOr<ModelConfig> config = ModelConfigFromGguf(*files->file_);
    if (!config.ok()) return config.status();
    files->config_ = *std::move(config);
    files->weights_ = std::make_unique<GgufModelSource>(*files->file_, files->config_);
    absl::StatusOr<text::BpeSpec> spec = text::TokenizerSpecFromGguf(files->file_->metadata());
    if (!spec.ok()) return absl::Status(spec.status().code(), absl::StrCat(path, ": ", spec.status().message()));
    files->spec_ = *std::move(spec);
    files->texts_.tokenizer_json = text::ToTokenizerJson(files->spec_);
    files->texts_.tokenizer_config_json = text::ToTokenizerConfigJson(files->spec_);
    return std::unique_ptr<ModelFiles>(std::move(files));
  }

  const ModelConfig& config() const override { return config_; }
  const std::string& config_json() const override { return config_json_; }
  const TensorSource& weights() const override { return *weights_; }
  const text::BpeSpec& tokenizer_spec() const override { return spec_; }
  const text::TokenizerFiles& tokenizer_files() const override { return texts_; }

 private:
  std::unique_ptr<GgufFile> file_;
  ModelConfig config_;
  std::string config_json_;  // there is none
  std::unique_ptr<GgufModelSource> weights_;
  text::TokenizerFiles texts_;
  text::BpeSpec spec_;
};

// A weight that the file already holds in 4 bits, or nullptr. Its tensors are asked of `source`, and read from `files`
// into host memory, where they are checked.
absl::StatusOr<std::unique_ptr<LinearMap>> PackedMap(absl::string_view name, const TensorSource& source,
                                                     const TensorSource& files, Device device) {
  const std::string weight = absl::StrCat(name, ".weight");
  std::vector<std::string> names;
  bool packed = false;
  for (const TensorInfo& t : source.tensors()) {
    if (!absl::StartsWith(t.name, weight) || source.Find(t.name) == nullptr) continue;
    names.push_back(t.name);
    packed |= IsNf4QuantState(t.name);
  }
  if (!packed) return std::unique_ptr<LinearMap>();
  absl::StatusOr<Nf4Tensor> q = Nf4FromCheckpoint(weight, names, [&](absl::string_view n) { return files.Read(n); });
  if (!q.ok()) return absl::Status(q.status().code(), absl::StrCat(source.where(), ": ", q.status().message()));
  return std::make_unique<Nf4Map>(q->To(device));
}

// Makes each slot's map: packed as it lies in the file, quantized on the way, or dense.
MapFactory FactoryFor(const OpenOptions& options, const TensorSource& files) {
  const bool trainable = options.use == WeightUse::kTrainable;
  const MapFactory dense = DenseFactory(options.compute_dtype, trainable);
  const MapFactory four_bit = Nf4Factory(options.compute_dtype, options.quant);
  const MapFactory factory = [=, &files](absl::string_view name, const MapSlot& slot,
                                         const TensorSource& source) -> absl::StatusOr<std::unique_ptr<LinearMap>> {
    absl::StatusOr<std::unique_ptr<LinearMap>> packed = PackedMap(name, source, files, options.device);
    if (!packed.ok()) return packed.status();
    if (*packed != nullptr) {
      if (trainable) {
        return absl::InvalidArgumentError(absl::StrCat(
            source.where(), ": ", name,
            " is stored in 4 bits and cannot be trained whole; use --method=qlora, or an unquantized model"));
      }
      if ((*packed)->in_features() != slot.in_features || (*packed)->out_features() != slot.out_features) {
        return absl::InvalidArgumentError(
            absl::StrCat(source.where(), ": ", name, " is [", (*packed)->out_features(), ",", (*packed)->in_features(),
                         "], but the configuration asks for [", slot.out_features, ",", slot.in_features, "]"));
      }
      return packed;
    }
    // What a 4-bit checkpoint leaves dense was left so on purpose.
    const bool quantize = options.use == WeightUse::kQuantized && !HoldsNf4(source);
    return (quantize ? four_bit : dense)(name, slot, source);
  };
  return options.offload_embeddings ? EmbeddingsInHostMemory(factory) : factory;
}

absl::Status CheckOffload(const OpenOptions& options, const std::string& path, const ModelConfig& config) {
  if (!options.offload_embeddings || !config.tie_word_embeddings || options.device.is_cpu()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--offload_embeddings: the head of ", path,
                   " is its embedding, which every step reads whole; leave the flag out for this model"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ModelFiles>> OpenModelFiles(const std::string& path) {
  struct stat st;
  if (stat(path.c_str(), &st) != 0) {
    return absl::NotFoundError(
        absl::StrCat(path, ": no such file or directory; --model is a Hugging Face directory or a .gguf file"));
  }
  absl::StatusOr<std::unique_ptr<ModelFiles>> files =
      S_ISDIR(st.st_mode) ? DirectoryFiles::Open(path) : GgufFiles::Open(path);
  if (!files.ok()) return files;
  const int64_t rows = (*files)->config().vocab_size, tokens = (*files)->tokenizer_spec().num_tokens();
  if (tokens > rows) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": the tokenizer has ", tokens, " tokens, but the model's embedding only ", rows, " rows"));
  }
  return files;
}

bool HoldsNf4(const TensorSource& source) {
  const std::vector<TensorInfo>& tensors = source.tensors();
  return std::any_of(tensors.begin(), tensors.end(), [](const TensorInfo& t) { return IsNf4QuantState(t.name); });
}

absl::StatusOr<OpenedModel> OpenModel(const std::string& path, const OpenOptions& options) {
  absl::StatusOr<OpenedModel> m = OpenWithoutWeights(path);
  if (!m.ok()) return m;
  if (absl::Status s = LoadWeights(options, &*m); !s.ok()) return s;
  return m;
}

absl::StatusOr<OpenedModel> OpenWithoutWeights(const std::string& path) {
  OpenedModel m;
  m.path = path;
  if (path.empty()) {
    absl::StatusOr<std::string> small = SmallModelPath();
    if (!small.ok()) return small.status();
    m.path = *small;
  }
  absl::StatusOr<std::unique_ptr<ModelFiles>> files = OpenModelFiles(m.path);
  if (!files.ok()) return files.status();
  m.files = *std::move(files);
  absl::StatusOr<text::Tokenizer> tokenizer = text::Tokenizer::Create(m.files->tokenizer_spec());
  if (!tokenizer.ok())
    return absl::Status(tokenizer.status().code(), absl::StrCat(m.path, ": ", tokenizer.status().message()));
  m.tokenizer = std::make_unique<text::Tokenizer>(*std::move(tokenizer));
  return m;
}

absl::Status LoadWeights(const OpenOptions& options, OpenedModel* m) {
  if (absl::Status s = CheckOffload(options, m->path, m->files->config()); !s.ok()) return s;
  m->lm = BuildModel(m->files->config(), options.compute_dtype);
  LoadReport report;
  const bool trainable = options.use == WeightUse::kTrainable;
  const DeviceSource source(m->files->weights(), options.device);
  if (absl::Status s = LoadWeights(*m->lm, source, FactoryFor(options, m->files->weights()), trainable, &report);
      !s.ok())
    return s;
  for (const std::string& name : report.unexpected) {
    if (Nf4WeightOfKey(name).empty())
      m->warnings.push_back(
          absl::StrCat(m->path, ": tensor ", name, " is not part of this architecture and was left out"));
  }
  return absl::OkStatus();
}

absl::StatusOr<DType> ParseComputeDtype(absl::string_view name, Device device) {
  if (name == "bf16") return DType::kBF16;
  if (name == "f32") return DType::kF32;
  if (name == "auto") return device.is_cuda() || tensor::HasFastBF16() ? DType::kBF16 : DType::kF32;
  return absl::InvalidArgumentError(absl::StrCat("--compute_dtype=", name, ": expected auto, bf16 or f32"));
}

absl::StatusOr<std::string> SmallModelPath() {
  const std::string config = Runfile("apps/small_model/config.json");
  if (config.empty())
    return absl::NotFoundError(
        "the small model is not among this program's runfiles; give --model, or run it with `bazel run`");
  return config.substr(0, config.rfind('/'));
}

}  // namespace lorikeet
