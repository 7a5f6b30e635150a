#include "apps/demo/corpus.h"

#include <cstdint>
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tensor/random.h"

namespace lorikeet::demo {
namespace {

constexpr RngKey kKey{.seed = 7};

TEST(CorpusTest, TheSameKeyGivesTheSameTextAndAnotherKeyAnother) {
  EXPECT_EQ(PretrainingDocument(kKey), PretrainingDocument(kKey));
  std::set<std::string> documents;
  for (uint64_t i = 0; i < 200; ++i) documents.insert(PretrainingDocument(kKey.Fold(i)));
  EXPECT_GT(documents.size(), 195u);
}

TEST(CorpusTest, NoPretrainingDocumentHoldsAnythingOfTheTask) {
  for (uint64_t i = 0; i < 5000; ++i) {
    const std::string document = PretrainingDocument(kKey.Fold(i));
    EXPECT_EQ(document.find("{\""), std::string::npos) << document;
    EXPECT_EQ(document.find("\":"), std::string::npos) << document;
  }
}

TEST(CorpusTest, EveryAnswerIsJsonWhoseValuesStandInThePrompt) {
  for (uint64_t i = 0; i < 500; ++i) {
    const Task task = JsonTask(kKey.Fold(i), Split::kTrain);
    const nlohmann::json answer = nlohmann::json::parse(task.answer);
    ASSERT_EQ(answer.size(), 3u);
    for (const auto& [key, value] : answer.items()) {
      EXPECT_NE(task.prompt.find(value.get<std::string>()), std::string::npos) << key << " of " << task.prompt;
    }
  }
}

// A person: name and home.
std::set<std::string> People(Split split) {
  std::set<std::string> people;
  for (uint64_t i = 0; i < 3000; ++i) {
    const nlohmann::json answer = nlohmann::json::parse(JsonTask(kKey.Fold(i), split).answer);
    people.insert(answer["name"].get<std::string>() + " of " + answer["home"].get<std::string>());
  }
  return people;
}

TEST(CorpusTest, HeldOutRowsAreAboutOtherPeople) {
  const std::set<std::string> train = People(Split::kTrain), held_out = People(Split::kHeldOut);
  EXPECT_GT(train.size(), 100u);
  EXPECT_GT(held_out.size(), 100u);
  for (const std::string& person : held_out) EXPECT_EQ(train.count(person), 0u) << person;
}

}  // namespace
}  // namespace lorikeet::demo
