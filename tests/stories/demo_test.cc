// The demonstration in short: adapters teach the small model that ships with Lorikeet to write JSON.
#include <cmath>

#include "absl/status/statusor.h"
#include "apps/demo/lesson.h"
#include "apps/training/options.h"
#include "gtest/gtest.h"

namespace lorikeet {
namespace {

Lesson ShortLesson(Method method) {
  LessonOptions options;
  options.method = method;
  options.steps = 60;
  options.held_out_rows = 20;
  absl::StatusOr<Lesson> lesson = Teach(options);
  EXPECT_TRUE(lesson.ok()) << lesson.status();
  return lesson.ok() ? *lesson : Lesson();
}

void ExpectLearned(const Lesson& lesson) {
  EXPECT_GT(lesson.before.loss, 1.0);
  EXPECT_LT(lesson.after.loss, lesson.before.loss / 10);
  EXPECT_EQ(lesson.before.exact, 0);
  EXPECT_GE(lesson.after.exact, 10);
  EXPECT_NE(lesson.before.sample, lesson.sample.answer);
}

TEST(DemoTest, LoraTeachesTheTask) { ExpectLearned(ShortLesson(Method::kLora)); }

TEST(DemoTest, QloraTeachesItOverLessThanHalfTheBytes) {
  const Lesson lesson = ShortLesson(Method::kQlora);
  ExpectLearned(lesson);
  EXPECT_LT(lesson.weight_bytes, lesson.parameters);  // 16 bits a weight would be twice as many bytes as weights
}

TEST(DemoTest, DoraTeachesIt) { ExpectLearned(ShortLesson(Method::kDora)); }

TEST(DemoTest, TheSameLessonHasTheSameOutcome) {
  LessonOptions options;
  options.steps = 3;
  options.held_out_rows = 3;
  const absl::StatusOr<Lesson> one = Teach(options), two = Teach(options);
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_EQ(one->after.loss, two->after.loss);
  EXPECT_EQ(one->after.sample, two->after.sample);
}

}  // namespace
}  // namespace lorikeet
