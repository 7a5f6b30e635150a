#include "apps/demo/corpus.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace lorikeet::demo {
namespace {

struct Name {
  const char* name;
  const char* pronoun;
};
constexpr Name kNames[] = {
    {"Clara", "She"}, {"Ivan", "He"},   {"Mona", "She"},  {"Peter", "He"},  {"Ruth", "She"},  {"Omar", "He"},
    {"Lena", "She"},  {"Hugo", "He"},   {"Nina", "She"},  {"Karl", "He"},   {"Alma", "She"},  {"Felix", "He"},
    {"Dora", "She"},  {"Tom", "He"},    {"Edith", "She"}, {"Boris", "He"},  {"Greta", "She"}, {"Samuel", "He"},
    {"Yuki", "She"},  {"Rafael", "He"}, {"Zoe", "She"},   {"Victor", "He"}, {"Amina", "She"}, {"Jonas", "He"},
};
constexpr const char* kJobs[] = {"baker",  "teacher", "pilot",  "farmer",  "nurse", "painter", "sailor", "lawyer",
                                 "tailor", "singer",  "doctor", "builder", "judge", "cook",    "miner",  "clerk"};
constexpr const char* kHomes[] = {"Oslo",  "Paris",  "Rome", "Cairo", "Lima", "Tokyo",   "Delhi", "Quito",
                                  "Dakar", "Berlin", "Bern", "Hanoi", "Riga", "Nairobi", "Porto", "Sofia"};
constexpr const char* kColours[] = {"red", "blue", "green", "black", "white", "grey", "brown", "yellow"};
constexpr const char* kAnimals[] = {"cat", "dog", "horse", "parrot", "rabbit", "goat", "duck", "snake"};
constexpr const char* kFoods[] = {"plums", "bread", "rice", "soup", "figs", "cheese", "honey", "beans"};

// Numbers drawn one after another from a key.
class Dice {
 public:
  explicit Dice(RngKey key) : key_(key) {}
  // 0 .. n-1.
  int Roll(int n) {
    const uint32_t bits = Philox(key_, count_++).v[0];
    return static_cast<int>((uint64_t{bits} * static_cast<uint64_t>(n)) >> 32);
  }
  template <typename T, size_t N>
  const T& Pick(const T (&of)[N]) {
    return of[Roll(static_cast<int>(N))];
  }
  template <typename T>
  void Shuffle(std::vector<T>& v) {
    for (size_t i = v.size(); i > 1; --i) std::swap(v[i - 1], v[static_cast<size_t>(Roll(static_cast<int>(i)))]);
  }

 private:
  RngKey key_;
  uint64_t count_ = 0;
};

struct Person {
  Name who;
  const char *job, *home, *colour, *animal, *food;
  int age;

  std::string pet() const { return absl::StrCat(colour, " ", animal); }
};

Person RandomPerson(Dice& dice) {
  Person p;
  p.who = dice.Pick(kNames);
  p.job = dice.Pick(kJobs);
  p.home = dice.Pick(kHomes);
  p.colour = dice.Pick(kColours);
  p.animal = dice.Pick(kAnimals);
  p.food = dice.Pick(kFoods);
  p.age = 18 + dice.Roll(70);
  return p;
}

// What can be said, asked and recorded about a person. `tell` follows the subject.
struct Fact {
  const char* key;
  std::array<std::string, 2> tell;
  std::string question;
  std::string answer;
};

std::vector<Fact> FactsOf(const Person& p) {
  const absl::string_view name = p.who.name;
  const std::string age = absl::StrCat(p.age);
  return {
      {"job",
       {absl::StrCat("is a ", p.job), absl::StrCat("works as a ", p.job)},
       absl::StrCat("What is the job of ", name, "?"),
       p.job},
      {"home",
       {absl::StrCat("lives in ", p.home), absl::StrCat("has a house in ", p.home)},
       absl::StrCat("Where does ", name, " live?"),
       p.home},
      {"age",
       {absl::StrCat("is ", age, " years old"), absl::StrCat("was born ", age, " years ago")},
       absl::StrCat("How old is ", name, "?"),
       age},
      {"pet",
       {absl::StrCat("has a ", p.pet()), absl::StrCat("owns a ", p.pet())},
       absl::StrCat("What pet does ", name, " have?"),
       p.pet()},
      {"food",
       {absl::StrCat("likes ", p.food), absl::StrCat("loves to eat ", p.food)},
       absl::StrCat("What does ", name, " like?"),
       p.food},
  };
}

// Sentences about the person in any order; the first names them.
std::string Story(const Person& p, std::vector<Fact> facts, Dice& dice) {
  dice.Shuffle(facts);
  std::string story;
  for (const Fact& f : facts) {
    const absl::string_view subject = story.empty() ? p.who.name : p.who.pronoun;
    absl::StrAppend(&story, story.empty() ? "" : " ", subject, " ", f.tell[static_cast<size_t>(dice.Roll(2))], ".");
  }
  return story;
}

std::string StoryWithQuestions(Dice& dice) {
  const Person p = RandomPerson(dice);
  std::vector<Fact> facts = FactsOf(p);
  dice.Shuffle(facts);
  facts.resize(static_cast<size_t>(3 + dice.Roll(3)));
  std::string text = Story(p, facts, dice);
  facts.push_back({"name", {}, "Who is this?", p.who.name});
  dice.Shuffle(facts);
  const absl::string_view mark = dice.Roll(2) == 0 ? "" : "\"";
  for (const Fact& f : facts) absl::StrAppend(&text, "\nQ: ", f.question, "\nA: ", mark, f.answer, mark);
  return text;
}

std::string StoryWithRecord(Dice& dice) {
  const Person p = RandomPerson(dice);
  std::vector<Fact> facts = FactsOf(p);
  dice.Shuffle(facts);
  facts.resize(static_cast<size_t>(3 + dice.Roll(3)));
  const std::string story = Story(p, facts, dice);
  dice.Shuffle(facts);
  std::string record = absl::StrCat("name: ", p.who.name);
  for (const Fact& f : facts) absl::StrAppend(&record, "; ", f.key, ": ", f.answer);
  return dice.Roll(3) == 0 ? absl::StrCat(record, "\n", story) : absl::StrCat(story, "\n", record);
}

std::string Sums(Dice& dice) {
  std::vector<std::string> lines;
  for (int i = 0; i < 4; ++i) {
    const int a = dice.Roll(50), b = dice.Roll(50);
    lines.push_back(absl::StrCat(a, " + ", b, " = ", a + b));
  }
  return absl::StrJoin(lines, "\n");
}

std::string Lists(Dice& dice) {
  std::vector<std::string> words;
  for (const char* c : kColours) words.push_back(c);
  for (const char* a : kAnimals) words.push_back(a);
  for (const char* f : kFoods) words.push_back(f);
  dice.Shuffle(words);
  words.resize(static_cast<size_t>(2 + dice.Roll(4)));
  const std::string list = absl::StrCat("[", absl::StrJoin(words, ", "), "]");
  switch (dice.Roll(3)) {
    case 0:
      std::reverse(words.begin(), words.end());
      return absl::StrCat("Turn round ", list, "\n[", absl::StrJoin(words, ", "), "]");
    case 1:
      std::sort(words.begin(), words.end());
      return absl::StrCat("Sort ", list, "\n[", absl::StrJoin(words, ", "), "]");
    default:
      return absl::StrCat("Of {", absl::StrJoin(words, ", "), "}: the first is ", words.front(), ", the last is ",
                          words.back(), ", there are ", words.size(), ".");
  }
}

std::string Speech(Dice& dice) {
  const Person p = RandomPerson(dice), q = RandomPerson(dice);
  std::vector<Fact> facts = FactsOf(q);
  const Fact& f = facts[static_cast<size_t>(dice.Roll(static_cast<int>(facts.size())))];
  return absl::StrCat("\"", f.question, "\" said ", p.who.name, ".\n\"", q.who.name, " ", f.tell[0], "\", said ",
                      dice.Pick(kNames).name, ": \"", f.answer, "\".");
}

// Half of all pairs of name and home.
bool IsHeldOut(const Person& p) {
  uint64_t sum = 0;
  for (const char c : absl::StrCat(p.who.name, p.home)) sum = sum * 31 + static_cast<unsigned char>(c);
  return (sum >> 3) % 2 == 1;
}

}  // namespace

std::string PretrainingDocument(RngKey key) {
  Dice dice(key);
  const int kind = dice.Roll(20);
  if (kind < 12) return StoryWithQuestions(dice);
  if (kind < 17) return StoryWithRecord(dice);
  if (kind < 18) return Sums(dice);
  if (kind < 19) return Lists(dice);
  return Speech(dice);
}

Task JsonTask(RngKey key, Split split) {
  Dice dice(key);
  Person p = RandomPerson(dice);
  while (IsHeldOut(p) != (split == Split::kHeldOut)) p = RandomPerson(dice);
  std::vector<Fact> facts = FactsOf(p);
  facts.pop_back();  // food
  return {Story(p, facts, dice),
          absl::StrCat("{\"name\": \"", p.who.name, "\", \"job\": \"", p.job, "\", \"home\": \"", p.home, "\"}")};
}

}  // namespace lorikeet::demo
