// Generator: continues token sequences, text coming out as it is made.
//
//   Generator generator(model.lm.get(), model.tokenizer.get(), /*context=*/2048);
//   absl::StatusOr<Generation> g = generator.Generate(prompt_ids, {.max_tokens = 64}, [](absl::string_view text) {
//     std::cout << text << std::flush;
//   });
//
// The keys and values of everything seen so far stay in a cache. A prompt that begins as the last one and its answer
// did, as the next turn of a conversation does, costs only what is new in it.
// It ends at a token that ends a turn (the tokenizer's, the model's, the options'), which is not shown; before a stop
// string; after max_tokens; or when the context is full. Special tokens are not shown.
// Ownership: model and tokenizer must outlive it, and the weights stay as they are meanwhile. Threads: one call at a
// time. Errors: InvalidArgument for an empty prompt, one that leaves no room in the context, or an id that the model
// lacks; the sampler's FailedPrecondition.
#ifndef LORIKEET_APPS_MODEL_GENERATE_H_
#define LORIKEET_APPS_MODEL_GENERATE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "apps/model/decode_graphs.h"
#include "apps/model/sampler.h"
#include "apps/text/tokenizer.h"
#include "autograd/parameter_casts.h"
#include "nn/causal_lm.h"
#include "nn/kv_cache.h"
#include "tensor/tensor.h"

namespace lorikeet {

struct GenerateOptions {
  int64_t max_tokens = 256;
  std::vector<std::string> stop = {};  // strings
  std::vector<int32_t> stop_ids = {};  // tokens, beside those that tokenizer and model name
  SamplerOptions sampler = {};
};

enum class StopReason : uint8_t { kStopToken, kStopString, kMaxTokens, kContextFull };

struct Generation {
  std::vector<int32_t> tokens;  // without the stop token
  std::string text;             // what was shown
  StopReason reason = StopReason::kMaxTokens;
};

// Of all calls together.
struct GeneratorStats {
  int64_t prompt_tokens = 0, generated_tokens = 0;  // that went through the model; that came out
  double prompt_seconds = 0, generation_seconds = 0;
};

class Generator {
 public:
  // `context`: tokens of prompt and answer at most. The cache for them is allocated here. `cuda_graphs`: on a GPU,
  // passes of one token are captured (decode_graphs.h).
  Generator(CausalLm* model, const text::Tokenizer* tokenizer, int64_t context, bool cuda_graphs = false);

  absl::StatusOr<Generation> Generate(absl::Span<const int32_t> prompt, const GenerateOptions& options,
                                      absl::FunctionRef<void(absl::string_view)> on_text);
  const GeneratorStats& stats() const { return stats_; }

 private:
  absl::Status CheckPrompt(absl::Span<const int32_t> prompt) const;
  Tensor Feed(absl::Span<const int32_t> tokens);  // the logits after the last, f32 [1, vocab]
  Tensor FeedPrompt(absl::Span<const int32_t> prompt);
  bool IsStop(int32_t id, const GenerateOptions& options) const;

  CausalLm* model_;
  const text::Tokenizer* tokenizer_;
  KvCache cache_;
  ParameterCasts casts_;                  // adapters' factors
  std::unique_ptr<DecodeGraphs> graphs_;  // null: without
  std::vector<int32_t> seen_;             // the tokens in the cache
  GeneratorStats stats_;
};

}  // namespace lorikeet

#endif  // LORIKEET_APPS_MODEL_GENERATE_H_
