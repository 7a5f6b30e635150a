#include "optim/paged_store.h"

#include <atomic>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "autograd/parameter.h"
#include "gtest/gtest.h"
#include "optim/adamw.h"
#include "optim/page_codec.h"
#include "optim/page_file.h"
#include "optim/resident_store.h"
#include "optim/state_store.h"
#include "tensor/dtype.h"
#include "tensor/ops/testing.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

using tensor::RandomTensor;
using tensor::SameBits;

// A disk in memory, to break in every way. It outlives what writes to it: declare it before the Training.
struct Disk {
  std::vector<char> bytes;
  std::atomic<int> writes_left = 1 << 30;  // then it is full
  std::atomic<int> reads_left = 1 << 30;   // then it fails; checks read from several threads
};

class DiskFile : public PageFile {
 public:
  explicit DiskFile(Disk* disk) : disk_(disk) {}
  absl::Status Write(int64_t offset, absl::Span<const char> bytes) override {
    if (disk_->writes_left-- <= 0) return absl::ResourceExhaustedError("disk full");
    std::memcpy(disk_->bytes.data() + offset, bytes.data(), bytes.size());
    return absl::OkStatus();
  }
  absl::Status Read(int64_t offset, absl::Span<char> bytes) const override {
    if (disk_->reads_left-- <= 0) return absl::DataLossError("disk broken");
    if (offset + bytes.size() > disk_->bytes.size()) return absl::DataLossError("cut");
    std::memcpy(bytes.data(), disk_->bytes.data() + offset, bytes.size());
    return absl::OkStatus();
  }
  std::string where() const override { return "a fake disk"; }

 private:
  Disk* disk_;
};

const std::vector<Shape> kShapes = {{700}, {3}, {40, 31}, {1}, {5, 7, 11}, {256}};

// A model of few parameters, its gradients those of every other run.
struct Training {
  Training() : Training(kShapes) {}
  explicit Training(const std::vector<Shape>& shapes) {
    for (const Shape& shape : shapes) {
      parameters.push_back(
          {.name = absl::StrCat("p", parameters.size()), .value = RandomTensor(shape, DType::kF32, seed++)});
    }
    for (Parameter& p : parameters) pointers.push_back(&p);
  }
  int64_t elements() const { return StateElements(pointers); }
  void Use(std::unique_ptr<StateStore> store) {
    optimizer = std::make_unique<AdamW>(pointers, AdamWOptions{.weight_decay = 0.1}, std::move(store));
  }
  absl::Status Step() {
    for (Parameter& p : parameters) p.grad = RandomTensor(p.value.shape(), DType::kF32, seed++);
    return optimizer->Step(0.01);
  }
  std::map<std::string, std::vector<float>> State() {
    std::map<std::string, std::vector<float>> state;
    const absl::Status saved = optimizer->SaveState([&](const StateTensor& t, int64_t, const Tensor& values) {
      state[t.name].insert(state[t.name].end(), values.data<float>().begin(), values.data<float>().end());
      return absl::OkStatus();
    });
    EXPECT_TRUE(saved.ok()) << saved;
    return state;
  }

  uint32_t seed = 1;
  std::vector<Parameter> parameters;
  std::vector<Parameter*> pointers;
  std::unique_ptr<AdamW> optimizer;
};

// A budget for pages of `page` elements of which `slots` fit in memory.
PagedStoreOptions Fit(int64_t page, int64_t slots) {
  const int64_t bytes = page * 8;
  return {.budget_bytes = static_cast<int64_t>(PageCodec::WorkspaceBytes(static_cast<size_t>(bytes))) + slots * bytes,
          .directory = testing::TempDir(),
          .page_elements = page};
}

PagedStore* UseDisk(Training& run, Disk& disk, int64_t page, int64_t slots) {
  disk.bytes.resize(static_cast<size_t>(run.elements() * 8));
  auto store = PagedStore::Create(run.elements(), DType::kF32, Fit(page, slots), std::make_unique<DiskFile>(&disk));
  EXPECT_TRUE(store.ok()) << store.status();
  PagedStore* const paged = store->get();
  run.Use(*std::move(store));
  return paged;
}

void UseResident(Training& run) { run.Use(std::make_unique<ResidentStore>(run.elements())); }

void ExpectSame(Training& a, Training& b) {
  EXPECT_EQ(a.optimizer->steps(), b.optimizer->steps());
  for (size_t i = 0; i < a.parameters.size(); ++i) {
    EXPECT_TRUE(SameBits(a.parameters[i].value, b.parameters[i].value)) << "parameter " << i;
  }
  EXPECT_EQ(a.State(), b.State());
}

class PagedStoreSizes : public testing::TestWithParam<std::pair<int, int>> {};

TEST_P(PagedStoreSizes, GivesTheBitsOfAResidentStore) {
  const auto [page, slots] = GetParam();
  Training paged, resident;
  auto store = PagedStore::Create(paged.elements(), DType::kF32, Fit(page, slots));
  ASSERT_TRUE(store.ok()) << store.status();
  paged.Use(*std::move(store));
  UseResident(resident);
  for (int k = 0; k < 7; ++k) {
    ASSERT_TRUE(paged.Step().ok());
    ASSERT_TRUE(resident.Step().ok());
  }
  ExpectSame(paged, resident);
}

INSTANTIATE_TEST_SUITE_P(PagesAndSlots, PagedStoreSizes,
                         testing::Values(std::pair{256, 2}, std::pair{256, 3}, std::pair{256, 7}, std::pair{768, 2},
                                         std::pair{1280, 2}, std::pair{512, 100}, std::pair{1 << 20, 2}));

TEST(PagedStore, CompressesWhatShrinksByAFifthAndNothingElse) {
  Disk disk;
  Training run(std::vector<Shape>{{20000}});
  PagedStore* const store = UseDisk(run, disk, 1024, 2);
  const auto step = [&](double value) {
    run.parameters[0].grad = Tensor::Full({20000}, value, DType::kF32);
    ASSERT_TRUE(run.optimizer->Step(0.01).ok());
    ASSERT_TRUE(store->Verify().ok());
  };
  step(1);
  step(2);
  EXPECT_GT(store->stats().compressed_pages, 30);
  EXPECT_EQ(store->stats().raw_pages, 0);
  EXPECT_LT(store->stats().written_bytes, 100 * store->stats().compressed_pages);
  ASSERT_TRUE(run.Step().ok());  // random gradients
  ASSERT_TRUE(run.Step().ok());
  EXPECT_GT(store->stats().raw_pages, 15);
}

TEST(PagedStore, CompressedPagesGiveTheSameBits) {
  Disk disk;
  Training paged(std::vector<Shape>{{20000}}), resident(std::vector<Shape>{{20000}});
  UseDisk(paged, disk, 512, 2);
  UseResident(resident);
  for (int k = 0; k < 5; ++k) {
    for (Training* run : {&paged, &resident}) {
      run->parameters[0].grad = Tensor::Full({20000}, k - 1.5, DType::kF32);
      ASSERT_TRUE(run->optimizer->Step(0.01).ok());
    }
  }
  ExpectSame(paged, resident);
}

TEST(PagedStore, KeepsToItsBudget) {
  for (int64_t budget : {1 << 20, 5 << 20, 64 << 20}) {
    const auto store =
        PagedStore::Create(256 * 100000, DType::kF32, {.budget_bytes = budget, .directory = testing::TempDir()});
    ASSERT_TRUE(store.ok()) << store.status();
    EXPECT_LE((*store)->resident_bytes(), budget);
    EXPECT_GE((*store)->resident_bytes(), budget / 2);
    EXPECT_GE((*store)->stats().slots, 4) << budget;
  }
}

TEST(PagedStore, ABudgetThatIsTooSmallNamesTheLeastThatWorks) {
  const auto store =
      PagedStore::Create(256 * 100, DType::kF32, {.budget_bytes = 1000, .directory = testing::TempDir()});
  ASSERT_EQ(store.status().code(), absl::StatusCode::kInvalidArgument);
  const std::string message(store.status().message());
  const size_t at = message.find("too small: ");
  ASSERT_NE(at, std::string::npos);
  const PagedStoreOptions least = {.budget_bytes = std::stoll(message.substr(at + 11)),
                                   .directory = testing::TempDir()};
  EXPECT_TRUE(PagedStore::Create(256 * 100, DType::kF32, least).ok());
}

TEST(PagedStore, AWalkThatTurnsAroundFindsItsLastPagesInMemory) {
  Disk disk;
  Training run(std::vector<Shape>{{256 * 20}});
  PagedStore* const store = UseDisk(run, disk, 256, 6);
  ASSERT_TRUE(run.Step().ok());
  ASSERT_TRUE(store->Verify().ok());
  const int64_t read = store->stats().read_bytes;
  ASSERT_TRUE(run.Step().ok());
  EXPECT_EQ(store->stats().read_bytes - read, (20 - 6) * 256 * 8);
}

TEST(PagedStore, AFlippedBitIsFoundBeforeAnythingIsApplied) {
  Disk disk;
  Training paged, resident;
  PagedStore* const store = UseDisk(paged, disk, 256, 2);
  UseResident(resident);
  ASSERT_TRUE(paged.Step().ok());
  ASSERT_TRUE(resident.Step().ok());
  ASSERT_TRUE(store->Verify().ok());  // all writes are done
  const uint32_t seed = paged.seed;
  const Tensor before = paged.parameters[0].value.Clone();
  for (size_t at : {size_t{0}, size_t{256 * 8 + 17}}) {  // the first pages: the walk ended at the last
    disk.bytes[at] ^= 4;
    EXPECT_EQ(paged.Step().code(), absl::StatusCode::kDataLoss) << at;
    EXPECT_TRUE(SameBits(paged.parameters[0].value, before));
    EXPECT_EQ(paged.optimizer->steps(), 1);
    disk.bytes[at] ^= 4;
    paged.seed = seed;
  }
  ASSERT_TRUE(paged.Step().ok());
  ASSERT_TRUE(resident.Step().ok());
  ExpectSame(paged, resident);
}

TEST(PagedStore, AFileThatWasCutIsFoundBeforeAnythingIsApplied) {
  Disk disk;
  Training run;
  PagedStore* const store = UseDisk(run, disk, 256, 2);
  ASSERT_TRUE(run.Step().ok());
  ASSERT_TRUE(store->Verify().ok());
  disk.bytes.resize(100);
  EXPECT_EQ(run.Step().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(run.optimizer->steps(), 1);
}

TEST(PagedStore, WhenTheDiskIsFullTheStepIsDoneAndTheNextIsRefused) {
  for (int writes = 0; writes < 40; writes += 3) {
    Disk disk;
    Training paged, resident;
    disk.writes_left = writes;
    PagedStore* const store = UseDisk(paged, disk, 256, 2);
    UseResident(resident);
    absl::Status status;
    while ((status = paged.Step()).ok()) ASSERT_TRUE(resident.Step().ok());
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_GE(paged.optimizer->steps(), 1);
    if (writes == 0) {  // every page had to stay
      EXPECT_GT(store->resident_bytes(), Fit(256, 2).budget_bytes);
    }
    ExpectSame(paged, resident);  // the state can be saved, too
  }
}

TEST(PagedStore, APageLostInTheMiddleOfAStepIsNeverSaved) {
  Disk disk;
  Training run;
  PagedStore* const store = UseDisk(run, disk, 256, 2);
  ASSERT_TRUE(run.Step().ok());
  ASSERT_TRUE(store->Verify().ok());
  disk.reads_left = static_cast<int>(store->stats().pages - store->stats().slots) + 2;  // the check, and two pages
  EXPECT_EQ(run.Step().code(), absl::StatusCode::kDataLoss);
  disk.reads_left = 1 << 30;
  EXPECT_EQ(run.Step().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(
      run.optimizer->SaveState([](const StateTensor&, int64_t, const Tensor&) { return absl::OkStatus(); }).code(),
      absl::StatusCode::kDataLoss);
}

TEST(PagedStore, SavingWritesNothingToTheFile) {
  Disk disk;
  Training run;
  PagedStore* const store = UseDisk(run, disk, 256, 3);
  ASSERT_TRUE(run.Step().ok());
  run.State();  // pushes the changed pages out
  ASSERT_TRUE(store->Verify().ok());
  const int64_t written = store->stats().written_bytes;
  run.State();
  ASSERT_TRUE(store->Verify().ok());
  EXPECT_EQ(store->stats().written_bytes, written);
}

}  // namespace
}  // namespace lorikeet
