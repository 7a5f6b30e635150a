// The tokenizer inside a GGUF file.
//
//   absl::StatusOr<std::unique_ptr<GgufFile>> file = GgufFile::Open(path);
//   absl::StatusOr<BpeSpec> spec = TokenizerSpecFromGguf((*file)->metadata());
//
// Errors name the key (gguf_spec.h says what is supported); the caller adds the path.
#ifndef LORIKEET_APPS_TEXT_GGUF_TOKENIZER_H_
#define LORIKEET_APPS_TEXT_GGUF_TOKENIZER_H_

#include "absl/status/statusor.h"
#include "apps/text/bpe_spec.h"
#include "apps/text/gguf_spec.h"
#include "tensor/io/gguf_metadata.h"

namespace lorikeet::text {

absl::StatusOr<GgufTokenizerMetadata> ReadGgufTokenizerMetadata(const GgufMetadata& metadata);
absl::StatusOr<BpeSpec> TokenizerSpecFromGguf(const GgufMetadata& metadata);

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_GGUF_TOKENIZER_H_
