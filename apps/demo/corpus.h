// The text that the small model learns from, and the task that the demonstration teaches it afterwards. Both are drawn
// from one little world, in which people have a job, a home, an age, a pet and a favourite food.
//
//   RngKey key{.seed = 1};
//   std::string document = PretrainingDocument(key.Fold(i));
//     // Clara is a baker. She lives in Oslo. She has a grey cat.
//     // Q: Where does Clara live?
//     // A: Oslo
//   Task task = JsonTask(key.Fold(i), Split::kTrain);
//     // prompt  Clara is a baker. She lives in Oslo. She is 41 years old. She has a grey cat.
//     // answer  {"name": "Clara", "job": "baker", "home": "Oslo"}
//
// Documents are stories with questions and answers, records, additions, lists turned round, and quoted speech. Braces,
// brackets and quotation marks occur in them, JSON does not: it is what the adapters have to teach.
// The rows of JsonTask fall into two halves by name and home together, so that a held-out row is about a person that no
// training row is about.
// Everything is a function of the key. Threads: any.
#ifndef LORIKEET_APPS_DEMO_CORPUS_H_
#define LORIKEET_APPS_DEMO_CORPUS_H_

#include <string>

#include "tensor/random.h"

namespace lorikeet::demo {

std::string PretrainingDocument(RngKey key);

struct Task {
  std::string prompt;
  std::string answer;
};
enum class Split { kTrain, kHeldOut };
Task JsonTask(RngKey key, Split split);

}  // namespace lorikeet::demo

#endif  // LORIKEET_APPS_DEMO_CORPUS_H_
