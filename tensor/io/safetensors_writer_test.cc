#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/io/file.h"
#include "tensor/io/safetensors.h"
#include "tensor/io/safetensors_writer.h"
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

// Reads a file of the reference writer and writes it again, the tensors in reverse.
void ExpectSameBytesAgain(const std::string& path) {
  absl::StatusOr<std::unique_ptr<SafetensorsFile>> file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const TensorInfo& info : (*file)->tensors()) {
    tensors.insert(tensors.begin(), {info.name, *(*file)->Read(info.name)});
  }
  const std::string copy = Temp("copy.safetensors");
  ASSERT_TRUE(WriteSafetensors(copy, tensors, (*file)->metadata()).ok());
  EXPECT_TRUE(Bytes(copy) == Bytes(path)) << path;
}

TEST(SafetensorsWriterTest, FilesOfTheReferenceWriterComeOutByteForByte) {
  for (const char* path :
       {"adapters/lora/adapter_model.safetensors", "models/llama_tied/model.safetensors",
        "models/llama_tied/golden.safetensors", "nf4.safetensors", "optim.safetensors", "gguf/formats.safetensors"}) {
    ExpectSameBytesAgain(absl::StrCat("tests/golden/", path));
  }
}

TEST(SafetensorsWriterTest, TensorsAreOrderedByWidthThenName) {
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (DType dtype : {DType::kU8, DType::kF16, DType::kBF16, DType::kI32, DType::kF32, DType::kF64, DType::kI64}) {
    for (const char* name : {"b.", "a."})
      tensors.push_back({absl::StrCat(name, Name(dtype)), Tensor::Zeros({1}, dtype)});
  }
  ASSERT_TRUE(WriteSafetensors(Temp("order"), tensors, {}).ok());
  const std::unique_ptr<SafetensorsFile> file = *SafetensorsFile::Open(Temp("order"));
  std::string order;
  for (const TensorInfo& info : file->tensors()) absl::StrAppend(&order, info.name, " ");
  EXPECT_EQ(order, "a.i64 b.i64 a.f64 b.f64 a.f32 b.f32 a.i32 b.i32 a.bf16 b.bf16 a.f16 b.f16 a.u8 b.u8 ");
}

TEST(SafetensorsWriterTest, AnyTextSurvivesAsNameAndMetadata) {
  const char bytes[] = "quote\" back\\ \n\t\b\x01\x7f \0 \xE2\x82\xAC /";
  const std::string text(bytes, sizeof(bytes) - 1);
  ASSERT_TRUE(WriteSafetensors(Temp("text"), {{text, Tensor::From<float>({1.5f}, {1})}}, {{text, text}}).ok());
  auto file = SafetensorsFile::Open(Temp("text"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->metadata().at(text), text);
  EXPECT_EQ((*file)->Read(text)->item(), 1.5);
}

TEST(SafetensorsWriterTest, ViewsAreWrittenInRowMajorOrder) {
  const Tensor x = Tensor::From<int32_t>({1, 2, 3, 4, 5, 6}, {2, 3});
  ASSERT_TRUE(WriteSafetensors(Temp("view"), {{"x", x.Transpose(0, 1)}}, {}).ok());
  const Tensor y = *(*SafetensorsFile::Open(Temp("view")))->Read("x");
  EXPECT_EQ(y.shape(), Shape({3, 2}));
  EXPECT_EQ(y.data<int32_t>()[1], 4);
}

TEST(SafetensorsWriterTest, TheDataBeginAtAMultipleOfEight) {
  for (const char* name : {"a", "ab", "abc"}) {
    ASSERT_TRUE(WriteSafetensors(Temp("aligned"), {{name, Tensor::Zeros({3}, DType::kU8)}}, {}).ok());
    EXPECT_EQ((Bytes(Temp("aligned")).size() - 3) % 8, 0u);
  }
}

TEST(SafetensorsWriterTest, WhatNoReaderWouldTakeIsNotWritten) {
  const Tensor x = Tensor::Zeros({1}, DType::kU8);
  const std::string path = Temp("refused");
  for (const auto& tensors : std::vector<std::vector<std::pair<std::string, Tensor>>>{
           {{"a", x}, {"a", x}}, {{"\xFF", x}}, {{"__metadata__", x}}}) {
    EXPECT_TRUE(absl::IsInvalidArgument(WriteSafetensors(path, tensors, {})));
  }
  EXPECT_TRUE(absl::IsInvalidArgument(WriteSafetensors(path, {{"a", x}}, {{"\xFF", "b"}})));
  EXPECT_TRUE(absl::IsNotFound(SafetensorsFile::Open(path).status()));
}

TEST(SafetensorsWriterTest, OneTensorAtATimeInTheFilesOrder) {
  auto writer = SafetensorsWriter::Create(Temp("stream"), {{"a", DType::kF32, {2}}, {"b", DType::kF64, {1}}}, {});
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_EQ((*writer)->order().front().name, "b");
  ASSERT_TRUE((*writer)->Write("b", Tensor::From<double>({7}, {1})).ok());
  ASSERT_TRUE((*writer)->Write("a", Tensor::From<float>({1, 2}, {2})).ok());
  EXPECT_TRUE(absl::IsNotFound(SafetensorsFile::Open(Temp("stream")).status()));
  ASSERT_TRUE((*writer)->Finish().ok());
  EXPECT_EQ((*(*SafetensorsFile::Open(Temp("stream")))->Read("a")).data<float>()[1], 2);
}

TEST(SafetensorsWriterDeathTest, AnotherTensorThanTheNextAborts) {
  auto writer = SafetensorsWriter::Create(Temp("wrong"), {{"a", DType::kF32, {2}}}, {});
  EXPECT_DEATH((*writer)->Write("a", Tensor::Zeros({3}, DType::kF32)).IgnoreError(), "expected a f32\\[2\\]");
  EXPECT_DEATH((*writer)->Finish().IgnoreError(), "tensors are missing");
}

}  // namespace
}  // namespace lorikeet
