#include "tensor/io/gguf_writer.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/io/file.h"
#include "tensor/io/gguf.h"
#include "tensor/io/gguf_blocks.h"
#include "tensor/io/safetensors.h"
#include "tensor/io/tensor_source.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

std::string Temp(const std::string& name) { return testing::TempDir() + "/" + name; }

std::string Bytes(const std::string& path) {
  absl::StatusOr<std::string> bytes = ReadFileToString(path, 1 << 20);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return bytes.ok() ? *bytes : "";
}

GgufSpec Spec(const std::string& name, const char* format, const Shape& shape) {
  return {name, FindGgufFormat(format), shape};
}

absl::Status WriteOne(const std::string& path, const char* format, const Tensor& x) {
  auto writer = GgufWriter::Create(path, {}, {Spec("x", format, x.shape())});
  if (!writer.ok()) return writer.status();
  const absl::Status s = (*writer)->Write("x", x);
  return s.ok() ? (*writer)->Finish() : s;
}

GgufValues GoldenValues() {
  GgufValues values;
  values.String("general.architecture", "test");
  values.U32("a.u32", 4000000000u);
  values.F32("a.f32", 1e-5f);
  values.Bool("a.bool", true);
  values.String("a.string", "caf\xC3\xA9\n");
  values.I32s("a.i32s", {-1, 0, 7});
  values.Strings("a.strings", {"", "b c",
                               "\xC4\xA0"
                               "d"});
  return values;
}

TEST(GgufWriterTest, AFileComesOutAsTheGgufPackageWritesIt) {
  const auto source = SafetensorsFile::Open("tests/golden/gguf/encoded.safetensors");
  ASSERT_TRUE(source.ok()) << source.status();
  const Tensor w = *(*source)->Read("w");
  std::vector<GgufSpec> specs;
  for (const char* format : {"F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"})
    specs.push_back(Spec(format, format, w.shape()));
  auto writer = GgufWriter::Create(Temp("encoded.gguf"), GoldenValues(), specs);
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (const GgufSpec& spec : (*writer)->order()) ASSERT_TRUE((*writer)->Write(spec.name, w).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  EXPECT_TRUE(Bytes(Temp("encoded.gguf")) == Bytes("tests/golden/gguf/encoded.gguf"));
}

TEST(GgufWriterTest, ATensorLargerThanOneStepIsTheSameAsInPieces) {
  Tensor x = Tensor::Empty({1200, 1024}, DType::kF32);
  for (int64_t i = 0; i < x.size(); ++i) x.data<float>()[i] = static_cast<float>((i * 7919) % 1009 - 500) / 64;
  ASSERT_TRUE(WriteOne(Temp("large"), "Q8_0", x).ok());
  ASSERT_TRUE(WriteOne(Temp("tail"), "Q8_0", x.Slice(0, 1100, 1200)).ok());
  const Tensor large = *(*GgufFile::Open(Temp("large")))->Read("x"), tail = *(*GgufFile::Open(Temp("tail")))->Read("x");
  const Tensor end = large.Slice(0, 1100, 1200);
  EXPECT_TRUE(std::equal(tail.data<float>().begin(), tail.data<float>().end(), end.data<float>().begin()));
}

TEST(GgufWriterTest, ViewsAndOtherDtypesAreWrittenInRowMajorOrder) {
  const Tensor x = Tensor::From<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  ASSERT_TRUE(WriteOne(Temp("view"), "F16", x.Cast(DType::kBF16).Transpose(0, 1)).ok());
  const Tensor y = *(*GgufFile::Open(Temp("view")))->Read("x");
  EXPECT_EQ(y.dtype(), DType::kF16);
  EXPECT_EQ(y.shape(), Shape({3, 2}));
  EXPECT_EQ(static_cast<float>(y.data<f16>()[1]), 4);
}

TEST(GgufWriterTest, ValuesThatAFormatCannotHoldLeaveNoFile) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();
  for (float bad : {kNan, kInf, -kInf, 70000.0f}) {
    Tensor x = Tensor::Zeros({2, 32}, DType::kF32);
    x.data<float>()[37] = bad;
    for (const char* format : {"F32", "BF16", "F16", "Q8_0", "Q4_0", "Q4_1"}) {
      const bool fits = bad == 70000.0f && (format[0] == 'B' || format[1] == '3');
      const absl::Status s = WriteOne(Temp("refused"), format, x);
      EXPECT_EQ(s.ok(), fits) << format << " " << bad;
      EXPECT_EQ(GgufFile::Open(Temp("refused")).ok(), fits) << format << " " << bad;
      if (fits) std::remove(Temp("refused").c_str());
    }
  }
}

TEST(GgufWriterTest, WhatNoReaderWouldTakeIsNotWritten) {
  GgufValues twice;
  twice.U32("a", 1);
  twice.U32("a", 2);
  const std::string path = Temp("unreadable");
  const auto refused = [&](const GgufValues& values, std::vector<GgufSpec> specs, const char* why) {
    const absl::Status s = GgufWriter::Create(path, values, std::move(specs)).status();
    EXPECT_TRUE(absl::IsInvalidArgument(s) && absl::StrContains(s.message(), why)) << s;
  };
  refused(twice, {}, "occurs twice");
  refused({}, {Spec("x", "F32", {2}), Spec("x", "F32", {2})}, "occurs twice");
  refused({}, {Spec("x", "Q8_0", {2, 48})}, "whole blocks");
  refused({}, {Spec("", "F32", {2})}, "empty");
  refused({}, {Spec("x", "F32", {2, 0})}, "dimension");
  EXPECT_TRUE(absl::IsNotFound(GgufFile::Open(path).status()));
}

TEST(GgufWriterTest, WithoutFinishThereIsNoFile) {
  {
    auto writer = GgufWriter::Create(Temp("unfinished"), {}, {Spec("x", "F32", {2})});
    ASSERT_TRUE(writer.ok() && (*writer)->Write("x", Tensor::Zeros({2}, DType::kF32)).ok());
  }
  EXPECT_TRUE(absl::IsNotFound(GgufFile::Open(Temp("unfinished")).status()));
}

TEST(GgufWriterDeathTest, AnotherTensorThanTheNextAborts) {
  auto writer = GgufWriter::Create(Temp("wrong"), {}, {Spec("a", "F32", {2})});
  EXPECT_DEATH((*writer)->Write("a", Tensor::Zeros({3}, DType::kF32)).IgnoreError(), "expected a");
  EXPECT_DEATH((*writer)->Finish().IgnoreError(), "tensors are missing");
}

}  // namespace
}  // namespace lorikeet
