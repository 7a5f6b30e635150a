// Each test starts this program again under mpirun; there main() does what the test says, and its exit code is the
// verdict.
#include "apps/parallel/ranks.h"

#include <sched.h>

#include <algorithm>
#include <chrono>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "apps/parallel/gradient_sum.h"
#include "autograd/parameter.h"
#include "gtest/gtest.h"
#include "tensor/cuda_memory.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"
#include "tests/testing/run_program.h"

namespace lorikeet {
namespace {

// What the r-th rank brings: of magnitudes so different that another order of adding shows in the bits.
float Value(int rank, size_t i) {
  const uint32_t hash = static_cast<uint32_t>(i * 2654435761u) ^ static_cast<uint32_t>((rank + 1) * 40503u);
  const float scale[] = {1.0f / 8192, 1, 4096};  // products are exact, so nothing depends on how they are formed
  return (static_cast<float>(hash % 2001) - 1000) * scale[(i + static_cast<size_t>(rank)) % 3];
}

float SumInOrder(int ranks, size_t i) {
  float sum = Value(0, i);
  for (int r = 1; r < ranks; ++r) sum += Value(r, i);
  return sum;
}

#define LORIKEET_EXPECT(condition)                                             \
  if (!(condition)) {                                                          \
    std::fprintf(stderr, "rank %d: %s is not so\n", ranks.rank(), #condition); \
    return 1;                                                                  \
  }

// Empty, fewer than ranks, not divisible, more than is sent at once.
int Sums(Ranks& ranks) {
  for (const size_t n : {size_t{0}, size_t{1}, size_t{7}, size_t{1000}, (size_t{4} << 20) + 5}) {
    std::vector<float> values(n);
    for (size_t i = 0; i < n; ++i) values[i] = Value(ranks.rank(), i);
    LORIKEET_EXPECT(ranks.Sum(absl::MakeSpan(values)).ok());
    for (size_t i = 0; i < n; ++i) LORIKEET_EXPECT(values[i] == SumInOrder(ranks.size(), i));
  }
  double counts[] = {1, static_cast<double>(ranks.rank())};
  LORIKEET_EXPECT(ranks.Sum(absl::MakeSpan(counts)).ok());
  LORIKEET_EXPECT(counts[0] == ranks.size() && counts[1] == ranks.size() * (ranks.size() - 1) / 2);
  return ranks.Leave(true) ? 0 : 1;
}

int Words(Ranks& ranks) {
  const auto word = [](int rank) {
    return std::string(static_cast<size_t>(rank) * 100, static_cast<char>('a' + rank));
  };
  const absl::StatusOr<std::vector<std::string>> all = ranks.Gather(word(ranks.rank()));
  LORIKEET_EXPECT(all.ok() && all->size() == static_cast<size_t>(ranks.size()));
  for (int r = 0; r < ranks.size(); ++r) LORIKEET_EXPECT((*all)[static_cast<size_t>(r)] == word(r));
  LORIKEET_EXPECT(ranks.ExpectSame("the size", absl::StrCat(ranks.size())).ok());
  const absl::Status differs = ranks.ExpectSame("the row", ranks.rank() == 1 ? "b" : "a");
  LORIKEET_EXPECT(absl::IsInvalidArgument(differs));
  LORIKEET_EXPECT(absl::StrContains(differs.message(), "the row differs between ranks"));
  LORIKEET_EXPECT(absl::StrContains(differs.message(), ranks.NameOf(1) + ": b"));
  return ranks.Leave(true) ? 0 : 1;
}

// A gradient that all have, one that only the last rank has, one that no one has.
int Gradients(Ranks& ranks, Device device) {
  const int last = ranks.size() - 1;
  std::vector<Parameter> parameters(3);
  std::vector<Parameter*> pointers;
  for (Parameter& p : parameters) {
    p.value = Tensor::Zeros({3, 5}, DType::kF32, device);
    pointers.push_back(&p);
  }
  std::vector<float> own(15);
  for (size_t i = 0; i < own.size(); ++i) own[i] = Value(ranks.rank(), i);
  parameters[0].grad = Tensor::From(absl::MakeConstSpan(own), {3, 5}, device);
  if (ranks.rank() == last) parameters[1].grad = Tensor::Full({3, 5}, 7, DType::kF32, device);
  GradientSum sum(&ranks, pointers);
  for (int times = 1; times <= 2; ++times) {  // the buffer is used again
    LORIKEET_EXPECT(sum.Add().ok());
    const Tensor first = parameters[0].grad.To(kCpu), second = parameters[1].grad.To(kCpu);
    for (size_t i = 0; times == 1 && i < own.size(); ++i)
      LORIKEET_EXPECT(first.data<float>()[i] == SumInOrder(ranks.size(), i));
    LORIKEET_EXPECT(second.data<float>()[14] == (times == 1 ? 7 : 7 * ranks.size()));
    LORIKEET_EXPECT(!parameters[2].grad.defined());
  }
  return ranks.Leave(true) ? 0 : 1;
}

int CpuGradients(Ranks& ranks) { return Gradients(ranks, kCpu); }
int CudaGradients(Ranks& ranks) { return Gradients(ranks, Cuda(0)); }

// The last rank hangs: the others say which, and do not wait for it when they leave.
int Hang(Ranks& ranks) {
  ranks.set_patience(3);
  float value = 1;
  if (ranks.rank() == ranks.size() - 1) {
    std::this_thread::sleep_for(std::chrono::minutes(5));
    return 1;
  }
  const absl::Status lost = ranks.Sum(absl::MakeSpan(&value, 1));
  LORIKEET_EXPECT(absl::IsDeadlineExceeded(lost));
  LORIKEET_EXPECT(absl::StrContains(lost.message(), "waited 3 s for " + ranks.NameOf(ranks.size() - 1)));
  LORIKEET_EXPECT(ranks.Gather("anyone?").status() == lost);
  LORIKEET_EXPECT(!ranks.Leave(false));
  if (ranks.rank() > 0) std::this_thread::sleep_for(std::chrono::seconds(60));  // the first one's verdict counts
  return 42;
}

// Two ranks of a machine divide what both may use; five on two processors have one each.
int Processors(Ranks& ranks) {
  cpu_set_t set;
  CPU_ZERO(&set);
  LORIKEET_EXPECT(sched_getaffinity(0, sizeof set, &set) == 0);
  double own = CPU_COUNT(&set), all = own;
  LORIKEET_EXPECT(ranks.Sum(absl::MakeSpan(&all, 1)).ok());
  const double processors = std::atof(std::getenv("PROCESSORS"));
  LORIKEET_EXPECT(own >= 1 && all == std::max<double>(processors, ranks.size()));
  return ranks.Leave(true) ? 0 : 1;
}

int SeesOneGpu(Ranks& ranks) {
  LORIKEET_EXPECT(std::string(std::getenv("CUDA_VISIBLE_DEVICES")) == (ranks.rank() == 1 ? "9" : "4"));
  return ranks.Leave(true) ? 0 : 1;
}

const std::map<std::string, int (*)(Ranks&)> kTasks = {
    {"sums", Sums}, {"words", Words},     {"cpu_gradients", CpuGradients}, {"cuda_gradients", CudaGradients},
    {"hang", Hang}, {"gpus", SeesOneGpu}, {"processors", Processors}};

std::string this_program;

Outcome RunTask(int ranks, const std::string& task, const std::string& environment = "",
                const std::string& options = "") {
  return RunShell(absl::StrCat(environment, MpiRun(), options, "-n ", ranks, " ", this_program, " ", task));
}

class RanksTest : public testing::TestWithParam<int> {};

TEST_P(RanksTest, AddUpInTheOrderOfTheRanks) {
  const Outcome o = RunTask(GetParam(), "sums");
  EXPECT_EQ(o.code, 0) << o.err;
}

TEST_P(RanksTest, HearWhatEachOfThemSays) {
  const Outcome o = RunTask(GetParam(), "words");
  EXPECT_EQ(o.code, 0) << o.err;
}

TEST_P(RanksTest, AddUpGradientsThatSomeLack) {
  const Outcome o = RunTask(GetParam(), "cpu_gradients");
  EXPECT_EQ(o.code, 0) << o.err;
}

TEST_P(RanksTest, AddUpGradientsOfAGpu) {
  if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  const Outcome o = RunTask(GetParam(), "cuda_gradients");
  EXPECT_EQ(o.code, 0) << o.err;
}

TEST_P(RanksTest, NameTheOneThatHangs) {
  const Outcome o = RunTask(GetParam(), "hang");
  EXPECT_EQ(o.code, 42) << o.err;
}

TEST_P(RanksTest, DivideTheProcessors) {
  cpu_set_t set;
  CPU_ZERO(&set);
  ASSERT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
  const Outcome o =
      RunTask(GetParam(), "processors", absl::StrCat("export PROCESSORS=", CPU_COUNT(&set), "; "), "--bind-to none ");
  EXPECT_EQ(o.code, 0) << o.err;
}

INSTANTIATE_TEST_SUITE_P(Sizes, RanksTest, testing::Values(2, 3, 5));

TEST(RanksTest, TakeTurnsWithTheVisibleGpus) {
  const Outcome o = RunTask(3, "gpus", "export CUDA_VISIBLE_DEVICES=4,9; ");
  EXPECT_EQ(o.code, 0) << o.err;
}

TEST(RanksTest, OneAloneNeedsNoMpi) {
  const absl::StatusOr<std::unique_ptr<Ranks>> alone = Ranks::Join();
  ASSERT_TRUE(alone.ok());
  EXPECT_EQ((*alone)->size(), 1);
  float value = 3;
  EXPECT_TRUE((*alone)->Sum(absl::MakeSpan(&value, 1)).ok());
  EXPECT_EQ(value, 3);
  EXPECT_TRUE((*alone)->ExpectSame("it", "x").ok());
  EXPECT_EQ((*alone)->Gather("x")->size(), 1u);
  EXPECT_TRUE((*alone)->Leave(true));
}

TEST(RanksTest, AnotherMpiIsRefused) {
  setenv("PMI_SIZE", "2", 1);
  const absl::Status refused = Ranks::Join().status();
  unsetenv("PMI_SIZE");
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(refused.message(), "Open MPI")) << refused;
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) {
  if (argc == 2 && lorikeet::kTasks.count(argv[1]) > 0) {
    const absl::StatusOr<std::unique_ptr<lorikeet::Ranks>> ranks = lorikeet::Ranks::Join();
    return ranks.ok() ? lorikeet::kTasks.at(argv[1])(**ranks) : 1;
  }
  lorikeet::this_program = argv[0];
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
