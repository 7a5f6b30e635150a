#include "tensor/io/gguf_semantics.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "tensor/io/file.h"

namespace lorikeet {
namespace {

constexpr absl::string_view kTokens = "tokenizer.ggml.tokens", kScores = "tokenizer.ggml.scores",
                            kTokenTypes = "tokenizer.ggml.token_type";
constexpr int64_t kByteToken = 6;
constexpr int64_t kMaxBlocks = 512;

absl::Status Invalid(absl::string_view key, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("GGUF value ", Quoted(key), " ", what));
}

bool IsByteToken(absl::string_view token) {
  return token.size() == 6 && absl::StartsWith(token, "<0x") && absl::ascii_isxdigit(token[3]) &&
         absl::ascii_isxdigit(token[4]) && token[5] == '>';
}

absl::Status CheckTokenTypes(const GgufMetadata& metadata, const std::vector<std::string>& tokens) {
  const absl::StatusOr<std::vector<int64_t>> types = metadata.Ints(kTokenTypes);
  if (!types.ok()) return types.status();
  for (size_t i = 0; i < tokens.size(); ++i) {
    if ((*types)[i] == kByteToken && !IsByteToken(tokens[i])) {
      return Invalid(kTokens, absl::StrCat("has byte token ", Quoted(tokens[i]), ", which is not <0xNN>"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckTokenizer(const GgufMetadata& metadata) {
  for (absl::string_view key : {kScores, kTokenTypes}) {
    const GgufValue *value = metadata.Find(key), *tokens = metadata.Find(kTokens);
    if (value == nullptr) continue;
    if (tokens == nullptr) return Invalid(key, "is there without tokens");
    if (!value->is_array || value->count != tokens->count) {
      return Invalid(key, absl::StrCat("is no array of ", tokens->count, " elements, one per token"));
    }
  }
  if (!metadata.Has(kTokens)) return absl::OkStatus();
  const absl::StatusOr<std::vector<std::string>> tokens = metadata.Strings(kTokens);
  if (!tokens.ok()) return tokens.status();
  if (metadata.Has(kScores)) {
    const absl::StatusOr<std::vector<double>> scores = metadata.Floats(kScores);
    if (!scores.ok()) return scores.status();
  }
  return metadata.Has(kTokenTypes) ? CheckTokenTypes(metadata, *tokens) : absl::OkStatus();
}

// An integer, or one per layer; empty where the key is absent.
absl::StatusOr<std::vector<int64_t>> IntOrInts(const GgufMetadata& metadata, absl::string_view key) {
  const GgufValue* value = metadata.Find(key);
  if (value == nullptr) return std::vector<int64_t>();
  if (value->is_array) return metadata.Ints(key);
  const absl::StatusOr<int64_t> scalar = metadata.Int(key);
  if (!scalar.ok()) return scalar.status();
  return std::vector<int64_t>{*scalar};
}

struct Range {
  const char* key;  // after the architecture
  int64_t least, most;
};
constexpr Range kRanges[] = {
    {".block_count", 1, kMaxBlocks},
    {".embedding_length", 1, 1 << 20},
    {".feed_forward_length", 1, 1 << 24},
    {".context_length", 1, int64_t{1} << 40},
    {".vocab_size", 1, 1 << 24},
    {".attention.head_count", 1, 1 << 16},
    {".attention.head_count_kv", 1, 1 << 16},
    {".attention.key_length", 1, 1 << 20},
    {".attention.value_length", 1, 1 << 20},
    {".rope.dimension_count", 1, 1 << 20},
};

absl::Status CheckRanges(const GgufMetadata& metadata, const std::string& architecture) {
  for (const Range& range : kRanges) {
    const std::string key = architecture + range.key;
    const absl::StatusOr<std::vector<int64_t>> values = IntOrInts(metadata, key);
    if (!values.ok()) return values.status();
    for (int64_t v : *values) {
      if (v < range.least || v > range.most) {
        return Invalid(key, absl::StrCat("is ", v, ", expected ", range.least, " to ", range.most));
      }
    }
  }
  return absl::OkStatus();
}

// The value of a scalar whose range was checked, or `otherwise`.
int64_t IntOr(const GgufMetadata& metadata, const std::string& key, int64_t otherwise) {
  return metadata.Int(key).value_or(otherwise);
}

absl::Status CheckHeads(const GgufMetadata& metadata, const std::string& architecture) {
  const int64_t heads = IntOr(metadata, architecture + ".attention.head_count", 0);
  const int64_t kv_heads = IntOr(metadata, architecture + ".attention.head_count_kv", 0);
  if (heads == 0 || kv_heads == 0 || heads % kv_heads == 0) return absl::OkStatus();
  return Invalid(architecture + ".attention.head_count", absl::StrCat("is ", heads, ", no multiple of ", kv_heads));
}

absl::Status CheckBlocks(const TensorIndex& index, const std::string& key, int64_t blocks) {
  for (const TensorInfo& info : index.tensors()) {
    absl::string_view name = info.name;
    if (!absl::ConsumePrefix(&name, "blk.")) continue;
    int64_t block = -1;
    if (!absl::SimpleAtoi(name.substr(0, name.find('.')), &block) || block < 0 || block >= blocks) {
      return Invalid(key, absl::StrCat("is ", blocks, ", but there is a tensor ", Quoted(info.name)));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckEmbedding(const GgufMetadata& metadata, const TensorIndex& index, const std::string& architecture) {
  const TensorInfo* w = index.Find("token_embd.weight");
  if (w == nullptr) return absl::OkStatus();
  const std::string message = absl::StrCat("does not fit token_embd.weight ", ToString(w->shape));
  const std::string width = architecture + ".embedding_length", vocab = architecture + ".vocab_size";
  if (w->shape.rank() != 2) return Invalid(width, message);
  if (IntOr(metadata, width, w->shape[1]) != w->shape[1]) return Invalid(width, message);
  if (IntOr(metadata, vocab, w->shape[0]) != w->shape[0]) return Invalid(vocab, message);
  const GgufValue* tokens = metadata.Find(kTokens);
  if (tokens != nullptr && tokens->count != static_cast<uint64_t>(w->shape[0])) return Invalid(kTokens, message);
  return absl::OkStatus();
}

absl::Status CheckModel(const GgufMetadata& metadata, const TensorIndex& index) {
  if (!metadata.Has("general.architecture")) return absl::OkStatus();
  const absl::StatusOr<std::string> architecture = metadata.String("general.architecture");
  if (!architecture.ok()) return architecture.status();
  absl::Status status = CheckRanges(metadata, *architecture);
  if (status.ok()) status = CheckHeads(metadata, *architecture);
  const std::string blocks = *architecture + ".block_count";
  if (status.ok()) status = CheckBlocks(index, blocks, IntOr(metadata, blocks, kMaxBlocks));
  if (status.ok()) status = CheckEmbedding(metadata, index, *architecture);
  return status;
}

absl::Status CheckSplit(const GgufMetadata& metadata) {
  if (!metadata.Has("split.count")) return absl::OkStatus();
  const absl::StatusOr<int64_t> count = metadata.Int("split.count");
  if (!count.ok()) return count.status();
  if (*count == 0 || *count == 1) return absl::OkStatus();
  return Invalid("split.count",
                 absl::StrCat("is ", *count, ": this is one of several files of a model; join them with ",
                              "llama.cpp's llama-gguf-split --merge"));
}

}  // namespace

absl::Status CheckGgufSemantics(const GgufMetadata& metadata, const TensorIndex& index) {
  absl::Status status = CheckSplit(metadata);
  if (status.ok()) status = CheckTokenizer(metadata);
  if (status.ok()) status = CheckModel(metadata, index);
  return status;
}

}  // namespace lorikeet
