#include "apps/training/model_card.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "apps/training/number_text.h"

namespace lorikeet {
namespace {

// A double-quoted string of YAML, which is one of Python too.
std::string Quote(absl::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      absl::StrAppendFormat(&out, "\\x%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

// Text in a table's cell or a line of prose.
std::string Cell(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"|", "\\|"}, {"\n", " "}, {"`", "\\`"}, {"<", "&lt;"}});
}

std::string FrontMatter(const ModelCardInputs& card, bool adapter) {
  std::string text = absl::StrCat("---\nbase_model: ", Quote(card.base_model), "\n");
  absl::StrAppend(&text, "library_name: ", adapter ? "peft" : "transformers", "\n",
                  "pipeline_tag: text-generation\ntags:\n- lorikeet\n- ", Quote(card.method), "\n");
  if (adapter) absl::StrAppend(&text, "- ", Quote(absl::StrCat("base_model:adapter:", card.base_model)), "\n");
  return absl::StrCat(text, "---\n\n");
}

std::string Results(const ModelCardInputs& card) {
  if (!std::isfinite(card.eval_loss_before) || !std::isfinite(card.eval_loss_after)) return "";
  const double change = 100 * (card.eval_loss_after / card.eval_loss_before - 1);
  return absl::StrCat("## Results\n\nOn ", WithThousands(card.eval_rows), " held-out rows, answer tokens only:\n\n",
                      "| | before | after | change |\n|---|---|---|---|\n| loss | ",
                      FixedDouble(card.eval_loss_before, 4), " | ", FixedDouble(card.eval_loss_after, 4), " | ",
                      change > 0 ? "+" : "", FixedDouble(change, 1), "% |\n| perplexity | ",
                      FixedDouble(std::exp(card.eval_loss_before), 2), " | ",
                      FixedDouble(std::exp(card.eval_loss_after), 2), " | |\n\n![loss](loss.svg)\n\n");
}

std::string Training(const ModelCardInputs& card) {
  const double percent = 100.0 * static_cast<double>(card.trainable_parameters) /
                         static_cast<double>(std::max<int64_t>(card.total_parameters, 1));
  std::string text =
      absl::StrCat("## Training\n\n| | |\n|---|---|\n| method | ", Cell(card.method), " |\n| data | ", Cell(card.data),
                   " (", WithThousands(card.train_rows), " rows) |\n| steps | ", WithThousands(card.steps),
                   " |\n| trainable parameters | ", WithThousands(card.trainable_parameters), " of ",
                   WithThousands(card.total_parameters), " (", FixedDouble(percent, 2), "%) |\n");
  for (const auto& [name, value] : card.hyper_parameters) {
    absl::StrAppend(&text, "| ", Cell(name), " | ", Cell(value), " |\n");
  }
  return absl::StrCat(text,
                      "\n`run.json` has every flag and the digests of the inputs, `metrics.jsonl` every step.\n\n");
}

// What transformers is told of the base: a GGUF file is a directory and a name there, and cannot be quantized on the
// way.
std::string BaseArguments(const ModelCardInputs& card) {
  if (absl::EndsWith(card.base_model, ".gguf")) {
    const size_t slash = card.base_model.rfind('/');
    const bool bare = slash == std::string::npos;
    return absl::StrCat(Quote(bare ? "." : card.base_model.substr(0, std::max<size_t>(slash, 1))),
                        ", gguf_file=", Quote(card.base_model.substr(bare ? 0 : slash + 1)));
  }
  return absl::StrCat(Quote(card.base_model), card.quant_type.empty() ? "" : ", quantization_config=quantization");
}

std::string Python(const ModelCardInputs& card, bool adapter) {
  const std::string here = Quote(card.output_dir);
  const bool quantized = !card.quant_type.empty() && !absl::EndsWith(card.base_model, ".gguf");
  std::string python = absl::StrCat("from transformers import AutoModelForCausalLM, AutoTokenizer",
                                    quantized ? ", BitsAndBytesConfig" : "", "\n");
  if (!adapter) {
    absl::StrAppend(&python, "\nmodel = AutoModelForCausalLM.from_pretrained(", here, ")\n");
  } else {
    absl::StrAppend(&python, "from peft import PeftModel\n\n");
    if (quantized) {
      absl::StrAppend(
          &python, "quantization = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=", Quote(card.quant_type),
          ", bnb_4bit_use_double_quant=", card.double_quant ? "True" : "False", ")\n");
    }
    absl::StrAppend(&python, "model = AutoModelForCausalLM.from_pretrained(", BaseArguments(card),
                    ")\nmodel = PeftModel.from_pretrained(model, ", here, ")\n");
  }
  return absl::StrCat(python, "tokenizer = AutoTokenizer.from_pretrained(", here, ")\n");
}

std::string Use(const ModelCardInputs& card, bool adapter) {
  return absl::StrCat("## Use\n\nWith Lorikeet:\n\n```\n", card.generate_command, "\n```\n\nWith ",
                      adapter ? "PEFT" : "transformers", ":\n\n```python\n", Python(card, adapter), "```\n");
}

}  // namespace

std::string ModelCard(const ModelCardInputs& card) {
  const bool adapter = card.method != "full";
  std::string text = FrontMatter(card, adapter);
  absl::StrAppend(&text, "# ", Cell(card.name), "\n\n",
                  adapter ? absl::StrCat("An adapter (", Cell(card.method), ") for ") : "A fine-tuned version of ",
                  Cell(card.base_model), ", made with Lorikeet.\n\n");
  return absl::StrCat(text, Results(card), Training(card), Use(card, adapter));
}

}  // namespace lorikeet
