#include "apps/training/metrics.h"

#include <cerrno>
#include <clocale>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tensor/io/file.h"

namespace lorikeet {
namespace {

std::string NewPath() {
  const std::string path =
      absl::StrCat(testing::TempDir(), "/", testing::UnitTest::GetInstance()->current_test_info()->name());
  std::filesystem::remove_all(path);
  return path;
}

std::string Text(const std::string& path) { return ReadFileToString(path, 1 << 20).value_or("<unreadable>"); }

TEST(MetricsTest, AStepIsOneObjectWithTheShortestNumbers) {
  const std::string path = NewPath();
  {
    auto metrics = MetricsWriter::Create(path);
    ASSERT_TRUE(metrics.ok()) << metrics.status();
    (*metrics)->Write(EvalMetrics{0, 2.5});
    (*metrics)->Write(StepMetrics{1, 0.1, 2e-4, 0.52, 1024, 412.5, 2.48, 1203765248});
  }
  EXPECT_EQ(Text(path),
            "{\"step\":0,\"eval_loss\":2.5}\n"
            "{\"step\":1,\"loss\":0.1,\"lr\":2e-04,\"grad_norm\":0.52,\"tokens\":1024,\"tokens_per_second\":412.5,"
            "\"seconds\":2.48,\"resident_bytes\":1203765248}\n");
  const absl::StatusOr<MetricsSeries> series = ReadMetrics(path);
  ASSERT_TRUE(series.ok()) << series.status();
  ASSERT_EQ(series->steps.size(), 1u);
  EXPECT_EQ(series->steps[0].loss, 0.1);
  EXPECT_EQ(series->steps[0].resident_bytes, 1203765248);
  ASSERT_EQ(series->evals.size(), 1u);
  EXPECT_EQ(series->evals[0].eval_loss, 2.5);
}

TEST(MetricsTest, ALossThatIsNotANumberIsNull) {
  const std::string path = NewPath();
  {
    auto metrics = MetricsWriter::Create(path);
    ASSERT_TRUE(metrics.ok());
    (*metrics)->Write(StepMetrics{.step = 1, .loss = std::nan(""), .grad_norm = HUGE_VAL});
  }
  EXPECT_TRUE(absl::StrContains(Text(path), "\"loss\":null")) << Text(path);
  EXPECT_FALSE(absl::StrContains(Text(path), "nan") || absl::StrContains(Text(path), "inf")) << Text(path);
  EXPECT_TRUE(std::isnan(ReadMetrics(path)->steps[0].loss));
}

TEST(MetricsTest, AResumedRunDropsLaterStepsAndATornLine) {
  const std::string path = NewPath();
  {
    auto metrics = MetricsWriter::Create(path);
    ASSERT_TRUE(metrics.ok());
    for (int64_t step = 1; step <= 5; ++step) (*metrics)->Write(StepMetrics{.step = step, .loss = 1.0});
    (*metrics)->Write(EvalMetrics{4, 1.5});
  }
  std::ofstream(path, std::ios::app) << "{\"step\":2,\"lo";
  EXPECT_EQ(ReadMetrics(path)->steps.size(), 5u);
  {
    auto metrics = MetricsWriter::Resume(path, 3);
    ASSERT_TRUE(metrics.ok()) << metrics.status();
    (*metrics)->Write(StepMetrics{.step = 4, .loss = 2.0});
  }
  const absl::StatusOr<MetricsSeries> series = ReadMetrics(path);
  ASSERT_TRUE(series.ok()) << series.status();
  ASSERT_EQ(series->steps.size(), 4u);
  for (int64_t i = 0; i < 4; ++i) EXPECT_EQ(series->steps[static_cast<size_t>(i)].step, i + 1);
  EXPECT_EQ(series->steps[3].loss, 2.0);
  EXPECT_TRUE(series->evals.empty());
}

TEST(MetricsTest, ResumeWithoutAFileBeginsOne) {
  const std::string path = NewPath();
  ASSERT_TRUE(MetricsWriter::Resume(path, 10).ok());
  EXPECT_EQ(Text(path), "");
}

TEST(MetricsTest, AFullDiskIsAStatusAndNotAnEnd) {
  struct Full : FileSystem {
    ssize_t Write(int, const void*, size_t) override { return ++writes, errno = ENOSPC, -1; }
    int writes = 0;
  } full;
  auto metrics = MetricsWriter::Create(NewPath(), full);
  ASSERT_TRUE(metrics.ok());
  for (int64_t step = 1; step <= 3; ++step) (*metrics)->Write(StepMetrics{.step = step});
  EXPECT_EQ((*metrics)->status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(absl::StrContains((*metrics)->status().message(), "training goes on without metrics"));
  EXPECT_EQ(full.writes, 1);
}

TEST(MetricsTest, AForeignLineIsNamedByItsNumber) {
  const std::string path = NewPath();
  std::ofstream(path) << "{\"step\":1,\"loss\":1}\nhello\n{\"step\":2,\"loss\":1}\n";
  const absl::Status status = ReadMetrics(path).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(absl::StrContains(status.message(), "line 2")) << status;
}

TEST(MetricsTest, ACommaLocaleChangesNothing) {
  if (std::setlocale(LC_ALL, "de_DE.UTF-8") == nullptr) GTEST_SKIP() << "this machine has no locale de_DE.UTF-8";
  const std::string path = NewPath();
  {
    auto metrics = MetricsWriter::Create(path);
    ASSERT_TRUE(metrics.ok());
    (*metrics)->Write(EvalMetrics{1, 2.5});
  }
  const absl::StatusOr<MetricsSeries> series = ReadMetrics(path);
  std::setlocale(LC_ALL, "C");
  EXPECT_EQ(Text(path), "{\"step\":1,\"eval_loss\":2.5}\n");
  EXPECT_EQ(series->evals[0].eval_loss, 2.5);
}

}  // namespace
}  // namespace lorikeet
