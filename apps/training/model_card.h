// The README.md beside an adapter: what it is, how it was made, how well it does, how to load it.
//
//   absl::Status status = WriteFileAtomically("out/README.md", ModelCard(inputs));
//
// Hugging Face's form: YAML front matter (base_model, library_name: peft, tags), then Markdown. The loading code is for
// PEFT and for this project's generate; what a user gave (names, paths) is quoted so that it stays text in both.
// Source: https://huggingface.co/docs/hub/model-cards. Errors: none. Threads: any.
#ifndef LORIKEET_APPS_TRAINING_MODEL_CARD_H_
#define LORIKEET_APPS_TRAINING_MODEL_CARD_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace lorikeet {

struct ModelCardInputs {
  std::string name;        // of the adapter or model; a title
  std::string base_model;  // as --model has it: a directory, a .gguf file, or a name on the Hub
  std::string output_dir;
  std::string method;            // "qlora"; "full": a whole model, not an adapter
  std::string generate_command;  // a line for a shell
  std::string quant_type;        // "nf4" or "fp4" where the base was in 4 bits
  bool double_quant = false;
  std::string data;  // file's name
  int64_t train_rows = 0, eval_rows = 0;
  int64_t trainable_parameters = 0, total_parameters = 0;
  std::vector<std::pair<std::string, std::string>> hyper_parameters;  // printed in this order
  int64_t steps = 0;
  double eval_loss_before = 0, eval_loss_after = 0;  // not finite: not evaluated
};

std::string ModelCard(const ModelCardInputs& card);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_MODEL_CARD_H_
