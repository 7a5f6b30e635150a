// One test per rule of the format; each breaks that rule alone.
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/io/safetensors.h"
#include "tensor/io/test_files.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

using OpenResult = absl::StatusOr<std::unique_ptr<SafetensorsFile>>;

OpenResult OpenJson(const std::string& json, size_t data_bytes) {
  return SafetensorsFile::Open(InMemory(Safetensors(json, data_bytes)));
}

// "NAME":{...}
std::string Entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return absl::StrCat("\"", name, "\":{\"dtype\":\"", dtype, "\",\"shape\":", shape, ",\"data_offsets\":", offsets,
                      "}");
}
OpenResult OpenEntry(const std::string& dtype, const std::string& shape, const std::string& offsets, size_t bytes) {
  return OpenJson("{" + Entry("w", dtype, shape, offsets) + "}", bytes);
}

testing::AssertionResult Refused(const OpenResult& file, const std::string& because) {
  if (file.ok()) return testing::AssertionFailure() << "accepted";
  if (!absl::IsInvalidArgument(file.status()) || !absl::StrContains(file.status().message(), because)) {
    return testing::AssertionFailure() << file.status() << " where \"" << because << "\" was expected";
  }
  return testing::AssertionSuccess();
}
testing::AssertionResult Accepted(const OpenResult& file) {
  return file.ok() ? testing::AssertionSuccess() : testing::AssertionFailure() << file.status();
}

const char kGood[] = R"({"w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})";

TEST(SafetensorsRules, AGoodFileIsRead) {
  const OpenResult file = OpenJson(kGood, 2);
  ASSERT_TRUE(Accepted(file));
  EXPECT_EQ((*file)->tensors()[0].shape, Shape({2}));
  EXPECT_EQ((*file)->Read("w")->data<uint8_t>()[1], 1);
}

TEST(SafetensorsRules, AFileHasAtLeastEightBytes) {
  EXPECT_TRUE(Refused(SafetensorsFile::Open(InMemory("")), "less than 8 bytes"));
  EXPECT_TRUE(Refused(SafetensorsFile::Open(InMemory("1234567")), "less than 8 bytes"));
}

TEST(SafetensorsRules, AHeaderHasAtMostAHundredMillionBytes) {
  EXPECT_TRUE(Refused(SafetensorsFile::Open(InMemory(Le<uint64_t>(100'000'001) + "{}")), "header would have"));
  EXPECT_TRUE(Refused(SafetensorsFile::Open(InMemory(Le<uint64_t>(~uint64_t{0}) + "{}")), "header would have"));
  EXPECT_TRUE(Refused(SafetensorsFile::Open(InMemory(Le<uint64_t>(100'000'000) + "{}")), "cut short"));
}

TEST(SafetensorsRules, TheHeaderLiesInsideTheFile) {
  EXPECT_TRUE(Refused(SafetensorsFile::Open(InMemory(Le<uint64_t>(1000) + kGood)), "cut short"));
}

TEST(SafetensorsRules, TheHeaderIsWellFormedUtf8) {
  for (const char* bytes : {"\xFF", "\xC0\xAF", "\xED\xA0\x80", "\xC3"}) {  // stray, overlong, surrogate, cut
    EXPECT_TRUE(Refused(OpenJson("{" + Entry(bytes, "U8", "[0]", "[0,0]") + "}", 0), "JSON"));
  }
  EXPECT_TRUE(Refused(OpenJson("{" + Entry("\\ud800", "U8", "[0]", "[0,0]") + "}", 0), "JSON"));
  EXPECT_TRUE(Accepted(OpenJson("{" + Entry("\xC3\xA9", "U8", "[0]", "[0,0]") + "}", 0)));
}

TEST(SafetensorsRules, TheHeaderIsOneJsonObject) {
  EXPECT_TRUE(Accepted(OpenJson(absl::StrCat(kGood, " \t\r\n"), 2)));
  for (const char* tail : {"{}", "x", ",", "\xEF\xBB\xBF"}) {
    EXPECT_TRUE(Refused(OpenJson(absl::StrCat(kGood, tail), 2), "JSON"));
  }
  EXPECT_TRUE(Refused(OpenJson(kGood + std::string(2, '\0'), 2), "NUL"));
  for (const char* json : {"[]", "3", "\"w\"", "null", "{", "", " "}) EXPECT_TRUE(Refused(OpenJson(json, 0), "JSON"));
}

TEST(SafetensorsRules, WhiteSpaceMayComeFirstButNoByteOrderMark) {
  EXPECT_TRUE(Accepted(OpenJson(absl::StrCat("  \n", kGood), 2)));
  EXPECT_TRUE(Refused(OpenJson(absl::StrCat("\xEF\xBB\xBF", kGood), 2), "byte order mark"));
}

TEST(SafetensorsRules, AnEmptyObjectIsAFileWithoutTensors) {
  const OpenResult file = OpenJson("{}", 0);
  ASSERT_TRUE(Accepted(file));
  EXPECT_TRUE((*file)->tensors().empty());
}

TEST(SafetensorsRules, ANameOccursOnceHoweverItIsEscaped) {
  const std::string a = Entry("w", "U8", "[2]", "[0,2]"), b = Entry("w", "U8", "[2]", "[2,4]");
  EXPECT_TRUE(Refused(OpenJson("{" + a + "," + b + "}", 4), "occurs twice"));
  EXPECT_TRUE(Refused(OpenJson("{" + a + "," + Entry("\\u0077", "U8", "[2]", "[2,4]") + "}", 4), "occurs twice"));
}

TEST(SafetensorsRules, TwoTypesOfTheSameBytesAreRefused) {
  const std::string a = Entry("w", "U8", "[4]", "[0,4]"), b = Entry("w", "F32", "[1]", "[0,4]");
  EXPECT_TRUE(Refused(OpenJson("{" + a + "," + b + "}", 4), "overlaps"));
}

TEST(SafetensorsRules, AFieldOccursOnce) {
  EXPECT_TRUE(Refused(OpenJson(R"({"w":{"dtype":"U8","dtype":"I8","shape":[2],"data_offsets":[0,2]}})", 2), "twice"));
  EXPECT_TRUE(Refused(OpenJson(R"({"w":{"dtype":"U8","shape":[2],"shape":[2],"data_offsets":[0,2]}})", 2), "twice"));
  EXPECT_TRUE(Refused(OpenJson(R"({"__metadata__":{},"__metadata__":{}})", 0), "second __metadata__"));
}

TEST(SafetensorsRules, AMetadataKeyOccursOnce) {
  EXPECT_TRUE(Refused(OpenJson(R"({"__metadata__":{"a":"1","\u0061":"2"}})", 0), "occurs twice"));
}

TEST(SafetensorsRules, ATensorHasItsThreeFieldsAndNoOther) {
  EXPECT_TRUE(Refused(OpenJson(R"({"w":{"shape":[2],"data_offsets":[0,2]}})", 2), "missing"));
  EXPECT_TRUE(Refused(OpenJson(R"({"w":{"dtype":"U8","data_offsets":[0,2]}})", 2), "missing"));
  EXPECT_TRUE(Refused(OpenJson(R"({"w":{"dtype":"U8","shape":[2]}})", 2), "missing"));
  EXPECT_TRUE(Refused(OpenJson(R"({"w":{"dtype":"U8","shape":[2],"data_offsets":[0,2],"x":"y"}})", 2), "expected"));
  EXPECT_TRUE(Refused(OpenJson(R"({"w":{"dtype":"U8","shape":[2],"data_offsets":[0,2],"x":1}})", 2), "expected"));
  EXPECT_TRUE(Refused(OpenJson(R"({"w":[]})", 0), "expected"));
}

TEST(SafetensorsRules, TheDTypeIsKnownToTheLetter) {
  for (const char* dtype : {"u8", "U8 ", "F31", "", "Q4_0"}) {
    EXPECT_TRUE(Refused(OpenEntry(dtype, "[2]", "[0,2]", 2), "unknown dtype"));
  }
  EXPECT_TRUE(Refused(OpenJson(R"({"w":{"dtype":8,"shape":[2],"data_offsets":[0,2]}})", 2), "number"));
}

TEST(SafetensorsRules, EveryDTypeHasItsWidth) {
  for (const char* dtype : {"BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"}) {
    EXPECT_TRUE(Accepted(OpenEntry(dtype, "[4]", "[0,4]", 4))) << dtype;
  }
  for (const char* dtype : {"I16", "U16", "F16", "BF16"}) EXPECT_TRUE(Accepted(OpenEntry(dtype, "[2]", "[0,4]", 4)));
  for (const char* dtype : {"I32", "U32", "F32"}) EXPECT_TRUE(Accepted(OpenEntry(dtype, "[1]", "[0,4]", 4)));
  for (const char* dtype : {"C64", "F64", "I64", "U64"}) EXPECT_TRUE(Accepted(OpenEntry(dtype, "[1]", "[0,8]", 8)));
  EXPECT_TRUE(Accepted(OpenEntry("F4", "[8]", "[0,4]", 4)));
  for (const char* dtype : {"F6_E2M3", "F6_E3M2"}) EXPECT_TRUE(Accepted(OpenEntry(dtype, "[4]", "[0,3]", 3)));
}

TEST(SafetensorsRules, TypesThatNoTensorHasAreListedButNotRead) {
  const OpenResult file = OpenEntry("BOOL", "[2]", "[0,2]", 2);
  ASSERT_TRUE(Accepted(file));
  EXPECT_EQ((*file)->Find("w")->stored_type, "BOOL");
  EXPECT_TRUE(absl::IsInvalidArgument((*file)->Read("w").status()));
}

TEST(SafetensorsRules, ShapesAreListsOfWholeNumbers) {
  for (const char* shape :
       {"[2.0]", "[2e0]", "[-2]", "[-0]", "[\"2\"]", "[null]", "[[2]]", "2", "[true]", "[18446744073709551616]"}) {
    EXPECT_TRUE(Refused(OpenEntry("U8", shape, "[0,2]", 2), "expected")) << shape;
  }
}

TEST(SafetensorsRules, OffsetsAreTwoWholeNumbers) {
  for (const char* offsets : {"[]", "[0]", "[0,2,2]"})
    EXPECT_TRUE(Refused(OpenEntry("U8", "[2]", offsets, 2), "data_offsets"));
  for (const char* offsets : {"[0,2.0]", "[-1,1]", "[0,\"2\"]"}) {
    EXPECT_TRUE(Refused(OpenEntry("U8", "[2]", offsets, 2), "expected"));
  }
}

TEST(SafetensorsRules, ASizeThatOverflowsIsRefused) {
  for (const char* shape :
       {"[2,18446744073709551614]", "[2,9223372036854775807]", "[9223372036854775808,4,0]", "[0,9223372036854775808,4]",
        "[4194305,4194305,211106198978564]", "[9223372036854775807]"}) {
    EXPECT_TRUE(Refused(OpenEntry("F32", shape, "[0,4]", 4), "overflows")) << shape;
  }
}

TEST(SafetensorsRules, ElementsFillWholeBytes) {
  EXPECT_TRUE(Refused(OpenEntry("F4", "[3]", "[0,1]", 1), "whole bytes"));
  EXPECT_TRUE(Refused(OpenEntry("F6_E2M3", "[2]", "[0,1]", 1), "whole bytes"));
}

TEST(SafetensorsRules, OffsetsCoverExactlyTheShape) {
  EXPECT_TRUE(Refused(OpenEntry("F32", "[2]", "[0,4]", 4), "cover 4 bytes"));
  EXPECT_TRUE(Refused(OpenEntry("F32", "[2]", "[0,12]", 12), "cover 12 bytes"));
}

TEST(SafetensorsRules, OffsetsDoNotRunBackwards) {
  EXPECT_TRUE(Refused(OpenEntry("U8", "[2]", "[2,0]", 2), "before they begin"));
}

TEST(SafetensorsRules, TensorsLeaveNoHoleAndDoNotOverlap) {
  const std::string a = Entry("a", "U8", "[4]", "[0,4]");
  EXPECT_TRUE(Refused(OpenEntry("U8", "[2]", "[1,3]", 3), "hole after the start"));
  EXPECT_TRUE(
      Refused(OpenJson("{" + a + "," + Entry("b", "U8", "[4]", "[5,9]") + "}", 9), "\"b\": leaves a hole after \"a\""));
  EXPECT_TRUE(Refused(OpenJson("{" + a + "," + Entry("b", "U8", "[4]", "[3,7]") + "}", 7), "\"b\": overlaps \"a\""));
  EXPECT_TRUE(Accepted(OpenJson("{" + Entry("b", "U8", "[4]", "[4,8]") + "," + a + "}", 8)));
}

TEST(SafetensorsRules, TensorsEndWhereTheFileEnds) {
  EXPECT_TRUE(Refused(OpenJson(kGood, 1), "cut short"));
  EXPECT_TRUE(Refused(OpenJson(kGood, 0), "cut short"));
  EXPECT_TRUE(Refused(OpenJson(kGood, 3), "has 3 after its header"));
  EXPECT_TRUE(Refused(OpenJson("{}", 1), "has 1 after its header"));
}

TEST(SafetensorsRules, EmptyTensorsLieAtTheRunningEnd) {
  const std::string a = Entry("a", "U8", "[2]", "[0,2]"), b = Entry("b", "F32", "[0,3]", "[2,2]");
  const std::string c = Entry("c", "U8", "[0]", "[2,2]"), d = Entry("d", "U8", "[2]", "[2,4]");
  const OpenResult file = OpenJson("{" + d + "," + c + "," + b + "," + a + "}", 4);
  ASSERT_TRUE(Accepted(file));
  EXPECT_EQ((*file)->Read("b")->shape(), Shape({0, 3}));
  EXPECT_EQ((*file)->Read("d")->data<uint8_t>()[0], 2);
  EXPECT_TRUE(Refused(OpenJson("{" + Entry("x", "U8", "[4]", "[0,4]") + "," + b + "}", 4), "overlaps"));
}

TEST(SafetensorsRules, AnEmptyShapeIsAScalar) {
  const OpenResult file = OpenEntry("I32", "[]", "[0,4]", 4);
  ASSERT_TRUE(Accepted(file));
  EXPECT_EQ((*file)->Read("w")->item(), 0x03020100);
}

TEST(SafetensorsRules, MetadataMapsStringsToStrings) {
  const OpenResult file = OpenJson(R"({"__metadata__":{"format":"pt","b":""}})", 0);
  ASSERT_TRUE(Accepted(file));
  EXPECT_EQ((*file)->metadata(), (SafetensorsMetadata{{"b", ""}, {"format", "pt"}}));
  for (const char* value : {"null", "3", "[]", "\"x\"", "{\"a\":1}", "{\"a\":null}", "{\"a\":{}}", "{\"a\":[]}"}) {
    EXPECT_TRUE(Refused(OpenJson(absl::StrCat("{\"__metadata__\":", value, "}"), 0), "expected")) << value;
  }
  EXPECT_TRUE(Refused(OpenJson("{" + Entry("__metadata__", "U8", "[2]", "[0,2]") + "}", 2), "expected"));
}

TEST(SafetensorsRules, DataNeedNotBeAligned) {
  const OpenResult file = OpenEntry("F32", "[1]", "[0,4]", 4);  // a header of 53 bytes
  ASSERT_TRUE(Accepted(file));
  EXPECT_EQ((*file)->Read("w")->data<float>()[0], std::bit_cast<float>(0x03020100u));
}

TEST(SafetensorsRules, NotANumberIsAValue) {
  std::string bytes = Safetensors("{" + Entry("w", "F32", "[1]", "[0,4]") + "}", 0);
  bytes += Le(std::numeric_limits<float>::quiet_NaN());
  const OpenResult file = SafetensorsFile::Open(InMemory(bytes));
  ASSERT_TRUE(Accepted(file));
  EXPECT_TRUE(std::isnan((*file)->Read("w")->data<float>()[0]));
}

TEST(SafetensorsRules, DeepNestingEndsAtOnce) {
  const std::string deep(1 << 20, '[');
  EXPECT_TRUE(Refused(OpenJson(deep, 0), "array is not expected"));
  EXPECT_TRUE(Refused(OpenJson("{\"w\":" + deep, 0), "array is not expected"));
}

TEST(SafetensorsRules, RankAndNamesAreLimited) {
  EXPECT_TRUE(Accepted(OpenEntry("U8", "[1,1,1,1,1,2]", "[0,2]", 2)));
  EXPECT_TRUE(Refused(OpenEntry("U8", "[1,1,1,1,1,1,2]", "[0,2]", 2), "more than 6"));
  EXPECT_TRUE(Accepted(OpenJson("{" + Entry(std::string(65536, 'a'), "U8", "[0]", "[0,0]") + "}", 0)));
  EXPECT_TRUE(Refused(OpenJson("{" + Entry(std::string(65537, 'a'), "U8", "[0]", "[0,0]") + "}", 0), "longer than"));
}

TEST(SafetensorsRules, TheNumberOfTensorsIsLimited) {
  std::string json = "{";
  for (int i = 0; i <= 1 << 20; ++i)
    absl::StrAppend(&json, i == 0 ? "" : ",", Entry(absl::StrCat(i), "U8", "[0]", "[0,0]"));
  EXPECT_TRUE(Refused(OpenJson(json + "}", 0), "more than 1048576 tensors"));
}

TEST(SafetensorsRules, NamesAreTextAndPrintedEscaped) {
  const OpenResult file = OpenJson("{" + Entry("../\\u0000\\u001b[2J", "BOOL", "[0]", "[0,0]") + "}", 0);
  ASSERT_TRUE(Accepted(file));
  const std::string name("../\0\x1b[2J", 8);
  ASSERT_NE((*file)->Find(name), nullptr);
  const std::string message((*file)->Read(name).status().message());
  EXPECT_TRUE(absl::StrContains(message, "\"../\\x00\\x1b[2J\"")) << message;
}

// A file that is cut short after it was opened.
class ShrinkingFile : public MemoryFile {
 public:
  explicit ShrinkingFile(std::string bytes) : MemoryFile(bytes.substr(0, bytes.size() - 1)), size_(bytes.size()) {}
  uint64_t size() const override { return size_; }

 private:
  uint64_t size_;
};

TEST(SafetensorsRules, AFileThatShrinksIsAnErrorNotASignal) {
  const OpenResult file = SafetensorsFile::Open(std::make_unique<ShrinkingFile>(Safetensors(kGood, 2)));
  ASSERT_TRUE(Accepted(file));
  EXPECT_TRUE(absl::IsDataLoss((*file)->Read("w").status()));
}

TEST(SafetensorsFileTest, AMissingNameBringsTheNearestOnes) {
  const OpenResult file = OpenJson("{" + Entry("model.norm.weight", "U8", "[0]", "[0,0]") + "}", 0);
  ASSERT_TRUE(Accepted(file));
  const absl::Status status = (*file)->Read("model.norm.weigth").status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_TRUE(absl::StrContains(status.message(), "\"model.norm.weight\"")) << status;
}

}  // namespace
}  // namespace lorikeet
