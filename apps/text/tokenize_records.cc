// Our side of tests/golden/check_tokenizers.py: encodes texts, or decodes ids, from standard input to standard output,
// or writes the tokenizer as tokenizer.json, or as a GGUF file of nothing else.
//
//   tokenize_records encode|decode|write DIRECTORY|FILE.gguf
//   tokenize_records gguf DIRECTORY|FILE.gguf OUTPUT.gguf
//
// A record is a little-endian u32 count and that many bytes of text, or i32 ids. One goes out for every one that comes
// in.
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "apps/text/bpe_spec.h"
#include "apps/text/gguf_export.h"
#include "apps/text/gguf_spec.h"
#include "apps/text/gguf_tokenizer.h"
#include "apps/text/tokenizer.h"
#include "apps/text/tokenizer_json.h"
#include "tensor/io/gguf.h"
#include "tensor/io/gguf_writer.h"

namespace lorikeet::text {
namespace {

absl::StatusOr<BpeSpec> ReadSpec(const std::string& path) {
  if (absl::EndsWith(path, ".gguf")) {
    const absl::StatusOr<std::unique_ptr<GgufFile>> file = GgufFile::Open(path);
    if (!file.ok()) return file.status();
    return TokenizerSpecFromGguf((*file)->metadata());
  }
  const absl::StatusOr<TokenizerFiles> files = ReadTokenizerFiles(path);
  if (!files.ok()) return files.status();
  return TokenizerSpecFromJson(*files);
}

template <typename T>
bool Read(std::vector<T>* values) {
  uint32_t count = 0;
  if (std::fread(&count, sizeof(count), 1, stdin) != 1) return false;
  values->resize(count);
  return std::fread(values->data(), sizeof(T), count, stdin) == count;
}

template <typename T>
void Write(const T* values, size_t size) {
  const uint32_t count = static_cast<uint32_t>(size);
  std::fwrite(&count, sizeof(count), 1, stdout);
  std::fwrite(values, sizeof(T), size, stdout);
}

absl::Status WriteGguf(const BpeSpec& spec, const std::string& path) {
  const absl::StatusOr<GgufTokenizerMetadata> tokenizer = ToGgufTokenizer(spec, nullptr, spec.padded_vocab_size);
  if (!tokenizer.ok()) return tokenizer.status();
  GgufValues values;
  values.String("general.architecture", "llama");
  AddTokenizerValues(*tokenizer, &values);
  absl::StatusOr<std::unique_ptr<GgufWriter>> writer = GgufWriter::Create(path, values, {});
  return writer.ok() ? (*writer)->Finish() : writer.status();
}

int Run(const std::string& mode, const std::string& path, const std::string& output) {
  absl::StatusOr<BpeSpec> spec = ReadSpec(path);
  absl::StatusOr<Tokenizer> tokenizer = spec.ok() ? Tokenizer::Create(*std::move(spec)) : spec.status();
  if (!tokenizer.ok()) {
    std::fprintf(stderr, "%s: %s\n", path.c_str(), std::string(tokenizer.status().message()).c_str());
    return 2;
  }
  if (mode == "encode") {
    for (std::vector<char> text; Read(&text);) {
      const std::vector<int32_t> ids = tokenizer->Encode(absl::string_view(text.data(), text.size()));
      Write(ids.data(), ids.size());
    }
  } else if (mode == "gguf") {
    const absl::Status written = WriteGguf(tokenizer->spec(), output);
    if (!written.ok()) std::fprintf(stderr, "%s: %s\n", output.c_str(), std::string(written.message()).c_str());
    return written.ok() ? 0 : 2;
  } else if (mode == "write") {
    const std::string json = ToTokenizerJson(tokenizer->spec());
    std::fwrite(json.data(), 1, json.size(), stdout);
  } else {
    for (std::vector<int32_t> ids; Read(&ids);) {
      const std::string text = tokenizer->Decode(ids);
      Write(text.data(), text.size());
    }
  }
  return std::fflush(stdout) == 0 ? 0 : 3;
}

}  // namespace
}  // namespace lorikeet::text

int main(int argc, char** argv) {
  const std::string mode = argc >= 3 ? argv[1] : "";
  const bool reads = mode == "encode" || mode == "decode" || mode == "write";
  if (!(reads && argc == 3) && !(mode == "gguf" && argc == 4)) {
    std::fprintf(stderr,
                 "usage: tokenize_records encode|decode|write DIRECTORY|FILE.gguf\n"
                 "       tokenize_records gguf DIRECTORY|FILE.gguf OUTPUT.gguf\n");
    return 2;
  }
  return lorikeet::text::Run(mode, argv[2], mode == "gguf" ? argv[3] : "");
}
