// One test per rule of the format; each breaks that rule alone.
#include <bit>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/io/gguf.h"
#include "tensor/io/gguf_metadata.h"
#include "tensor/io/test_files.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

using OpenResult = absl::StatusOr<std::unique_ptr<GgufFile>>;

constexpr uint32_t kF32 = 0, kQ4_0 = 2, kQ2_K = 10;
constexpr uint64_t kHuge = ~uint64_t{0};

OpenResult OpenBytes(const std::string& bytes) { return GgufFile::Open(InMemory(bytes)); }
OpenResult OpenBytes(const GgufBytes& bytes) { return OpenBytes(bytes.Build()); }

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

GgufBytes Good() { return GgufBytes().U32("a.b", 7).Tensor("w", {4, 2}, kF32, 0).Data(32); }

TEST(GgufRules, AGoodFileIsReadWithTheShapeReversed) {
  const OpenResult file = OpenBytes(Good());
  ASSERT_TRUE(Accepted(file));
  EXPECT_EQ((*file)->Find("w")->shape, Shape({2, 4}));
  EXPECT_EQ((*file)->Read("w")->data<float>()[1], std::bit_cast<float>(0x07060504u));
  EXPECT_EQ(*(*file)->metadata().Int("a.b"), 7);
}

TEST(GgufRules, EveryCutOfTheHeaderIsNoticed) {
  const std::string bytes = Good().String("c", "text").Strings("d", {"x", ""}).Build();
  for (size_t n = 0; n < bytes.size(); ++n) EXPECT_TRUE(Refused(OpenBytes(bytes.substr(0, n)), "at byte")) << n;
}

TEST(GgufRules, CountsFitInTheFile) {
  for (uint64_t count : {uint64_t{3}, uint64_t{1} << 32, kHuge}) {
    GgufBytes values = GgufBytes(), tensors = GgufBytes();
    values.num_values = tensors.num_tensors = count;
    EXPECT_TRUE(Refused(OpenBytes(values), "values do not fit"));
    EXPECT_TRUE(Refused(OpenBytes(tensors), "tensors do not fit"));
  }
}

TEST(GgufRules, StringsFitInTheFileAndTheirLimits) {
  EXPECT_TRUE(Refused(OpenBytes(GgufBytes().Value("a", GgufType::kString, Le<uint64_t>(1 << 20))), "cut short"));
  EXPECT_TRUE(Refused(OpenBytes(GgufBytes().Value("a", GgufType::kString, Le(kHuge))), "at most 16777216"));
  EXPECT_TRUE(Refused(OpenBytes(GgufBytes().U32(std::string(65536, 'k'), 0)), "key of 65536 bytes"));
  EXPECT_TRUE(Accepted(OpenBytes(GgufBytes().U32(std::string(65535, 'k'), 0))));
}

TEST(GgufRules, ArraysFitInTheFile) {
  for (uint64_t count : {uint64_t{100}, uint64_t{1} << 61, kHuge}) {
    EXPECT_TRUE(Refused(OpenBytes(GgufBytes().Array("a", GgufType::kF64, count, "")), "cut short"));
    EXPECT_TRUE(Refused(OpenBytes(GgufBytes().Array("a", GgufType::kString, count, "")), "cut short"));
  }
}

TEST(GgufRules, KeysAndNamesOccurOnce) {
  EXPECT_TRUE(Refused(OpenBytes(GgufBytes().U32("a", 1).U32("a", 1)), "key \"a\" occurs twice"));
  EXPECT_TRUE(Refused(OpenBytes(GgufBytes().Tensor("w", {8}, kF32, 0).Tensor("w", {8}, kF32, 32).Data(64)),
                      "tensor \"w\" occurs twice"));
}

TEST(GgufRules, KeysAndNamesArePrintableAscii) {
  for (const std::string& name : {std::string("a\0b", 3), std::string("\xC3\xA9"), std::string("a\n")}) {
    EXPECT_TRUE(Refused(OpenBytes(GgufBytes().U32(name, 1)), "printable"));
    EXPECT_TRUE(Refused(OpenBytes(GgufBytes().Tensor(name, {8}, kF32, 0).Data(32)), "printable"));
  }
  EXPECT_TRUE(Refused(OpenBytes(GgufBytes().U32("", 1)), "empty key"));
  EXPECT_TRUE(Refused(OpenBytes(GgufBytes().Tensor("", {8}, kF32, 0).Data(32)), "empty tensor name"));
}

TEST(GgufRules, MagicAndVersionAreKnown) {
  for (uint32_t version : {0u, 1u, 4u, 0x03000000u}) {
    GgufBytes bytes = Good();
    bytes.version = version;
    EXPECT_TRUE(Refused(OpenBytes(bytes), version > 4 ? "big-endian" : "only 2 and 3"));
  }
  GgufBytes old = Good(), other = Good();
  old.version = 2;
  other.magic = "GGML";
  EXPECT_TRUE(Accepted(OpenBytes(old)));
  EXPECT_TRUE(Refused(OpenBytes(other), "GGUF"));
}

TEST(GgufRules, AlignmentIsAPowerOfTwoInRange) {
  for (uint32_t alignment : {0u, 4u, 7u, 24u, 1u << 17}) {
    EXPECT_TRUE(Refused(OpenBytes(GgufBytes().U32("general.alignment", alignment)), "general.alignment"));
  }
  EXPECT_TRUE(Refused(OpenBytes(GgufBytes().Value("general.alignment", GgufType::kU64, Le<uint64_t>(64))), "u32"));
  const GgufBytes wide = GgufBytes().U32("general.alignment", 64).Tensor("w", {16}, kF32, 0).Data(64);
  EXPECT_TRUE(Accepted(OpenBytes(wide.Build(64))));
}

TEST(GgufRules, TensorsHaveOneToFourDimensionsThatAreNotZero) {
  EXPECT_TRUE(Refused(OpenBytes(GgufBytes().Tensor("w", {}, kF32, 0).Data(32)), "0 dimensions"));
  EXPECT_TRUE(Refused(OpenBytes(GgufBytes().Tensor("w", {8, 1, 1, 1, 1}, kF32, 0).Data(32)), "5 dimensions"));
  EXPECT_TRUE(Refused(OpenBytes(GgufBytes().Tensor("w", {8, 0}, kF32, 0).Data(32)), "dimension is 0"));
  EXPECT_TRUE(Accepted(OpenBytes(GgufBytes().Tensor("w", {2, 2, 1, 2}, kF32, 0).Data(32))));
}

TEST(GgufRules, ASizeThatOverflowsIsRefused) {
  for (const std::vector<uint64_t>& dims : std::vector<std::vector<uint64_t>>{
           {kHuge}, {2, uint64_t{1} << 63}, {uint64_t{1} << 32, uint64_t{1} << 32}, {uint64_t{1} << 62}}) {
    EXPECT_TRUE(Refused(OpenBytes(GgufBytes().Tensor("w", dims, kF32, 0).Data(32)), "overflows"));
  }
}

TEST(GgufRules, FormatsAreKnownAndNotRemoved) {
  for (uint32_t id : {4u, 5u, 31u, 33u, 36u, 38u, 43u, 0xffffffffu}) {
    EXPECT_TRUE(Refused(OpenBytes(GgufBytes().Tensor("w", {256}, id, 0).Data(32)), "unknown format")) << id;
  }
}

TEST(GgufRules, FormatsWithoutADecoderAreListedButNotRead) {
  const OpenResult file = OpenBytes(GgufBytes().Tensor("w", {256}, kQ2_K, 0).Data(96));
  ASSERT_TRUE(Accepted(file));
  EXPECT_EQ((*file)->Find("w")->stored_type, "Q2_K");
  EXPECT_TRUE(absl::IsInvalidArgument((*file)->Read("w").status()));
}

TEST(GgufRules, RowsAreWholeBlocks) {
  EXPECT_TRUE(Refused(OpenBytes(GgufBytes().Tensor("w", {16, 2}, kQ4_0, 0).Data(32)), "whole blocks"));
  EXPECT_TRUE(Accepted(OpenBytes(GgufBytes().Tensor("w", {32, 1}, kQ4_0, 0).Data(32))));
}

TEST(GgufRules, TheEndOfTheTensorsDoesNotOverflow) {
  const uint64_t most = (uint64_t{1} << 61) - 8;  // f32 elements: almost 2^63 bytes
  GgufBytes bytes;
  for (uint64_t i = 0; i < 3; ++i) bytes.Tensor(absl::StrCat("w", i), {most}, kF32, i * most * 4);
  EXPECT_TRUE(Refused(OpenBytes(bytes), "overflows"));
}

TEST(GgufRules, OffsetsAreAlignedAndFollowOneAnother) {
  EXPECT_TRUE(Refused(OpenBytes(GgufBytes().Tensor("w", {8}, kF32, 4).Data(64)), "multiple of 32"));
  EXPECT_TRUE(Refused(OpenBytes(GgufBytes().Tensor("w", {8}, kF32, 32).Data(64)), "expected 0"));
  const GgufBytes first = GgufBytes().Tensor("a", {9}, kF32, 0);  // 36 bytes, padded to 64
  EXPECT_TRUE(Accepted(OpenBytes(GgufBytes(first).Tensor("b", {8}, kF32, 64).Data(96))));
  EXPECT_TRUE(Refused(OpenBytes(GgufBytes(first).Tensor("b", {8}, kF32, 32).Data(96)), "expected 64"));
  EXPECT_TRUE(Refused(OpenBytes(GgufBytes(first).Tensor("b", {8}, kF32, 96).Data(128)), "expected 64"));
}

TEST(GgufRules, TensorsLieInsideTheFile) {
  EXPECT_TRUE(Refused(OpenBytes(GgufBytes().Tensor("w", {8}, kF32, 0).Data(31)), "cut short"));
  EXPECT_TRUE(Refused(OpenBytes(GgufBytes().Tensor("w", {1 << 20}, kF32, 0).Data(32)), "cut short"));
}

TEST(GgufRules, OnlyPaddingFollowsTheLastTensor) {
  const GgufBytes bytes = GgufBytes().Tensor("w", {9}, kF32, 0);
  EXPECT_TRUE(Accepted(OpenBytes(GgufBytes(bytes).Data(36))));
  EXPECT_TRUE(Accepted(OpenBytes(GgufBytes(bytes).Data(64))));
  EXPECT_TRUE(Refused(OpenBytes(GgufBytes(bytes).Data(65)), "1 bytes follow"));
}

TEST(GgufRules, BoolsAreZeroOrOne) {
  EXPECT_TRUE(Refused(OpenBytes(GgufBytes().Value("a", GgufType::kBool, "\x02")), "neither 0 nor 1"));
  EXPECT_TRUE(Refused(OpenBytes(GgufBytes().Array("a", GgufType::kBool, 2, "\x01\xff")), "neither 0 nor 1"));
}

TEST(GgufRules, TypesAreKnownAndArraysDoNotNest) {
  EXPECT_TRUE(
      Refused(OpenBytes(GgufBytes().Value("a", static_cast<GgufType>(13), Le<uint64_t>(0))), "unknown type 13"));
  EXPECT_TRUE(Refused(OpenBytes(GgufBytes().Array("a", GgufType::kArray, 0, "")), "array of arrays"));
}

TEST(GgufRules, ValuesAreReadAsTheTypeTheyHave) {
  const OpenResult file = OpenBytes(GgufBytes()
                                        .Array("bytes", GgufType::kU8, 2, "\x01\x02")
                                        .Value("big", GgufType::kU64, Le(kHuge))
                                        .Value("minus", GgufType::kI8, "\xff")
                                        .Value("half", GgufType::kF32, Le(0.5f))
                                        .Value("yes", GgufType::kBool, "\x01")
                                        .String("text", "t"));
  ASSERT_TRUE(Accepted(file));
  const GgufMetadata& values = (*file)->metadata();
  EXPECT_EQ(*values.Ints("bytes"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(*values.Int("minus"), -1);
  EXPECT_EQ(*values.Float("half"), 0.5);
  EXPECT_TRUE(*values.Bool("yes"));
  EXPECT_EQ(*values.String("text"), "t");
  for (const absl::Status& status :
       {values.Floats("bytes").status(), values.Int("bytes").status(), values.Strings("bytes").status(),
        values.Int("big").status(), values.Int("half").status(), values.Int("text").status(),
        values.Int("yes").status(), values.Ints("minus").status(), values.Float("minus").status(),
        values.Bool("minus").status(), values.String("minus").status(), values.Strings("text").status()}) {
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  }
  EXPECT_TRUE(absl::IsNotFound(values.Int("absent").status()));
}

TEST(GgufRules, TokenArraysHaveOneLengthAndTheirTypes) {
  const auto tokens = [] { return GgufBytes().Strings("tokenizer.ggml.tokens", {"a", "b"}); };
  const std::string two_floats = Le(0.f) + Le(0.f), types = Le<int32_t>(1) + Le<int32_t>(1);
  EXPECT_TRUE(Accepted(OpenBytes(tokens()
                                     .Array("tokenizer.ggml.scores", GgufType::kF32, 2, two_floats)
                                     .Array("tokenizer.ggml.token_type", GgufType::kI32, 2, types))));
  EXPECT_TRUE(Refused(OpenBytes(tokens().Array("tokenizer.ggml.scores", GgufType::kU8, 2, "\x01\x02")), "f32"));
  EXPECT_TRUE(Refused(OpenBytes(tokens().Array("tokenizer.ggml.scores", GgufType::kF32, 1, Le(0.f))), "one per token"));
  EXPECT_TRUE(
      Refused(OpenBytes(tokens().Array("tokenizer.ggml.token_type", GgufType::kF32, 2, two_floats)), "integers"));
  EXPECT_TRUE(Refused(OpenBytes(tokens().U32("tokenizer.ggml.token_type", 1)), "one per token"));
  EXPECT_TRUE(Refused(OpenBytes(GgufBytes().Array("tokenizer.ggml.scores", GgufType::kF32, 0, "")), "without tokens"));
}

GgufBytes Model() { return GgufBytes().String("general.architecture", "llama"); }

TEST(GgufRules, BlockCountsAreBelievable) {
  EXPECT_TRUE(Accepted(OpenBytes(Model().U32("llama.block_count", 512))));
  EXPECT_TRUE(Refused(OpenBytes(Model().U32("llama.block_count", 513)), "llama.block_count"));
  EXPECT_TRUE(Refused(OpenBytes(Model().U32("llama.block_count", 0)), "llama.block_count"));
  const auto third = [](const std::string& name) {
    return Model().U32("llama.block_count", 3).Tensor(name, {8}, kF32, 0).Data(32);
  };
  EXPECT_TRUE(Accepted(OpenBytes(third("blk.2.attn_norm.weight"))));
  for (const char* name : {"blk.3.w", "blk.-1.w", "blk.x.w", "blk.99999999999999999999.w"}) {
    EXPECT_TRUE(Refused(OpenBytes(third(name)), "is 3, but there is a tensor")) << name;
  }
}

TEST(GgufRules, HeadCountsAreBelievable) {
  const auto heads = [](uint32_t q, uint32_t kv) {
    return Model().U32("llama.attention.head_count", q).U32("llama.attention.head_count_kv", kv);
  };
  EXPECT_TRUE(Accepted(OpenBytes(heads(9, 3))));
  EXPECT_TRUE(Refused(OpenBytes(heads(9, 2)), "no multiple of 2"));
  EXPECT_TRUE(Refused(OpenBytes(heads(0, 3)), "head_count"));
  EXPECT_TRUE(Refused(OpenBytes(heads(1 << 17, 1)), "head_count"));
  EXPECT_TRUE(Refused(OpenBytes(Model().String("llama.attention.head_count", "9")), "head_count"));
}

TEST(GgufRules, TheEmbeddingHasTheWidthAndRowsThatTheValuesSay) {
  const auto embedding = [] { return Model().Tensor("token_embd.weight", {4, 2}, kF32, 0).Data(32); };
  EXPECT_TRUE(Accepted(OpenBytes(embedding().U32("llama.embedding_length", 4).U32("llama.vocab_size", 2))));
  EXPECT_TRUE(Refused(OpenBytes(embedding().U32("llama.embedding_length", 5)), "does not fit"));
  EXPECT_TRUE(Refused(OpenBytes(embedding().U32("llama.vocab_size", 3)), "does not fit"));
  EXPECT_TRUE(Accepted(OpenBytes(embedding().Strings("tokenizer.ggml.tokens", {"a", "b"}))));
  EXPECT_TRUE(Refused(OpenBytes(embedding().Strings("tokenizer.ggml.tokens", {"a"})), "does not fit"));
}

TEST(GgufRules, ByteTokensAreTwoHexDigits) {
  const auto byte_token = [](const std::string& token) {
    return GgufBytes()
        .Strings("tokenizer.ggml.tokens", {token})
        .Array("tokenizer.ggml.token_type", GgufType::kI32, 1, Le<int32_t>(6));
  };
  EXPECT_TRUE(Accepted(OpenBytes(byte_token("<0xaF>"))));
  for (const char* token : {"<0x-1>", "<0x1>", "<0x001>", "<0xG0>", "<0x 1>", "0x41", ""}) {
    EXPECT_TRUE(Refused(OpenBytes(byte_token(token)), "byte token")) << token;
  }
}

TEST(GgufRules, AModelInSeveralFilesIsRefused) {
  EXPECT_TRUE(Accepted(OpenBytes(GgufBytes().Value("split.count", GgufType::kU16, Le<uint16_t>(1)))));
  EXPECT_TRUE(
      Refused(OpenBytes(GgufBytes().Value("split.count", GgufType::kU16, Le<uint16_t>(2))), "gguf-split --merge"));
}

TEST(GgufFileTest, AMissingNameBringsTheNearestOnes) {
  const OpenResult file = OpenBytes(Good());
  ASSERT_TRUE(Accepted(file));
  EXPECT_TRUE(absl::IsNotFound((*file)->Read("v").status()));
  EXPECT_TRUE(absl::IsNotFound((*file)->ReadAs("v", DType::kBF16).status()));
}

}  // namespace
}  // namespace lorikeet
