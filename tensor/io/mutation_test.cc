// Damaged files, made by rule and not by chance: every header byte changed in several ways, every cut, every 8-byte
// field made huge. Nothing crashes (under the sanitizers this says much more) or asks for more memory than so small a
// file explains, and whatever is accepted can be read.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "tensor/io/gguf.h"
#include "tensor/io/gguf_metadata.h"
#include "tensor/io/safetensors.h"
#include "tensor/io/tensor_source.h"
#include "tensor/io/test_files.h"
#include "tensor/tensor.h"

// The largest block that was asked for since it was last set to 0.
static std::atomic<size_t> largest_block{0};

static void* Count(size_t bytes) {
  size_t seen = largest_block.load();
  while (bytes > seen && !largest_block.compare_exchange_weak(seen, bytes)) {
  }
  return std::malloc(bytes == 0 ? 1 : bytes);
}

// Not inlined, where gcc would see new meet free.
[[gnu::noinline]] void* operator new(size_t bytes) {
  if (void* p = Count(bytes)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(size_t bytes, const std::nothrow_t&) noexcept { return Count(bytes); }
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace lorikeet {
namespace {

constexpr size_t kBlockLimit = 64 << 10;  // the files have about 1 KiB

struct Counts {
  int accepted = 0, refused = 0;
};

// Opens, and reads every tensor of what opens. All errors must be InvalidArgument: an input's fault, not the disk's.
template <typename File>
void Try(const std::string& bytes, Counts* counts) {
  largest_block = 0;
  absl::StatusOr<std::unique_ptr<File>> file = File::Open(InMemory(bytes));
  EXPECT_LE(largest_block.load(), kBlockLimit);
  ++(file.ok() ? counts->accepted : counts->refused);
  if (!file.ok()) {
    EXPECT_TRUE(absl::IsInvalidArgument(file.status())) << file.status();
    return;
  }
  for (const TensorInfo& info : (*file)->tensors()) {
    absl::StatusOr<Tensor> tensor = (*file)->Read(info.name);
    EXPECT_LE(info.bytes, static_cast<int64_t>(bytes.size()));
    EXPECT_TRUE(tensor.ok() || absl::IsInvalidArgument(tensor.status())) << tensor.status();
  }
}

template <typename File>
Counts TryAllDamages(const std::string& good, size_t header_bytes) {
  Counts counts;
  for (size_t i = 0; i < header_bytes; ++i) {
    for (int change : {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff}) {
      std::string bytes = good;
      bytes[i] = static_cast<char>(bytes[i] ^ change);
      Try<File>(bytes, &counts);
    }
  }
  for (size_t i = 0; i + 8 <= header_bytes; ++i) {
    for (uint64_t field : {uint64_t{0}, ~uint64_t{0}, uint64_t{1} << 63, uint64_t{1} << 32, uint64_t{1} << 61}) {
      std::string bytes = good;
      std::memcpy(&bytes[i], &field, sizeof(field));
      Try<File>(bytes, &counts);
    }
  }
  for (size_t i = 0; i < good.size(); ++i) Try<File>(good.substr(0, i), &counts);
  return counts;
}

TEST(MutationTest, NoDamagedSafetensorsHeaderCrashes) {
  const std::string json =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
      R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]},"c":{"dtype":"I64","shape":[],"data_offsets":[22,30]}})";
  const std::string good = Safetensors(json, 30);
  const Counts counts = TryAllDamages<SafetensorsFile>(good, 8 + json.size());
  EXPECT_GT(counts.refused, 2000);
  EXPECT_GT(counts.accepted, 50);  // other names, other types of the same width
}

TEST(MutationTest, NoDamagedGgufHeaderCrashes) {
  const GgufBytes good =
      GgufBytes()
          .String("general.architecture", "llama")
          .U32("general.alignment", 32)
          .U32("llama.block_count", 1)
          .Strings("tokenizer.ggml.tokens", {"a", "<0x41>", ""})
          .Array("tokenizer.ggml.token_type", GgufType::kI32, 3, Le<int32_t>(1) + Le<int32_t>(6) + Le<int32_t>(1))
          .Value("flag", GgufType::kBool, "\x01")
          .Tensor("blk.0.q", {32, 2}, 2, 0)
          .Tensor("blk.0.k", {256}, 14, 64)
          .Tensor("n", {4}, 0, 288)
          .Data(320);
  const Counts counts = TryAllDamages<GgufFile>(good.Build(), good.Header().size());
  EXPECT_GT(counts.refused, 2000);
  EXPECT_GT(counts.accepted, 50);
}

}  // namespace
}  // namespace lorikeet
