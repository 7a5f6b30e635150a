#include "peft/adapter_tensors.h"

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "peft/inject.h"
#include "peft/testing.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/testing.h"

namespace lorikeet {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kV0[] = "base_model.model.model.layers.0.self_attn.v_proj.";

AdapterConfig Config(bool dora) {
  AdapterConfig c;
  c.r = 2, c.use_dora = dora, c.all_linear = false;
  c.target.list = {"v_proj"};
  return c;
}

// A model with a trained adapter on its v_proj.
void Adapt(TinyModel& model, bool dora) {
  ASSERT_TRUE(Inject(model, Config(dora), RngKey{.seed = 1}, nullptr).ok());
  uint32_t seed = 100;
  for (Parameter* p : TrainableParameters(model)) {
    tensor::CopyInto(tensor::RandomTensor(p->value.shape(), DType::kF32, seed++, 0.2, 1), p->value);
  }
}

std::vector<NamedTensor> TensorsOf(TinyModel& model) {
  absl::StatusOr<std::vector<NamedTensor>> t = AdapterTensors(model);
  EXPECT_TRUE(t.ok()) << t.status();
  return t.ok() ? *std::move(t) : std::vector<NamedTensor>();
}

std::string Message(const absl::Status& s) { return std::string(s.message()); }

TEST(AdapterTensorsTest, NamesAreThoseOfPeft) {
  TinyModel model;
  Adapt(model, /*dora=*/true);
  std::vector<std::string> names;
  for (const NamedTensor& t : TensorsOf(model)) names.push_back(t.first);
  names.resize(3);
  EXPECT_THAT(names, ElementsAre(std::string(kV0) + "lora_A.weight", std::string(kV0) + "lora_B.weight",
                                 std::string(kV0) + "lora_magnitude_vector"));
}

TEST(AdapterTensorsTest, AttachingGivesTheSameTensorsBack) {
  for (const bool dora : {false, true}) {
    TinyModel model, again;
    Adapt(model, dora);
    MemorySource source;
    for (const NamedTensor& t : TensorsOf(model)) source.Add(t.first, t.second);
    const absl::StatusOr<AttachedAdapter> attached = AttachAdapter(again, Config(dora), source, nullptr);
    ASSERT_TRUE(attached.ok()) << attached.status();
    EXPECT_EQ(attached->modules.size(), 2u);
    const std::vector<NamedTensor> a = TensorsOf(model), b = TensorsOf(again);
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(a[i].first, b[i].first);
      EXPECT_TRUE(SameBytes(a[i].second, b[i].second)) << a[i].first;
    }
  }
}

TEST(AdapterTensorsTest, HalfPrecisionAndTheOldMagnitudeNameAreRead) {
  TinyModel model, again;
  Adapt(model, /*dora=*/true);
  MemorySource source;
  for (const NamedTensor& t : TensorsOf(model)) {
    const bool magnitude = t.first.find("magnitude") != std::string::npos;
    source.Add(magnitude ? t.first + ".weight" : t.first, t.second.Cast(magnitude ? DType::kF16 : DType::kBF16));
  }
  const absl::StatusOr<AttachedAdapter> attached = AttachAdapter(again, Config(true), source, nullptr);
  ASSERT_TRUE(attached.ok()) << attached.status();
  EXPECT_EQ(TensorsOf(again)[0].second.dtype(), DType::kF32);
}

TEST(AdapterTensorsTest, NothingIsHandedOutThatIsEmptyUntrainedOrDamaged) {
  TinyModel model;
  EXPECT_THAT(Message(AdapterTensors(model).status()), HasSubstr("carries no adapter"));
  ASSERT_TRUE(Inject(model, Config(false), RngKey{.seed = 1}, nullptr).ok());
  EXPECT_THAT(Message(AdapterTensors(model).status()), HasSubstr("every lora_B is zero"));
  tensor::CopyInto(Tensor::Scalar(std::numeric_limits<double>::quiet_NaN(), DType::kF32),
                   TrainableParameters(model)[1]->value);
  EXPECT_THAT(Message(AdapterTensors(model).status()), AllOf(HasSubstr(kV0), HasSubstr("NaN")));
}

TEST(AdapterTensorsTest, MissingAndUnexpectedTensorsAreListedWithNearMisses) {
  TinyModel model, again;
  Adapt(model, /*dora=*/false);
  MemorySource source;
  for (const NamedTensor& t : TensorsOf(model)) {
    std::string name = t.first;
    if (name == std::string(kV0) + "lora_A.weight") name = std::string(kV0) + "lora_A.default.weight";
    source.Add(name, t.second);
  }
  source.Add("base_model.model.lm_head.weight", Tensor::Zeros({11, 6}, DType::kF32));
  const absl::Status s = AttachAdapter(again, Config(false), source, nullptr).status();
  EXPECT_EQ(s.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(s), AllOf(HasSubstr("1 missing:"), HasSubstr("v_proj.lora_A.weight (the file has "),
                                HasSubstr("2 unexpected:"), HasSubstr("base_model.model.lm_head.weight"),
                                HasSubstr("save_embedding_layers=False")));
  EXPECT_TRUE(Inject(again, Config(false), RngKey{}, nullptr).ok()) << "the model must be unchanged";
}

TEST(AdapterTensorsTest, AnEmptyAdapterIsAnError) {
  TinyModel model;
  EXPECT_THAT(Message(AttachAdapter(model, Config(false), MemorySource(), nullptr).status()),
              HasSubstr("holds no tensors"));
}

TEST(AdapterTensorsTest, WrongShapesTypesAndValuesAreErrors) {
  const auto complaint = [](const Tensor& a) {
    TinyModel model, again;
    Adapt(model, /*dora=*/false);
    MemorySource source;
    for (const NamedTensor& t : TensorsOf(model)) source.Add(t.first, source.tensors().empty() ? a : t.second);
    return Message(AttachAdapter(again, Config(false), source, nullptr).status());
  };
  EXPECT_THAT(complaint(Tensor::Zeros({3, 6}, DType::kF32)),
              AllOf(HasSubstr("shape [3,6], expected [2,6]"), HasSubstr("rank_pattern")));
  EXPECT_THAT(complaint(Tensor::Zeros({2, 6}, DType::kI32)), HasSubstr("is I32, expected F32, F16 or BF16"));
  EXPECT_THAT(complaint(Tensor::Full({2, 6}, std::numeric_limits<double>::infinity(), DType::kF32)),
              HasSubstr("NaN or infinity"));
  EXPECT_EQ(complaint(Tensor::Zeros({2, 6}, DType::kF32)), "");
}

TEST(AdapterTensorsTest, AnEntryForAnotherArchitectureIsAWarning) {
  TinyModel model, again;
  Adapt(model, /*dora=*/false);
  MemorySource source;
  for (const NamedTensor& t : TensorsOf(model)) source.Add(t.first, t.second);
  AdapterConfig c = Config(false);
  c.target.list.push_back("query_key_value");
  const absl::StatusOr<AttachedAdapter> attached = AttachAdapter(again, c, source, nullptr);
  ASSERT_TRUE(attached.ok()) << attached.status();
  EXPECT_THAT(attached->warnings, ElementsAre(HasSubstr("query_key_value")));
}

}  // namespace
}  // namespace lorikeet
