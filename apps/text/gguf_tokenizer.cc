#include "apps/text/gguf_tokenizer.h"

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace lorikeet::text {
namespace {

// Reads values into their places; the first error stays and stops the rest.
class Reader {
 public:
  explicit Reader(const GgufMetadata& metadata) : metadata_(metadata) {}

  template <typename T>
  void Required(absl::string_view key, absl::StatusOr<T> (GgufMetadata::*get)(absl::string_view) const, T* out) {
    if (!status_.ok()) return;
    absl::StatusOr<T> value = (metadata_.*get)(key);
    if (value.ok()) {
      *out = *std::move(value);
    } else {
      status_ = value.status();
    }
  }

  template <typename T, typename Out>
  void Optional(absl::string_view key, absl::StatusOr<T> (GgufMetadata::*get)(absl::string_view) const, Out* out) {
    if (!metadata_.Has(key)) return;
    T value{};
    Required(key, get, &value);
    if (status_.ok()) *out = std::move(value);
  }

  void Types(absl::string_view key, std::vector<int32_t>* out) {
    std::vector<int64_t> types;
    Optional(key, &GgufMetadata::Ints, &types);
    for (const int64_t type : types) {
      if (type < 0 || type > std::numeric_limits<int32_t>::max()) {
        status_ = absl::InvalidArgumentError(absl::StrCat(key, ": ", type, " is not a token type"));
        return;
      }
      out->push_back(static_cast<int32_t>(type));
    }
  }

  const absl::Status& status() const { return status_; }

 private:
  const GgufMetadata& metadata_;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<GgufTokenizerMetadata> ReadGgufTokenizerMetadata(const GgufMetadata& metadata) {
  GgufTokenizerMetadata m;
  Reader reader(metadata);
  reader.Optional("general.architecture", &GgufMetadata::String, &m.architecture);
  reader.Required("tokenizer.ggml.model", &GgufMetadata::String, &m.model);
  reader.Optional("tokenizer.ggml.pre", &GgufMetadata::String, &m.pre);
  reader.Required("tokenizer.ggml.tokens", &GgufMetadata::Strings, &m.tokens);
  reader.Types("tokenizer.ggml.token_type", &m.token_type);
  reader.Optional("tokenizer.ggml.merges", &GgufMetadata::Strings, &m.merges);
  reader.Optional("tokenizer.ggml.scores", &GgufMetadata::Floats, &m.scores);
  reader.Optional("tokenizer.ggml.bos_token_id", &GgufMetadata::Int, &m.bos_token_id);
  reader.Optional("tokenizer.ggml.eos_token_id", &GgufMetadata::Int, &m.eos_token_id);
  reader.Optional("tokenizer.ggml.eot_token_id", &GgufMetadata::Int, &m.eot_token_id);
  reader.Optional("tokenizer.ggml.eom_token_id", &GgufMetadata::Int, &m.eom_token_id);
  reader.Optional("tokenizer.ggml.unknown_token_id", &GgufMetadata::Int, &m.unknown_token_id);
  reader.Optional("tokenizer.ggml.padding_token_id", &GgufMetadata::Int, &m.padding_token_id);
  reader.Optional("tokenizer.ggml.add_bos_token", &GgufMetadata::Bool, &m.add_bos_token);
  reader.Optional("tokenizer.ggml.add_eos_token", &GgufMetadata::Bool, &m.add_eos_token);
  reader.Optional("tokenizer.ggml.add_space_prefix", &GgufMetadata::Bool, &m.add_space_prefix);
  reader.Optional("tokenizer.chat_template", &GgufMetadata::String, &m.chat_template);
  if (!reader.status().ok()) return reader.status();
  return m;
}

absl::StatusOr<BpeSpec> TokenizerSpecFromGguf(const GgufMetadata& metadata) {
  absl::StatusOr<GgufTokenizerMetadata> values = ReadGgufTokenizerMetadata(metadata);
  if (!values.ok()) return values.status();
  return TokenizerSpecFromGguf(*values);
}

}  // namespace lorikeet::text
