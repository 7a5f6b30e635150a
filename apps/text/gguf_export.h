// BpeSpec -> the tokenizer.ggml.* values of a GGUF file, and the proof that a reader of the file gets the training
// tokenizer back. The way back of gguf_tokenizer.h.
//
//   absl::StatusOr<GgufTokenizerMetadata> m = ToGgufTokenizer(spec, &chat, /*rows=*/config.vocab_size);
//   AddTokenizerValues(*m, &values);
//   ... write, open again ...
//   absl::Status same = CheckGgufTokenizer(tokenizer, &chat, file->metadata());
//
// GGUF says less than tokenizer.json, and llama.cpp acts on what it says; so these follow from how the model was
// trained:
//   add_bos_token   whether a rendered conversation begins with BOS: llama.cpp puts one before every prompt
//   add_eos_token   false: a prompt never ends with EOS
//   eos, eot, eom   EOS; what ends an answer, if that is another token; <|eom_id|>, if it is one that stops
//   chat_template   the model's own, or the Jinja text of `chat` where training used another
// The embedding's rows beyond the tokens become unused tokens. A SentencePiece-style tokenizer (Llama 2, Gemma, Phi-3)
// is written with the scores that its merges imply, add_space_prefix and the types of its bytes, provided that its
// normalizer marks the spaces; Metaspace (Mistral v0.3) does it in a way that llama.cpp does not know. What this cannot
// express is InvalidArgument with the reason: a normalizer or ignore_merges other than its `pre` implies, merges that
// follow from no scores, characters without a token that do not become bytes, a text that begins with more than BOS,
// added tokens that swallow spaces, no token that ends a text. `chat` may be null: a template that is not recognised is
// copied as it is, and conversations are not compared. Source: gguf-py's SpecialVocab and convert_hf_to_gguf.py, and
// llm_tokenizer_spm in src/llama-vocab.cpp, of https://github.com/ggml-org/llama.cpp.
#ifndef LORIKEET_APPS_TEXT_GGUF_EXPORT_H_
#define LORIKEET_APPS_TEXT_GGUF_EXPORT_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "apps/text/bpe_spec.h"
#include "apps/text/chat_template.h"
#include "apps/text/gguf_spec.h"
#include "apps/text/tokenizer.h"
#include "tensor/io/gguf_metadata.h"
#include "tensor/io/gguf_writer.h"

namespace lorikeet::text {

absl::StatusOr<GgufTokenizerMetadata> ToGgufTokenizer(const BpeSpec& spec, const ChatTemplate* chat, int64_t rows);
void AddTokenizerValues(const GgufTokenizerMetadata& metadata, GgufValues* values);

// Every token's bytes and kind; the ids of plain texts; of conversations rendered by `chat` and by the file's own
// template, BOS and end marks included; that what ends an answer in training ends a generation. InvalidArgument
// with the first difference.
absl::Status CheckGgufTokenizer(const Tokenizer& trained, const ChatTemplate* chat, const GgufMetadata& written);

}  // namespace lorikeet::text

#endif  // LORIKEET_APPS_TEXT_GGUF_EXPORT_H_
