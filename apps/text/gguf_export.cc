#include "apps/text/gguf_export.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "apps/text/byte_map.h"
#include "apps/text/dataset.h"
#include "apps/text/gguf_tokenizer.h"
#include "apps/text/pretokenizer.h"
#include "apps/text/sentencepiece.h"

namespace lorikeet::text {
namespace {

constexpr int32_t kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6;

absl::Status Inexpressible(absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("this tokenizer cannot be written as GGUF: ", what, "; write --output_dir instead"));
}

// The name that tells llama.cpp how to cut text, if what else the name implies is so.
absl::StatusOr<std::string> PreName(const BpeSpec& spec) {
  const bool ignores = GgufNameSaysIgnoreMerges(spec.pretokenizer);
  const bool is_qwen =
      spec.pretokenizer == PretokenizerFamily::kQwen2 || spec.pretokenizer == PretokenizerFamily::kQwen35;
  const std::string name(GgufNameOfFamily(spec.pretokenizer));
  const auto unlike = [&](absl::string_view what) {
    return Inexpressible(absl::StrCat("tokenizer.ggml.pre cannot be determined: it cuts text as \"", name, "\" does, ",
                                      what, ", and no name says both"));
  };
  if (spec.ignore_merges != ignores) return unlike(ignores ? "without ignore_merges" : "with ignore_merges");
  if ((spec.normalizer == Normalizer::kNfc) != is_qwen) return unlike(is_qwen ? "without NFC" : "with NFC");
  return name;
}

// Whether text is changed before added tokens that ask for it are looked for in it.
bool Normalizes(const BpeSpec& spec) {
  return spec.sentencepiece.has_value() ? spec.sentencepiece->in_normalizer : spec.normalizer != Normalizer::kNone;
}

// Only merges make it: spaces are marked after added tokens have been looked for.
bool IsRunOfMarks(const BpeSpec& spec, absl::string_view token) {
  return spec.sentencepiece.has_value() && UnmarkSpaces(token).find_first_not_of(' ') == std::string::npos;
}

absl::Status AddTokens(const BpeSpec& spec, int64_t rows, GgufTokenizerMetadata* m) {
  m->tokens.assign(spec.vocab.begin(), spec.vocab.end());
  m->tokens.resize(static_cast<size_t>(std::max(rows, spec.num_tokens())));
  m->token_type.assign(spec.vocab.size(), kNormal);
  m->token_type.resize(m->tokens.size(), kUnused);
  for (const AddedToken& t : spec.added) {
    if (!t.special && t.id < std::ssize(spec.vocab) && IsRunOfMarks(spec, t.content)) continue;
    if (t.single_word || t.lstrip || t.rstrip || (t.normalized && Normalizes(spec))) {
      return Inexpressible(absl::StrCat("its added token \"", t.content,
                                        "\" has one of the flags single_word, lstrip, rstrip or normalized"));
    }
    m->tokens[static_cast<size_t>(t.id)] = t.content;
    m->token_type[static_cast<size_t>(t.id)] = t.special ? kControl : kUserDefined;
  }
  for (size_t i = 0; i < m->tokens.size(); ++i) {
    if (m->token_type[i] == kUnused) m->tokens[i] = absl::StrCat("[PAD", i, "]");
  }
  return absl::OkStatus();
}

absl::Status AddByteLevel(const BpeSpec& spec, GgufTokenizerMetadata* m) {
  absl::StatusOr<std::string> pre = PreName(spec);
  if (!pre.ok()) return pre.status();
  m->model = "gpt2";
  m->pre = *std::move(pre);
  for (const Merge& merge : spec.merges) {
    m->merges.push_back(
        absl::StrCat(spec.vocab[static_cast<size_t>(merge.left)], " ", spec.vocab[static_cast<size_t>(merge.right)]));
    if (std::count(m->merges.back().begin(), m->merges.back().end(), ' ') != 1)
      return Inexpressible(absl::StrCat("its merge \"", m->merges.back(), "\" joins tokens that hold a space"));
  }
  return absl::OkStatus();
}

// llama.cpp looks for every byte's token, and ends without it.
absl::Status AddByteTypes(const BpeSpec& spec, GgufTokenizerMetadata* m) {
  int bytes = 0;
  for (size_t id = 0; id < spec.vocab.size(); ++id) {
    const int byte = ByteOfToken(spec.vocab[id]);
    if (byte < 0 || spec.vocab[id] != ByteToken(static_cast<uint8_t>(byte))) continue;
    m->token_type[id] = kByte;
    ++bytes;
  }
  if (spec.sentencepiece->byte_fallback && bytes == 256) return absl::OkStatus();
  return Inexpressible(absl::StrCat("characters without a token become bytes in GGUF, and it has ", bytes,
                                    " of the 256 byte tokens", spec.sentencepiece->byte_fallback ? "" : ", unused"));
}

absl::Status AddSentencePiece(const BpeSpec& spec, GgufTokenizerMetadata* m) {
  const SentencePieceRules& rules = *spec.sentencepiece;
  if (!rules.in_normalizer && rules.prefix != SentencePieceRules::Prefix::kNever) {
    return Inexpressible(
        "its pre_tokenizer Metaspace marks no space before a text that begins with one, nor (mostly) "
        "after an added token, and llama.cpp does both");
  }
  m->model = "llama";
  m->pre = "default";
  m->add_space_prefix = rules.prefix != SentencePieceRules::Prefix::kNever;
  if (rules.split_words) {
    for (const std::string& token : spec.vocab) {
      if (token.find(kSpaceMark.data(), 1) == std::string::npos) continue;
      return Inexpressible(absl::StrCat("it cuts text before spaces, and its token \"", token, "\" holds one"));
    }
  }
  if (absl::Status s = AddByteTypes(spec, m); !s.ok()) return s;
  if (rules.unknown_id >= 0) m->token_type[static_cast<size_t>(rules.unknown_id)] = kUnknown;
  const absl::StatusOr<std::vector<double>> scores = ScoresOfMerges(spec);
  if (!scores.ok()) {
    return Inexpressible(absl::StrCat("llama.cpp joins what gives the token of the best score, and no scores give its ",
                                      "merges: ", scores.status().message()));
  }
  m->scores = *scores;
  m->scores.resize(m->tokens.size(), scores->empty() ? 0 : *std::min_element(scores->begin(), scores->end()));
  return absl::OkStatus();
}

int32_t IdOfAdded(const BpeSpec& spec, absl::string_view content) {
  for (const AddedToken& t : spec.added) {
    if (t.content == content) return t.id;
  }
  return -1;
}

// BOS, by the tokenizer's own word or because its texts begin with it.
absl::StatusOr<int32_t> BosId(const BpeSpec& spec) {
  const int32_t bos = spec.bos_id < 0 && spec.prefix_ids.size() == 1 ? spec.prefix_ids[0] : spec.bos_id;
  if (spec.prefix_ids.empty() || (bos >= 0 && spec.prefix_ids == std::vector<int32_t>{bos})) return bos;
  return Inexpressible(absl::StrCat("a text begins with the tokens ", absl::StrJoin(spec.prefix_ids, " "),
                                    ", and GGUF can only say BOS"));
}

// A conversation begins with the token that a text begins with. Without such a token the file says no, even where BOS
// is the mark of a turn, as SmolLM2's is.
bool BeginsWithBos(const BpeSpec& spec, const ChatTemplate& chat, int32_t bos) {
  const absl::StatusOr<std::vector<Segment>> segments =
      chat.Render(std::vector<Message>{{"user", "a"}, {"assistant", "b"}});
  if (bos < 0 || spec.prefix_ids.empty() || !segments.ok() || segments->empty()) return false;
  const Segment& first = segments->front();
  return first.allow_special && absl::StartsWith(first.text, spec.TokenText(bos));
}

absl::Status AddIds(const BpeSpec& spec, const ChatTemplate* chat, GgufTokenizerMetadata* m) {
  const absl::StatusOr<int32_t> bos = BosId(spec);
  if (!bos.ok()) return bos.status();
  const auto set = [](int32_t id, absl::optional<int64_t>* out) {
    if (id >= 0) *out = id;
  };
  const int32_t end_of_turn = chat == nullptr ? -1 : IdOfAdded(spec, chat->end_of_turn());
  const int32_t eos = spec.eos_id >= 0 ? spec.eos_id : end_of_turn;
  // llama.cpp would take token 11, whatever it is.
  if (eos < 0) return Inexpressible("it names no eos_token, so the model would never stop, or at a wrong place");
  set(*bos, &m->bos_token_id);
  set(eos, &m->eos_token_id);
  if (end_of_turn != eos) set(end_of_turn, &m->eot_token_id);
  const int32_t end_of_message = IdOfAdded(spec, "<|eom_id|>");
  if (std::count(spec.stop_ids.begin(), spec.stop_ids.end(), end_of_message) > 0) set(end_of_message, &m->eom_token_id);
  set(spec.unk_id, &m->unknown_token_id);
  set(spec.pad_id, &m->padding_token_id);
  m->add_bos_token = chat == nullptr ? !spec.prefix_ids.empty() : BeginsWithBos(spec, *chat, *bos);
  m->add_eos_token = false;
  return absl::OkStatus();
}

std::string TokenText(const BpeSpec& spec, int32_t id) {
  const std::string& token = spec.vocab[static_cast<size_t>(id)];
  return spec.sentencepiece.has_value() ? UnmarkSpaces(token) : UnmapToken(token).value_or("");
}

// Pairs of tokens whose order of merging matters: what each of some thousand merges makes, one after another.
std::string MergedText(const BpeSpec& spec) {
  std::string text;
  const size_t step = 1 + spec.merges.size() / 4096;
  for (size_t i = 0; i < spec.merges.size(); i += step) absl::StrAppend(&text, TokenText(spec, spec.merges[i].result));
  return text;
}

// What the two tokenizers are tried on: words and numbers of every class, spaces, line ends, other scripts, and the
// text of control tokens.
std::vector<std::string> ProbeTexts(const BpeSpec& spec) {
  std::vector<std::string> texts = {"",
                                    "Hello, world! It's 12345.67 o'clock; THEY'LL see 3 x 4 = 12.",
                                    "  two spaces, a\ttab\n\nand\r\nline ends   \n ",
                                    "na\xC3\xAFve caf\xC3\xA9 e\xCC\x81 \xE6\xBC\xA2\xE5\xAD\x97 "
                                    "\xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82 \xF0\x9F\x90\xA6 \xC2\xBD",
                                    "def add(a, b):\n    return a + b  # sum\n",
                                    MergedText(spec)};
  std::string markers = "a";
  for (size_t i = 0; i < std::min<size_t>(spec.added.size(), 300); ++i) {
    const std::string& content = spec.added[i].content;
    if (!IsRunOfMarks(spec, content)) absl::StrAppend(&markers, " ", content, content, "b");
  }
  texts.push_back(markers);
  return texts;
}

std::string Ids(const std::vector<int32_t>& ids) {
  return absl::StrCat(absl::StrJoin(ids.begin(), ids.begin() + std::min<ptrdiff_t>(12, std::ssize(ids)), " "),
                      ids.size() > 12 ? " ..." : "");
}

absl::Status Differ(absl::string_view what, const std::vector<int32_t>& trained, const std::vector<int32_t>& written) {
  const auto [a, b] = std::mismatch(trained.begin(), trained.end(), written.begin(), written.end());
  const ptrdiff_t at = a - trained.begin();
  return absl::InvalidArgumentError(absl::StrCat("the tokenizer in the GGUF file differs from the model's: ", what,
                                                 ": from token ", at, " on the model has ", Ids({a, trained.end()}),
                                                 ", the file ", Ids({b, written.end()}), "; nothing was kept"));
}

absl::Status CheckVocabulary(const Tokenizer& trained, const Tokenizer& written) {
  for (int32_t id = 0; id < trained.num_tokens(); ++id) {
    if (trained.TokenBytes(id) == written.TokenBytes(id) && trained.IsSpecial(id) == written.IsSpecial(id)) continue;
    return absl::InvalidArgumentError(absl::StrCat("the tokenizer in the GGUF file differs from the model's: token ",
                                                   id, " is not \"", trained.TokenBytes(id),
                                                   "\" there; nothing was kept"));
  }
  return absl::OkStatus();
}

// An error if the template does not have such conversations.
absl::StatusOr<std::vector<int32_t>> Render(const Tokenizer& tokenizer, const ChatTemplate& chat,
                                            const std::vector<Message>& conversation) {
  const absl::StatusOr<std::vector<Segment>> segments = chat.Render(conversation);
  if (!segments.ok()) return segments.status();
  return EncodeSegments(*segments, tokenizer, /*train_on_prompt=*/false).tokens;
}

// The same conversations through the file's own template, as its readers will render them.
absl::Status CheckConversations(const Tokenizer& trained, const ChatTemplate& chat, const Tokenizer& written) {
  const absl::StatusOr<ChatTemplate> own =
      ChatTemplate::ForTokenizer(written.spec(), chat.is_bare() ? chat.name() : absl::string_view());
  if (!own.ok()) return own.status();
  for (const std::string& text : ProbeTexts(trained.spec())) {
    for (const bool system : {false, true}) {
      std::vector<Message> conversation = {
          {"user", text}, {"assistant", "So: " + text}, {"user", "And?"}, {"assistant", "Done."}};
      if (system) conversation.insert(conversation.begin(), {"system", text});
      const absl::StatusOr<std::vector<int32_t>> in_training = Render(trained, chat, conversation);
      if (!in_training.ok()) continue;
      const absl::StatusOr<std::vector<int32_t>> of_file = Render(written, *own, conversation);
      if (!of_file.ok()) return of_file.status();
      const std::vector<int32_t>&a = *in_training, &b = *of_file;
      if (a != b) return Differ("a conversation", a, b);
      // Where the file says so, a reader puts BOS there and drops the template's own.
      const std::vector<int32_t>& prefix = written.spec().prefix_ids;
      std::vector<int32_t> prompted = b;
      if (!prefix.empty() && !prompted.empty() && prompted[0] == prefix[0]) prompted.erase(prompted.begin());
      prompted.insert(prompted.begin(), prefix.begin(), prefix.end());
      if (a != prompted) return Differ("how a conversation begins", a, prompted);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckEnd(const Tokenizer& trained, const ChatTemplate& chat, const Tokenizer& written) {
  const std::vector<int32_t> mark = trained.Encode(chat.end_of_turn(), {.allow_special = true});
  if (mark.size() == 1 && written.IsStop(mark[0])) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("an answer ends with \"", chat.end_of_turn(),
                                                 "\" in training, which ends no generation by the GGUF ",
                                                 "file: the model would not stop; nothing was kept"));
}

}  // namespace

absl::StatusOr<GgufTokenizerMetadata> ToGgufTokenizer(const BpeSpec& spec, const ChatTemplate* chat, int64_t rows) {
  GgufTokenizerMetadata m;
  if (absl::Status s = AddTokens(spec, rows, &m); !s.ok()) return s;
  const absl::Status added = spec.sentencepiece.has_value() ? AddSentencePiece(spec, &m) : AddByteLevel(spec, &m);
  if (!added.ok()) return added;
  if (absl::Status s = AddIds(spec, chat, &m); !s.ok()) return s;
  m.chat_template = spec.chat_template;
  const absl::StatusOr<ChatTemplate> own = ChatTemplate::ForTokenizer(spec, "");
  if (chat == nullptr || (own.ok() && own->IsSameAs(*chat))) return m;
  absl::StatusOr<std::string> jinja = chat->Jinja();
  if (!jinja.ok()) return jinja.status();
  m.chat_template = *std::move(jinja);
  return m;
}

void AddTokenizerValues(const GgufTokenizerMetadata& m, GgufValues* values) {
  const auto id = [&](absl::string_view key, const absl::optional<int64_t>& value) {
    if (value) values->U32(absl::StrCat("tokenizer.ggml.", key), static_cast<uint32_t>(*value));
  };
  values->String("tokenizer.ggml.model", m.model);
  values->String("tokenizer.ggml.pre", m.pre);
  values->Strings("tokenizer.ggml.tokens", m.tokens);
  values->I32s("tokenizer.ggml.token_type", m.token_type);
  if (!m.merges.empty() || m.scores.empty()) values->Strings("tokenizer.ggml.merges", m.merges);
  if (!m.scores.empty()) values->F32s("tokenizer.ggml.scores", {m.scores.begin(), m.scores.end()});
  id("bos_token_id", m.bos_token_id);
  id("eos_token_id", m.eos_token_id);
  id("eot_token_id", m.eot_token_id);
  id("eom_token_id", m.eom_token_id);
  id("unknown_token_id", m.unknown_token_id);
  id("padding_token_id", m.padding_token_id);
  if (m.add_bos_token) values->Bool("tokenizer.ggml.add_bos_token", *m.add_bos_token);
  if (m.add_space_prefix) values->Bool("tokenizer.ggml.add_space_prefix", *m.add_space_prefix);
  if (m.add_eos_token) values->Bool("tokenizer.ggml.add_eos_token", *m.add_eos_token);
  if (!m.chat_template.empty()) values->String("tokenizer.chat_template", m.chat_template);
}

absl::Status CheckGgufTokenizer(const Tokenizer& trained, const ChatTemplate* chat, const GgufMetadata& metadata) {
  absl::StatusOr<BpeSpec> spec = TokenizerSpecFromGguf(metadata);
  if (!spec.ok()) return spec.status();
  const absl::StatusOr<Tokenizer> written = Tokenizer::Create(*std::move(spec));
  if (!written.ok()) return written.status();
  if (absl::Status s = CheckVocabulary(trained, *written); !s.ok()) return s;
  for (const std::string& text : ProbeTexts(trained.spec())) {
    for (const bool allow_special : {false, true}) {
      const std::vector<int32_t> a = trained.Encode(text, {.allow_special = allow_special});
      const std::vector<int32_t> b = written->Encode(text, {.allow_special = allow_special});
      if (a != b) return Differ("a plain text", a, b);
    }
  }
  if (chat == nullptr) return absl::OkStatus();
  if (absl::Status s = CheckConversations(trained, *chat, *written); !s.ok()) return s;
  return CheckEnd(trained, *chat, *written);
}

}  // namespace lorikeet::text
