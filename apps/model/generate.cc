#include "apps/model/generate.h"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "apps/model/stop_strings.h"
#include "nn/batch.h"
#include "peft/inject.h"

namespace lorikeet {
namespace {

// Prompts go through the model in parts of this many tokens, so that a long one needs no more memory for activations.
constexpr int64_t kPromptPart = 512;

double Seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

Generator::Generator(CausalLm* model, const text::Tokenizer* tokenizer, int64_t context, bool cuda_graphs)
    : model_(model),
      tokenizer_(tokenizer),
      cache_(model->config().num_layers, context, model->config().num_kv_heads, model->config().head_dim,
             model->compute_dtype(), model->device()),
      casts_(TrainableParameters(*model), model->compute_dtype()) {
  if (cuda_graphs && model->device().is_cuda()) graphs_ = std::make_unique<DecodeGraphs>(model, &cache_);
}

absl::Status Generator::CheckPrompt(absl::Span<const int32_t> prompt) const {
  if (prompt.empty()) return absl::InvalidArgumentError("the prompt has no tokens; write something into it");
  const int64_t n = static_cast<int64_t>(prompt.size());
  if (n >= cache_.capacity())
    return absl::InvalidArgumentError(absl::StrCat(
        "the prompt has ", n, " tokens, which leaves no room in a context of ", cache_.capacity(),
        "; shorten it, or raise --context_length up to the model's ", model_->config().max_position_embeddings));
  for (int32_t id : prompt) {
    if (id < 0 || id >= model_->config().vocab_size)
      return absl::InvalidArgumentError(absl::StrCat(
          "token ", id, " of the prompt is outside the model's vocabulary of ", model_->config().vocab_size));
  }
  return absl::OkStatus();
}

Tensor Generator::Feed(absl::Span<const int32_t> tokens) {
  const int64_t n = static_cast<int64_t>(tokens.size());
  if (graphs_ != nullptr && n == 1) {
    seen_.push_back(tokens[0]);
    return graphs_->Next(tokens[0]).To(kCpu);
  }
  const Batch batch = OneSequence(tokens, cache_.length(), model_->device());
  const Tensor h = model_->Hidden(batch, &cache_).value();
  seen_.insert(seen_.end(), tokens.begin(), tokens.end());
  return model_->Logits(h.Slice(0, n - 1, n)).To(kCpu);
}

Tensor Generator::FeedPrompt(absl::Span<const int32_t> prompt) {
  const auto differs = std::mismatch(prompt.begin(), prompt.end(), seen_.begin(), seen_.end()).first;
  // The last token goes through the model again in any case: its logits are not kept.
  const size_t known = std::min<size_t>(static_cast<size_t>(differs - prompt.begin()), prompt.size() - 1);
  cache_.Truncate(static_cast<int64_t>(known));
  seen_.resize(known);
  const double start = Seconds();
  Tensor logits;
  for (size_t i = known; i < prompt.size(); i += kPromptPart) logits = Feed(prompt.subspan(i, kPromptPart));
  stats_.prompt_tokens += static_cast<int64_t>(prompt.size() - known);
  stats_.prompt_seconds += Seconds() - start;
  return logits;
}

bool Generator::IsStop(int32_t id, const GenerateOptions& options) const {
  return tokenizer_->IsStop(id) || absl::c_linear_search(model_->config().eos_token_ids, id) ||
         absl::c_linear_search(options.stop_ids, id);
}

absl::StatusOr<Generation> Generator::Generate(absl::Span<const int32_t> prompt, const GenerateOptions& options,
                                               absl::FunctionRef<void(absl::string_view)> on_text) {
  if (absl::Status s = CheckPrompt(prompt); !s.ok()) return s;
  const Sampler sampler(options.sampler);
  text::StreamDecoder decoder(tokenizer_, /*skip_special=*/true);
  StopStrings stops(options.stop);
  Generation g;
  const auto show = [&](const std::string& text) {
    g.text += text;
    if (!text.empty()) on_text(text);
  };
  Tensor logits = FeedPrompt(prompt);
  const double start = Seconds();
  // Rows of the embedding beyond the tokenizer's tokens are padding, and no text.
  const size_t tokens = static_cast<size_t>(std::min(logits.dim(1), tokenizer_->num_tokens()));
  while (static_cast<int64_t>(g.tokens.size()) < options.max_tokens) {
    const absl::StatusOr<int32_t> next = sampler.Sample(logits.data<float>().first(tokens), cache_.length());
    if (!next.ok()) return next.status();
    if (IsStop(*next, options)) {
      g.reason = StopReason::kStopToken;
      break;
    }
    g.tokens.push_back(*next);
    show(stops.Push(decoder.Push(*next)));
    if (stops.found()) {
      g.reason = StopReason::kStopString;
      break;
    }
    if (cache_.length() == cache_.capacity()) {
      g.reason = StopReason::kContextFull;
      break;
    }
    if (static_cast<int64_t>(g.tokens.size()) < options.max_tokens) logits = Feed({*next});
  }
  show(stops.Push(decoder.Finish()));
  if (!stops.found()) show(stops.Finish());
  stats_.generated_tokens += static_cast<int64_t>(g.tokens.size());
  stats_.generation_seconds += Seconds() - start;
  return g;
}

}  // namespace lorikeet
