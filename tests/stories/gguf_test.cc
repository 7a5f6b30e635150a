// merge --gguf and --gguf_lora as a user runs them: what is read back, by our own reader, is exactly the merged model;
// and what fails leaves nothing behind.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "apps/model/adapted_model.h"
#include "apps/model/open_model.h"
#include "apps/text/bpe_spec.h"
#include "apps/text/sentencepiece_for_test.h"
#include "apps/text/tokenizer_json.h"
#include "gtest/gtest.h"
#include "nn/gguf_architecture.h"
#include "nn/gguf_model.h"
#include "nn/linear_map.h"
#include "nn/module.h"
#include "peft/adapter_map.h"
#include "peft/merge.h"
#include "tensor/dtype.h"
#include "tensor/io/gguf.h"
#include "tensor/io/gguf_rope.h"
#include "tensor/io/tensor_source.h"
#include "tensor/tensor.h"
#include "tests/testing/run_program.h"
#include "tests/testing/tiny_model.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;

std::string Adapter(const std::string& name) { return name.empty() ? "" : "tests/golden/adapters/" + name; }

std::unique_ptr<GgufFile> OpenGguf(const std::string& path) {
  absl::StatusOr<std::unique_ptr<GgufFile>> file = GgufFile::Open(path);
  EXPECT_TRUE(file.ok()) << file.status();
  return *std::move(file);
}

AdaptedModel OpenTiny(const std::string& path, const std::string& adapter) {
  absl::StatusOr<AdaptedModel> m = OpenAdaptedModel(path, Adapter(adapter), {});
  EXPECT_TRUE(m.ok()) << m.status();
  return *std::move(m);
}

// A directory for outputs, so that nothing else can lie in it.
std::string FreshDirectory() {
  const std::string path = FreshPath("exports");
  fs::create_directories(path);
  return path;
}
bool IsEmpty(const std::string& directory) { return fs::directory_iterator(directory) == fs::directory_iterator(); }

bool SameBits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() && a.size() > 0 &&
         std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.nbytes())) == 0;
}

struct Case {
  std::string model, adapter;
};
void PrintTo(const Case& c, std::ostream* os) { *os << c.model << " " << c.adapter; }

class GgufStory : public testing::TestWithParam<Case> {
 protected:
  const std::string model_ = TinyModel(GetParam().model), path_ = FreshDirectory() + "/" + GetParam().model + ".gguf";

  Outcome Merge(const std::string& flags) {
    const Outcome o = RunProgram(absl::StrCat("merge --model=", model_, " --adapter=", Adapter(GetParam().adapter),
                                              " --gguf=", path_, " ", flags));
    EXPECT_EQ(o.code, 0) << o.err;
    const bool window = GetParam().model == "mistral" || GetParam().model == "phi3";
    EXPECT_EQ(absl::StrContains(o.err, "beyond its window of 4 tokens"), window) << o.err;
    EXPECT_TRUE(absl::StrContains(o.out, ", the model's ids, in conversations too: plain)")) << o.out;
    return o;
  }
};

TEST_P(GgufStory, InF32EveryTensorIsTheMergedOne) {
  Merge("--gguf_type=f32");
  const AdaptedModel m = OpenTiny(model_, GetParam().adapter);
  const MergedSource merged(*m.base.lm, DType::kF32);
  const std::unique_ptr<GgufFile> file = OpenGguf(path_);
  const GgufModelSource written(*file, m.base.files->config());
  EXPECT_EQ(written.tensors().size(), merged.tensors().size());
  // The file's, but for one that has llama.cpp expect tokens that this vocabulary lacks.
  EXPECT_EQ(file->metadata().Has("general.name"), !absl::StrContains(GetParam().model, "phi3"));
  for (const auto& [model, tensor] :
       {std::pair("llama3_rope", "rope_freqs.weight"), {"phi3_long", "rope_factors_long.weight"}})
    EXPECT_EQ(file->Find(tensor) != nullptr, GetParam().model == model) << tensor;
  for (const TensorInfo& t : merged.tensors())
    EXPECT_TRUE(SameBits(*written.Read(t.name), *merged.Read(t.name))) << t.name;
}

TEST_P(GgufStory, PackedEveryWeightIsTheNearestOfItsBlock) {
  const Outcome o = Merge("--gguf_type=q8_0");
  EXPECT_EQ(absl::StrContains(o.out, "recommended: "), !GetParam().adapter.empty()) << o.out;
  const AdaptedModel m = OpenTiny(model_, GetParam().adapter);
  const MergedSource merged(*m.base.lm, DType::kF32);
  const std::unique_ptr<GgufFile> file = OpenGguf(path_);
  const GgufModelSource written(*file, m.base.files->config());
  for (const TensorInfo& t : merged.tensors()) {
    const std::string stored = written.Find(t.name)->stored_type;
    EXPECT_EQ(stored, t.shape.rank() < 2 ? "F32" : t.shape[-1] % 32 == 0 ? "Q8_0" : "F16") << t.name;
    const Tensor w = *merged.Read(t.name), q = (*written.Read(t.name)).Cast(DType::kF32);
    for (int64_t i = 0; i < w.size(); i += 16) {
      const auto block =
          w.data<float>().subspan(static_cast<size_t>(i / 32 * 32), std::min<int64_t>(32, w.size() - i / 32 * 32));
      float most = 0;
      for (float x : block) most = std::max(most, std::abs(x));
      const float half_step = most / 254 * 1.2f;  // the scale is a half, which costs some
      ASSERT_TRUE(std::abs(w.data<float>()[i] - q.data<float>()[i]) <= half_step) << t.name << " " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GgufStory,
                         testing::Values(Case{"llama_untied", "lora"}, Case{"llama_tied", "rslora"},
                                         Case{"llama_tied", "tokens_tied"}, Case{"qwen2", "dora"},
                                         Case{"qwen3", "qwen3"}, Case{"llama3_rope", ""}, Case{"mistral", ""},
                                         Case{"phi3", "phi3"}, Case{"phi3_long", ""}, Case{"qwen3_yarn", ""}));

// Every adapted weight of a model.
class Adapted : public Visitor {
 public:
  std::vector<std::pair<std::string, AdapterMap*>> maps;

 protected:
  void VisitSlot(absl::string_view name, MapSlot& slot) override {
    if (auto* map = dynamic_cast<AdapterMap*>(slot.map.get())) maps.emplace_back(name, map);
  }
};

TEST(GgufAdapterStory, TheFilesProductIsTheAdaptersWhateverItsScalings) {
  for (const auto& [model, adapter] :
       {Case{"llama_untied", "lora"}, Case{"llama_tied", "rslora"}, Case{"llama_untied", "patterns"},
        Case{"qwen2", "regex"}, Case{"gemma3", "gemma3"}, Case{"phi3", "phi3"}}) {
    const std::string path = FreshDirectory() + "/lora.gguf", dir = TinyModel(model);
    const Outcome o =
        RunProgram(absl::StrCat("merge --model=", dir, " --adapter=", Adapter(adapter), " --gguf_lora=", path));
    ASSERT_EQ(o.code, 0) << o.err;
    const std::unique_ptr<GgufFile> file = OpenGguf(path);
    EXPECT_EQ(file->metadata().String("adapter.type").value(), "lora");
    const double alpha = file->metadata().Float("adapter.lora.alpha").value();
    const AdaptedModel m = OpenTiny(dir, adapter);
    Adapted adapted;
    m.base.lm->Visit(adapted);
    ASSERT_EQ(file->tensors().size(), 2 * adapted.maps.size());
    for (const auto& [name, map] : adapted.maps) {
      const std::string stored = GgufName(*GgufArchitectureOf(m.base.files->config().model_type), name + ".weight");
      EXPECT_TRUE(SameBits(*file->Read(stored + ".lora_a"), map->a())) << name;
      Tensor b = *file->Read(stored + ".lora_b");
      const ModelConfig& c = m.base.files->config();
      const bool q = absl::StrContains(stored, "attn_q."), k = absl::StrContains(stored, "attn_k.");
      if (c.model_type == "llama" && (q || k)) b = UnpermuteRope(b, q ? c.num_heads : c.num_kv_heads);
      const double scale = alpha / static_cast<double>(map->rank());
      for (int64_t i = 0; i < b.size(); ++i) {
        const double want = double{map->b().data<float>()[i]} * double{map->scaling()};
        ASSERT_TRUE(std::abs(scale * double{b.data<float>()[i]} - want) <= 3e-7 * std::abs(want)) << name << " " << i;
      }
    }
  }
}

// The small model with another tokenizer. What it says makes no sense, but the same with either file.
TEST(GgufSentencePieceStory, AModelWithScoresSaysTheSameFromItsFile) {
  const std::string out = FreshDirectory(), model = out + "/model", file = out + "/model.gguf";
  const Outcome unpacked = RunProgram("merge --model=apps/small_model --output_dir=" + model);
  ASSERT_EQ(unpacked.code, 0) << unpacked.err;
  const text::BpeSpec spec = text::SmallSentencePiece();
  std::ofstream(model + "/tokenizer.json") << text::ToTokenizerJson(spec);
  std::ofstream(model + "/tokenizer_config.json") << text::ToTokenizerConfigJson(spec);
  const std::string written = absl::StrCat("merge --chat_template=chatml --gguf_type=f32 --model=", model);
  const Outcome o = RunProgram(absl::StrCat(written, " --gguf=", file));
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(absl::StrContains(o.out, ", the model's ids, in conversations too: chatml)")) << o.out;
  const auto says = [](const std::string& path) {
    const Outcome said =
        RunProgram(absl::StrCat("generate --temperature=0 --compute_dtype=f32 --max_tokens=24 --chat_template=chatml "
                                "'--prompt=  the <tool> 漢 in' --model=",
                                path));
    EXPECT_EQ(said.code, 0) << said.err;
    return said.out;
  };
  EXPECT_EQ(says(file), says(model));
  EXPECT_FALSE(says(file).empty());
}

TEST(GgufFailureStory, WhatFailsSaysWhyAndLeavesNothing) {
  const std::string untied = TinyModel("llama_untied"), qwen2 = TinyModel("qwen2"), out = FreshDirectory();
  const std::string no_eos = TinyModel("llama_tied"), nan = TinyModel("llama_untied");
  fs::remove(no_eos + "/tokenizer_config.json");
  std::fstream file(nan + "/model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-64, std::ios::end);
  file << std::string(64, '\xff');
  file.close();
  const std::pair<std::string, const char*> cases[] = {
      {absl::StrCat("--model=", no_eos, " --gguf=", out, "/a.gguf"), "eos_token"},
      {absl::StrCat("--model=", nan, " --gguf=", out, "/a.gguf --output_dir=", out, "/dir"), "NaN"},
      {absl::StrCat("--model=", untied, " --gguf=", out, "/a.gguf --gguf_type=q5_k"), "--gguf_type"},
      {absl::StrCat("--model=", untied, " --gguf=", out, "/a.gguf --chat_template=chatml"), "<|im_start|>"},
      {absl::StrCat("--model=", untied, " --gguf_lora=", out, "/a.gguf"), "--adapter"},
      {absl::StrCat("--model=", qwen2, " --adapter=", Adapter("dora"), " --gguf_lora=", out, "/l.gguf --gguf=", out,
                    "/a.gguf --output_dir=", out, "/dir"),
       "DoRA"},
      {absl::StrCat("--model=", untied, " --gguf=", out, "/no/such/place.gguf"), "no/such/place"},
      {absl::StrCat("--model=", TinyModel("gpt2"), " --gguf=", out, "/a.gguf"), "of type gpt2"},
      {absl::StrCat("--model=", TinyModel("gemma3"), " --gguf=", out, "/a.gguf"), "configuration is not the model's"},
  };
  for (const auto& [flags, message] : cases) {
    const Outcome o = RunProgram("merge " + flags);
    EXPECT_EQ(o.code, 2) << flags << "\n" << o.err;
    EXPECT_TRUE(absl::StrContains(o.err, message)) << flags << "\n" << o.err;
    EXPECT_TRUE(IsEmpty(out)) << flags << ": " << fs::directory_iterator(out)->path();
  }
}

TEST(GgufFailureStory, AFileWhoseProofFailsIsNotKept) {
  const std::string model = TinyModel("llama_untied"), out = FreshDirectory();
  // The last norm's weights, 3e38 each: finite in the file, but not what the model computes.
  std::fstream file(model + "/model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-128, std::ios::end);
  for (int i = 0; i < 32; ++i) file << "\xe6\xb1\x61\x7f";
  file.close();
  const Outcome o = RunProgram(
      absl::StrCat("merge --model=", model, " --gguf=", out, "/a.gguf --gguf_type=f32", " --output_dir=", out, "/dir"));
  EXPECT_EQ(o.code, 5) << o.err;
  EXPECT_TRUE(absl::StrContains(o.err, "not finite")) << o.err;
  EXPECT_TRUE(IsEmpty(out));
}

TEST(GgufFailureStory, AFileThatIsNoGgufFileOrTheModelItselfIsKept) {
  const std::string out = FreshDirectory(), notes = out + "/notes.txt", model = out + "/model.gguf";
  std::ofstream(notes) << "mine";
  const std::string tiny = TinyModel("llama_untied");
  ASSERT_EQ(RunProgram(absl::StrCat("merge --model=", tiny, " --gguf=", model)).code, 0);
  const std::string bytes = Contents(model);
  EXPECT_EQ(RunProgram(absl::StrCat("merge --model=", tiny, " --gguf=", notes)).code, 2);
  EXPECT_EQ(RunProgram(absl::StrCat("merge --model=", model, " --gguf=", model, " --gguf_type=q4_0")).code, 2);
  EXPECT_EQ(Contents(notes), "mine");
  EXPECT_TRUE(Contents(model) == bytes);
  // Another GGUF file may be replaced, and a merge of what was written writes the same bytes again.
  ASSERT_EQ(RunProgram(absl::StrCat("merge --model=", model, " --gguf=", out, "/again/model.gguf")).code, 2);
  fs::create_directories(out + "/again");
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(RunProgram(absl::StrCat("merge --model=", model, " --gguf=", out, "/again/model.gguf")).code, 0);
    EXPECT_TRUE(Contents(out + "/again/model.gguf") == bytes);
  }
}

}  // namespace
}  // namespace lorikeet
