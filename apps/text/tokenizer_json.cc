#include "apps/text/tokenizer_json.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "apps/text/json.h"
#include "apps/text/sentencepiece_json.h"

namespace lorikeet::text {
namespace {

using nlohmann::json;

absl::Status Refuse(absl::string_view where, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", what));
}

// An id or another small count; nothing where the value is not an integer in range.
absl::optional<int32_t> ToId(const json& value) {
  if (!value.is_number_integer()) return absl::nullopt;
  const int64_t id = value.is_number_unsigned() && value.get<uint64_t>() > std::numeric_limits<int32_t>::max()
                         ? -1
                         : value.get<int64_t>();
  if (id < 0 || id > std::numeric_limits<int32_t>::max()) return absl::nullopt;
  return static_cast<int32_t>(id);
}

bool TypeIs(const json& object, absl::string_view type) {
  const std::string* name = StringMember(object, "type");
  return name != nullptr && *name == type;
}

absl::Status ReadNormalizer(const json& root, BpeSpec* spec) {
  const json* normalizer = Member(root, "normalizer");
  if (normalizer == nullptr) return absl::OkStatus();
  const json* parts = TypeIs(*normalizer, "Sequence") ? Member(*normalizer, "normalizers") : nullptr;
  if (parts != nullptr && parts->is_array() && parts->empty()) return absl::OkStatus();
  if (!TypeIs(*normalizer, "NFC")) {
    return Refuse("normalizer", absl::StrCat(normalizer->dump(),
                                             " is not supported; known are null, NFC, and Replace of \" \" by"
                                             " \"\u2581\" with or without Prepend"));
  }
  spec->normalizer = Normalizer::kNfc;
  return absl::OkStatus();
}

bool IsByteLevel(const json& part, bool use_regex) {
  return TypeIs(part, "ByteLevel") && !BoolMember(part, "add_prefix_space", true) &&
         BoolMember(part, "use_regex", true) == use_regex;
}

absl::optional<PretokenizerFamily> FamilyOfSequence(const json& first, const json& second) {
  if (TypeIs(first, "Digits") && BoolMember(first, "individual_digits", false) && IsByteLevel(second, true)) {
    return PretokenizerFamily::kSmolLm;
  }
  const json* pattern = Member(first, "pattern");
  const std::string* regex = pattern == nullptr ? nullptr : StringMember(*pattern, "Regex");
  const std::string* behavior = StringMember(first, "behavior");
  if (TypeIs(first, "Split") && regex != nullptr && behavior != nullptr && *behavior == "Isolated" &&
      !BoolMember(first, "invert", false) && IsByteLevel(second, false)) {
    return FamilyOfPattern(*regex);
  }
  return absl::nullopt;
}

absl::Status ReadPretokenizer(const json& root, BpeSpec* spec) {
  const json* pre = Member(root, "pre_tokenizer");
  if (pre == nullptr) return Refuse("pre_tokenizer", "missing; a byte-level tokenizer has one");
  absl::optional<PretokenizerFamily> family;
  if (IsByteLevel(*pre, true)) family = PretokenizerFamily::kGpt2;
  const json* parts = TypeIs(*pre, "Sequence") ? Member(*pre, "pretokenizers") : nullptr;
  if (parts != nullptr && parts->is_array() && parts->size() == 2) family = FamilyOfSequence((*parts)[0], (*parts)[1]);
  if (!family.has_value()) {
    return Refuse("pre_tokenizer", absl::StrCat(pre->dump(),
                                                " is not one of the known families"
                                                " (gpt2, smollm, llama3, qwen2, qwen35, tekken, gpt4o)"));
  }
  spec->pretokenizer = *family;
  return absl::OkStatus();
}

absl::Status ReadVocab(const json& model, BpeSpec* spec) {
  const json* vocab = Member(model, "vocab");
  if (vocab == nullptr || !vocab->is_object()) return Refuse("model.vocab", "missing, or not an object of token: id");
  spec->vocab.assign(vocab->size(), "");
  std::vector<bool> seen(vocab->size(), false);
  for (const auto& [token, value] : vocab->items()) {
    const absl::optional<int32_t> id = ToId(value);
    if (!id.has_value() || *id >= static_cast<int64_t>(vocab->size()) || seen[*id]) {
      return Refuse("model.vocab", absl::StrCat("\"", token, "\" has id ", value.dump(), "; ids must be 0..",
                                                vocab->size() - 1, ", each once"));
    }
    spec->vocab[*id] = token;
    seen[*id] = true;
  }
  return absl::OkStatus();
}

// The two parts of a merge, from "a b" or ["a", "b"].
absl::StatusOr<std::pair<absl::string_view, absl::string_view>> MergeParts(const json& merge) {
  if (const std::string* line = merge.get_ptr<const json::string_t*>()) {
    const size_t space = line->find(' ');
    if (space != std::string::npos && line->find(' ', space + 1) == std::string::npos) {
      return std::make_pair(absl::string_view(*line).substr(0, space), absl::string_view(*line).substr(space + 1));
    }
  } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return std::make_pair(absl::string_view(merge[0].get_ref<const std::string&>()),
                          absl::string_view(merge[1].get_ref<const std::string&>()));
  }
  return Refuse("model.merges", absl::StrCat(merge.dump(), R"( is neither "a b" nor ["a", "b"])"));
}

absl::Status ReadMerges(const json& model, BpeSpec* spec) {
  const json* merges = Member(model, "merges");
  if (merges == nullptr || !merges->is_array()) return Refuse("model.merges", "missing, or not an array");
  absl::StatusOr<VocabIndex> index = IndexVocab(spec->vocab);
  if (!index.ok()) return index.status();
  for (const json& line : *merges) {
    const std::string* text = line.get_ptr<const json::string_t*>();
    if (text != nullptr && absl::StartsWith(*text, "#version")) continue;
    const auto parts = MergeParts(line);
    if (!parts.ok()) return parts.status();
    absl::StatusOr<Merge> merge = ResolveMerge(*index, parts->first, parts->second);
    if (!merge.ok()) return Refuse("model.merges", merge.status().message());
    spec->merges.push_back(*merge);
  }
  return absl::OkStatus();
}

// Options of the model that would change ids and that the known tokenizers leave off.
absl::Status CheckModelOptions(const json& model) {
  if (Member(model, "type") != nullptr && !TypeIs(model, "BPE")) {
    return Refuse("model.type", absl::StrCat(Member(model, "type")->dump(), " is not supported; only BPE is"));
  }
  const json* dropout = Member(model, "dropout");
  if (dropout != nullptr && *dropout != 0) return Refuse("model.dropout", "must be null or 0");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const json* value = Member(model, key);
    if (value != nullptr && *value != "") return Refuse(absl::StrCat("model.", key), "is not supported");
  }
  return absl::OkStatus();
}

// How text becomes symbols: SentencePiece's rules, or a normalizer and a pre-tokenizer of byte level.
absl::Status ReadTextRules(const json& root, const json& model, BpeSpec* spec) {
  if (IsSentencePieceJson(root)) {
    absl::StatusOr<SentencePieceRules> rules = ReadSentencePieceRules(root);
    if (!rules.ok()) return rules.status();
    spec->sentencepiece = *rules;
    return absl::OkStatus();
  }
  if (BoolMember(model, "byte_fallback", false)) return Refuse("model.byte_fallback", "is not supported at byte level");
  if (absl::Status s = ReadNormalizer(root, spec); !s.ok()) return s;
  return ReadPretokenizer(root, spec);
}

// "unk_token": byte-level vocabularies leave nothing unknown, and theirs is never met.
absl::Status ReadUnknown(const json& model, BpeSpec* spec) {
  const std::string* unknown = StringMember(model, "unk_token");
  if (unknown == nullptr || !spec->sentencepiece.has_value()) return absl::OkStatus();
  const auto it = std::find(spec->vocab.begin(), spec->vocab.end(), *unknown);
  if (it == spec->vocab.end()) {
    return Refuse("model.unk_token", absl::StrCat("\"", *unknown, "\" is not in the vocabulary"));
  }
  spec->sentencepiece->unknown_id = static_cast<int32_t>(it - spec->vocab.begin());
  return absl::OkStatus();
}

absl::Status ReadAddedTokens(const json& root, BpeSpec* spec) {
  const json* added = Member(root, "added_tokens");
  if (added == nullptr) return absl::OkStatus();
  if (!added->is_array()) return Refuse("added_tokens", "not an array");
  for (const json& entry : *added) {
    const std::string* content = StringMember(entry, "content");
    const json* id = Member(entry, "id");
    const absl::optional<int32_t> number = id == nullptr ? absl::nullopt : ToId(*id);
    if (content == nullptr || !number.has_value()) {
      return Refuse("added_tokens", absl::StrCat(entry.dump(), " has no content or no id"));
    }
    const bool special = BoolMember(entry, "special", false);
    spec->added.push_back({*number, *content, BoolMember(entry, "single_word", false),
                           BoolMember(entry, "lstrip", false), BoolMember(entry, "rstrip", false),
                           BoolMember(entry, "normalized", !special), special});
  }
  return absl::OkStatus();
}

// The ids of one {"SpecialToken": {"id": name}} of a template.
absl::Status AppendTemplateIds(const json& processor, const json& item, std::vector<int32_t>* ids) {
  const json* special = Member(item, "SpecialToken");
  const std::string* name = special == nullptr ? nullptr : StringMember(*special, "id");
  const json* table = Member(processor, "special_tokens");
  const json* entry = name == nullptr || table == nullptr ? nullptr : Member(*table, name->c_str());
  const json* values = entry == nullptr ? nullptr : Member(*entry, "ids");
  if (values == nullptr || !values->is_array()) {
    return Refuse("post_processor", absl::StrCat("no ids for ", item.dump()));
  }
  for (const json& value : *values) {
    const absl::optional<int32_t> id = ToId(value);
    if (!id.has_value()) return Refuse("post_processor", absl::StrCat(value.dump(), " is not a token id"));
    ids->push_back(*id);
  }
  return absl::OkStatus();
}

absl::Status ReadTemplateProcessing(const json& processor, BpeSpec* spec) {
  const json* single = Member(processor, "single");
  if (single == nullptr || !single->is_array()) return Refuse("post_processor.single", "missing, or not an array");
  bool after_text = false;
  for (const json& item : *single) {
    if (Member(item, "Sequence") != nullptr) {
      if (after_text) return Refuse("post_processor.single", "names the text twice");
      after_text = true;
      continue;
    }
    absl::Status status = AppendTemplateIds(processor, item, after_text ? &spec->suffix_ids : &spec->prefix_ids);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status ReadPostProcessor(const json& processor, BpeSpec* spec) {
  if (TypeIs(processor, "ByteLevel")) return absl::OkStatus();  // touches offsets only
  if (TypeIs(processor, "TemplateProcessing")) return ReadTemplateProcessing(processor, spec);
  const json* parts = TypeIs(processor, "Sequence") ? Member(processor, "processors") : nullptr;
  if (parts == nullptr || !parts->is_array()) {
    return Refuse("post_processor", absl::StrCat(processor.dump(), " is not supported"));
  }
  for (const json& part : *parts) {  // of plain parts only, so that a file cannot make this recurse without end
    if (TypeIs(part, "Sequence")) return Refuse("post_processor", "a Sequence inside a Sequence is not supported");
    if (absl::Status status = ReadPostProcessor(part, spec); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status ReadTokenizerJson(const std::string& text, BpeSpec* spec) {
  absl::StatusOr<json> root = ParseJson(text);
  if (!root.ok()) return root.status();
  const std::string* version = StringMember(*root, "version");
  if (version == nullptr || *version != "1.0") return Refuse("version", "must be \"1.0\"");
  const json* model = Member(*root, "model");
  if (model == nullptr || !model->is_object()) return Refuse("model", "missing, or not an object");
  if (absl::Status s = CheckModelOptions(*model); !s.ok()) return s;
  spec->ignore_merges = BoolMember(*model, "ignore_merges", false);
  if (absl::Status s = ReadTextRules(*root, *model, spec); !s.ok()) return s;
  if (absl::Status s = ReadVocab(*model, spec); !s.ok()) return s;
  if (absl::Status s = ReadUnknown(*model, spec); !s.ok()) return s;
  if (absl::Status s = ReadMerges(*model, spec); !s.ok()) return s;
  if (absl::Status s = ReadAddedTokens(*root, spec); !s.ok()) return s;
  const json* processor = Member(*root, "post_processor");
  return processor == nullptr ? absl::OkStatus() : ReadPostProcessor(*processor, spec);
}

int32_t IdOf(const BpeSpec& spec, absl::string_view content) {
  for (const AddedToken& token : spec.added) {
    if (token.content == content) return token.id;
  }
  const auto it = std::find(spec.vocab.begin(), spec.vocab.end(), content);
  return it == spec.vocab.end() ? -1 : static_cast<int32_t>(it - spec.vocab.begin());
}

// "eos_token": "<|im_end|>", or {"content": "<|im_end|>", ...}.
absl::Status ReadNamedToken(const json& config, const char* key, const BpeSpec& spec, int32_t* id) {
  const json* value = Member(config, key);
  if (value == nullptr) return absl::OkStatus();
  const std::string* content =
      value->is_object() ? StringMember(*value, "content") : value->get_ptr<const json::string_t*>();
  if (content == nullptr) return Refuse(key, "is neither a string nor an object with content");
  *id = IdOf(spec, *content);
  if (*id < 0) return Refuse(key, absl::StrCat("\"", *content, "\" is not a token of tokenizer.json"));
  return absl::OkStatus();
}

absl::Status InFile(const char* file, const absl::Status& status) {
  return status.ok() ? status : absl::Status(status.code(), absl::StrCat(file, ": ", status.message()));
}

absl::Status ReadNamedTokens(const char* file, const std::string& text, BpeSpec* spec) {
  absl::StatusOr<json> config = ParseJson(text);
  if (!config.ok()) return InFile(file, config.status());
  for (const auto& [key, id] :
       {std::make_pair("bos_token", &spec->bos_id), std::make_pair("eos_token", &spec->eos_id),
        std::make_pair("pad_token", &spec->pad_id), std::make_pair("unk_token", &spec->unk_id)}) {
    if (absl::Status s = ReadNamedToken(*config, key, *spec, id); !s.ok()) return InFile(file, s);
  }
  const json* chat = Member(*config, "chat_template");
  if (chat == nullptr) return absl::OkStatus();
  spec->chat_template_source = file;
  if (const std::string* jinja = chat->get_ptr<const json::string_t*>()) {
    spec->chat_template = *jinja;
  } else if (chat->is_array()) {  // several, by name
    for (const json& entry : *chat) {
      const std::string* name = StringMember(entry, "name");
      const std::string* jinja = StringMember(entry, "template");
      if (name != nullptr && jinja != nullptr && *name == "default") spec->chat_template = *jinja;
    }
  }
  return absl::OkStatus();
}

absl::Status ReadGenerationConfig(const std::string& text, BpeSpec* spec) {
  absl::StatusOr<json> config = ParseJson(text);
  if (!config.ok()) return config.status();
  const json* eos = Member(*config, "eos_token_id");
  if (eos == nullptr) return absl::OkStatus();
  const json list = eos->is_array() ? *eos : json::array({*eos});
  for (const json& value : list) {
    const absl::optional<int32_t> id = ToId(value);
    if (!id.has_value()) return Refuse("eos_token_id", absl::StrCat(value.dump(), " is not a token id"));
    spec->stop_ids.push_back(*id);
  }
  if (spec->eos_id < 0 && !spec->stop_ids.empty()) spec->eos_id = spec->stop_ids[0];
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadIfThere(const std::string& path) {
  constexpr size_t kLargest = size_t{256} << 20;  // the largest in use are about 30 MB
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    if (errno == ENOENT) return std::string();
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", std::strerror(errno)));
  }
  std::string text;
  std::vector<char> chunk(1 << 16);
  while (file.read(chunk.data(), static_cast<std::streamsize>(chunk.size())) || file.gcount() > 0) {
    text.append(chunk.data(), static_cast<size_t>(file.gcount()));
    if (text.size() > kLargest) return absl::InvalidArgumentError(absl::StrCat(path, ": larger than 256 MiB"));
  }
  if (file.bad()) return absl::DataLossError(absl::StrCat(path, ": could not be read to its end"));
  return text;
}

}  // namespace

absl::StatusOr<BpeSpec> TokenizerSpecFromJson(const TokenizerFiles& files) {
  BpeSpec spec;
  absl::Status status = InFile("tokenizer.json", ReadTokenizerJson(files.tokenizer_json, &spec));
  if (!status.ok()) return status;
  if (!files.special_tokens_map_json.empty()) {
    status = ReadNamedTokens("special_tokens_map.json", files.special_tokens_map_json, &spec);
    if (!status.ok()) return status;
  }
  if (!files.tokenizer_config_json.empty()) {
    status = ReadNamedTokens("tokenizer_config.json", files.tokenizer_config_json, &spec);
    if (!status.ok()) return status;
  }
  if (!files.generation_config_json.empty()) {
    status = InFile("generation_config.json", ReadGenerationConfig(files.generation_config_json, &spec));
    if (!status.ok()) return status;
  }
  if (!files.chat_template_jinja.empty()) {
    spec.chat_template = files.chat_template_jinja;
    spec.chat_template_source = "chat_template.jinja";
  }
  if (spec.eos_id >= 0 && std::find(spec.stop_ids.begin(), spec.stop_ids.end(), spec.eos_id) == spec.stop_ids.end()) {
    spec.stop_ids.push_back(spec.eos_id);
  }
  status = InFile("tokenizer.json", Validate(spec));
  if (!status.ok()) return status;
  return spec;
}

absl::StatusOr<TokenizerFiles> ReadTokenizerFiles(const std::string& directory) {
  TokenizerFiles files;
  for (const auto& [name, text] : {std::make_pair("tokenizer.json", &files.tokenizer_json),
                                   std::make_pair("tokenizer_config.json", &files.tokenizer_config_json),
                                   std::make_pair("special_tokens_map.json", &files.special_tokens_map_json),
                                   std::make_pair("generation_config.json", &files.generation_config_json),
                                   std::make_pair("chat_template.jinja", &files.chat_template_jinja)}) {
    absl::StatusOr<std::string> read = ReadIfThere(absl::StrCat(directory, "/", name));
    if (!read.ok()) return read.status();
    *text = *std::move(read);
  }
  if (files.tokenizer_json.empty()) {
    return absl::NotFoundError(absl::StrCat(directory,
                                            "/tokenizer.json: missing or empty. A model directory needs it;"
                                            " older models have only tokenizer.model, which is not supported"));
  }
  return files;
}

}  // namespace lorikeet::text
