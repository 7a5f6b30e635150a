// Against files and values from other implementations: tests/golden/README.md says how they were made.
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "tensor/dtype.h"
#include "tensor/io/gguf.h"
#include "tensor/io/gguf_rope.h"
#include "tensor/io/safetensors.h"
#include "tensor/io/sharded_safetensors.h"
#include "tensor/io/tensor_source.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

const std::string kGolden = "tests/golden/";

Tensor MustRead(const TensorSource& source, const std::string& name) {
  absl::StatusOr<Tensor> tensor = source.Read(name);
  EXPECT_TRUE(tensor.ok()) << tensor.status();
  return tensor.ok() ? *tensor : Tensor::Zeros({0}, DType::kF32);
}

bool SameBits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() && a.size() > 0 &&
         std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.nbytes())) == 0;
}

TEST(GgufGolden, EveryFormatDecodesToTheBitsOfTheGgufPackage) {
  auto packed = GgufFile::Open(kGolden + "gguf/formats.gguf");
  auto values = SafetensorsFile::Open(kGolden + "gguf/formats.safetensors");
  ASSERT_TRUE(packed.ok() && values.ok()) << packed.status() << values.status();
  ASSERT_EQ((*packed)->tensors().size(), 11u);
  for (const TensorInfo& info : (*packed)->tensors()) {
    const Tensor expected = MustRead(**values, info.name);
    absl::StatusOr<Tensor> f32 = (*packed)->ReadAs(info.name, DType::kF32);
    absl::StatusOr<Tensor> bf16 = (*packed)->ReadAs(info.name, DType::kBF16);
    ASSERT_TRUE(f32.ok() && bf16.ok()) << f32.status() << bf16.status();
    EXPECT_EQ(info.stored_type, info.name);
    EXPECT_TRUE(SameBits(*f32, expected)) << info.name;
    EXPECT_TRUE(SameBits(*bf16, expected.Cast(DType::kBF16))) << info.name;
  }
}

TEST(GgufGolden, PlainFormatsKeepTheirDType) {
  auto file = GgufFile::Open(kGolden + "gguf/formats.gguf");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(MustRead(**file, "F16").dtype(), DType::kF16);
  EXPECT_EQ(MustRead(**file, "BF16").dtype(), DType::kBF16);
  EXPECT_EQ(MustRead(**file, "Q6_K").dtype(), DType::kF32);
}

TEST(GgufGolden, UnpermutedQueryAndKeyRowsAreTheCheckpoints) {
  auto gguf = GgufFile::Open(kGolden + "gguf/llama_tied.gguf");
  auto model = OpenSafetensorsDirectory(kGolden + "models/llama_tied");
  ASSERT_TRUE(gguf.ok() && model.ok()) << gguf.status() << model.status();
  const Tensor q = MustRead(**gguf, "blk.1.attn_q.weight"), k = MustRead(**gguf, "blk.1.attn_k.weight");
  EXPECT_TRUE(SameBits(UnpermuteRope(q, 4), MustRead(**model, "model.layers.1.self_attn.q_proj.weight")));
  EXPECT_TRUE(SameBits(UnpermuteRope(k, 2), MustRead(**model, "model.layers.1.self_attn.k_proj.weight")));
  EXPECT_FALSE(SameBits(q, MustRead(**model, "model.layers.1.self_attn.q_proj.weight")));
}

// Where tests run, data files are links, which shards must not be.
std::string CopyOfFiles(const std::string& directory) {
  const std::filesystem::path copy = std::filesystem::path(testing::TempDir()) / "model";
  std::filesystem::create_directories(copy);
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    std::filesystem::copy_file(entry.path(), copy / entry.path().filename(),
                               std::filesystem::copy_options::overwrite_existing);
  }
  return copy.string();
}

TEST(SafetensorsGolden, ShardsReadAsTheWholeModelDoes) {
  auto sharded = OpenSafetensorsDirectory(CopyOfFiles(kGolden + "models/llama_sharded"));
  auto whole = OpenSafetensorsDirectory(kGolden + "models/llama_tied");
  ASSERT_TRUE(sharded.ok() && whole.ok()) << sharded.status() << whole.status();
  ASSERT_EQ((*sharded)->tensors().size(), (*whole)->tensors().size());
  for (const TensorInfo& info : (*whole)->tensors()) {
    EXPECT_TRUE(SameBits(MustRead(**sharded, info.name), MustRead(**whole, info.name))) << info.name;
  }
}

}  // namespace
}  // namespace lorikeet
