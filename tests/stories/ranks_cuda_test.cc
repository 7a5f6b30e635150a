// Ranks whose trainers work on a GPU, in graphs and not, with NCCL and through the host, take the steps of one process.
// Each test starts this program again under mpirun; there main() trains with the other ranks, then alone, and compares.
// NCCL is a stand-in over Ranks: the simulator's memory is the host's.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "apps/parallel/nccl_library.h"
#include "apps/parallel/nccl_sum.h"
#include "apps/parallel/ranks.h"
#include "apps/text/batches.h"
#include "apps/text/dataset.h"
#include "apps/training/trainer.h"
#include "gtest/gtest.h"
#include "nn/causal_lm.h"
#include "nn/load.h"
#include "optim/adamw.h"
#include "optim/resident_store.h"
#include "optim/schedule.h"
#include "peft/adapter_config.h"
#include "peft/adapter_run.h"
#include "peft/inject.h"
#include "tensor/cuda_memory.h"
#include "tensor/cuda_stream.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/ops/copy.h"
#include "tests/testing/run_program.h"
#include "tests/testing/tiny_lm.h"

namespace lorikeet {
namespace {

constexpr int64_t kSteps = 3;

struct TrainingRun {
  TrainingRun(bool graphs, Ranks* ranks, NcclSum* nccl) {
    lm = TinyLm("llama_untied", DenseFactory(DType::kF32, false), false, Cuda(0));
    AdapterConfig config;
    config.lora_dropout = 0.1;
    EXPECT_TRUE(Inject(*lm, config, RngKey{.seed = 1}, &run).ok());
    parameters = TrainableParameters(*lm);
    stream = std::make_unique<text::SequenceStream>(&examples, text::StreamOptions{.max_seq_length = 32, .seed = 5});
    optimizer = std::make_unique<AdamW>(
        parameters, AdamWOptions{}, std::make_unique<ResidentStore>(StateElements(parameters), DType::kF32, Cuda(0)));
    trainer = std::make_unique<Trainer>(*lm, parameters, *optimizer, schedule, &run, *stream,
                                        TrainerOptions{.batch_size = 2,
                                                       .gradient_accumulation_steps = 6,
                                                       .max_grad_norm = 0.1,
                                                       .key = {.seed = 4},
                                                       .cuda_graphs = graphs,
                                                       .ranks = ranks,
                                                       .nccl = nccl});
  }
  // As a program goes about it: a step is submitted before the one ahead of it is finished.
  std::vector<absl::StatusOr<StepResult>> Train() {
    std::vector<absl::StatusOr<StepResult>> results;
    for (int64_t step = 0; step < kSteps; ++step) {
      if (absl::Status s = trainer->Submit(step); !s.ok()) return {s};
      while (trainer->in_flight() > (step + 1 < kSteps ? trainer->ahead() : 0)) {
        results.push_back(trainer->Finish());
        if (!results.back().ok()) return results;
      }
    }
    return results;
  }

  const std::vector<text::Example> examples = RandomExamples(24, 3);
  const Schedule schedule{ScheduleType::kConstant, 1e-2, 0, kSteps};
  AdapterRun run;
  std::unique_ptr<CausalLm> lm;
  std::vector<Parameter*> parameters;
  std::unique_ptr<text::SequenceStream> stream;
  std::unique_ptr<AdamW> optimizer;
  std::unique_ptr<Trainer> trainer;
};

Ranks* ranks = nullptr;
int64_t launched = 0;

const NcclLibrary kStandIn = {
    .get_unique_id = [](NcclUniqueId* id) { return id->bytes[0] = 'x', 0; },
    .comm_init_rank =
        [](void** communicator, int n, NcclUniqueId id, int rank) {
          *communicator = ranks;
          return n == ranks->size() && rank == ranks->rank() && id.bytes[0] == 'x' ? 0 : 1;
        },
    .comm_abort = [](void*) { return 0; },
    .all_reduce =
        [](const void* from, void* to, size_t count, int type, int op, void* communicator, void* stream) {
          if (communicator != ranks || stream != ComputeStream().handle() || type != kNcclFloat32 || op != kNcclSum)
            return 1;
          ++launched;
          ComputeStream().Synchronize();
          if (to != from) std::memcpy(to, from, count * sizeof(float));
          return ranks->Sum(absl::MakeSpan(static_cast<float*>(to), count)).ok() ? 0 : 1;
        },
    .group_start = [] { return 0; },
    .group_end = [] { return 0; },
    .get_error_string = [](int) { return "an error"; },
};

#define LORIKEET_EXPECT(condition)                                              \
  if (!(condition)) {                                                           \
    std::fprintf(stderr, "rank %d: %s is not so\n", ranks->rank(), #condition); \
    return 1;                                                                   \
  }

bool Near(double a, double b, double tolerance) { return std::abs(a - b) <= tolerance * std::max(1.0, std::abs(b)); }

int SameSteps(bool graphs, NcclSum* nccl) {
  TrainingRun together(graphs, ranks, nccl), alone(graphs, nullptr, nullptr);
  const std::vector<absl::StatusOr<StepResult>> got = together.Train(), want = alone.Train();
  LORIKEET_EXPECT(got.size() == kSteps && want.size() == kSteps);
  for (size_t i = 0; i < kSteps; ++i) {
    LORIKEET_EXPECT(got[i].ok() && want[i].ok());
    LORIKEET_EXPECT(got[i]->tokens == want[i]->tokens && got[i]->answer_tokens == want[i]->answer_tokens);
    LORIKEET_EXPECT(Near(got[i]->loss, want[i]->loss, 1e-5));
    LORIKEET_EXPECT(Near(got[i]->grad_norm, want[i]->grad_norm, 1e-4));
  }
  LORIKEET_EXPECT((together.trainer->graph_launches() > 0) == graphs);
  for (size_t i = 0; i < together.parameters.size(); ++i) {
    const Tensor a = together.parameters[i]->value.To(kCpu), b = alone.parameters[i]->value.To(kCpu);
    for (size_t k = 0; k < static_cast<size_t>(a.size()); ++k)
      LORIKEET_EXPECT(Near(a.data<float>()[k], b.data<float>()[k], 1e-3));
    const std::string bytes(static_cast<const char*>(a.raw()), static_cast<size_t>(a.nbytes()));
    LORIKEET_EXPECT(ranks->ExpectSame("a weight", bytes).ok());
  }
  return 0;
}

// The last rank's weights are broken: no rank has a step.
int NotFinite(NcclSum* nccl) {
  TrainingRun run(false, ranks, nccl);
  if (ranks->rank() == ranks->size() - 1) {
    Tensor element = run.parameters[0]->value.Reshape({-1}).Slice(0, 0, 1);
    tensor::FillInPlace(element, std::nan(""));
  }
  const absl::Status first = run.Train()[0].status();
  LORIKEET_EXPECT(absl::IsFailedPrecondition(first) && absl::StrContains(first.message(), "step 1: the loss is nan"));
  LORIKEET_EXPECT(run.optimizer->steps() == 0 && run.trainer->in_flight() == 0);
  return 0;
}

int RunTask(const std::string& task) {
  const absl::StatusOr<std::unique_ptr<Ranks>> joined = Ranks::Join();
  if (!joined.ok()) return 1;
  ranks = joined->get();
  std::unique_ptr<NcclSum> nccl;
  if (absl::StartsWith(task, "nccl")) {
    nccl = *NcclSum::Create(*ranks, &kStandIn, absl::StrCat(ranks->rank()));
    LORIKEET_EXPECT(nccl != nullptr);
  } else {  // two ranks with one GPU
    LORIKEET_EXPECT(*NcclSum::Create(*ranks, &kStandIn, CudaDeviceAddress()) == nullptr);
  }
  const int code =
      absl::EndsWith(task, "nan") ? NotFinite(nccl.get()) : SameSteps(absl::EndsWith(task, "graphs"), nccl.get());
  LORIKEET_EXPECT(code != 0 || (launched > 0) == (nccl != nullptr));
  return code != 0 || testing::Test::HasFailure() || !ranks->Leave(true);
}

std::string this_program;

class RanksCudaTest : public testing::TestWithParam<const char*> {};

TEST_P(RanksCudaTest, TakeTheStepsOfOneProcess) {
  if (!CudaUnavailable().empty()) GTEST_SKIP() << CudaUnavailable();
  if (!CudaIsSimulated()) GTEST_SKIP() << "the stand-in for NCCL adds up the simulator's memory";
  const Outcome o = RunShell(absl::StrCat(MpiRun(), "-n 2 ", this_program, " ", GetParam()));
  EXPECT_EQ(o.code, 0) << o.err;
}

INSTANTIATE_TEST_SUITE_P(Ways, RanksCudaTest,
                         testing::Values("host", "host_graphs", "host_nan", "nccl", "nccl_graphs", "nccl_nan"),
                         [](const testing::TestParamInfo<const char*>& info) { return std::string(info.param); });

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc == 2) return lorikeet::RunTask(argv[1]);
  lorikeet::this_program = argv[0];
  return RUN_ALL_TESTS();
}
