#include "quant/bnb_checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"
#include "tensor/shape.h"

namespace lorikeet {
namespace {

using nlohmann::json;

constexpr absl::string_view kQuantState = ".quant_state.";
constexpr absl::string_view kTensorKeys[] = {".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map"};
constexpr size_t kMaxJson = 1 << 12;  // bytes; a real one has 170

absl::string_view TypeName(Nf4Kind kind) { return kind == Nf4Kind::kNf4 ? "nf4" : "fp4"; }

absl::string_view PythonName(DType dtype) {
  return dtype == DType::kF32 ? "float32" : dtype == DType::kF16 ? "float16" : "bfloat16";
}

// As Python prints a float: the shortest digits that read back as x, plain between 1e-4 and 1e16.
std::string PythonRepr(double x) {
  char text[64];
  char* end = std::to_chars(text, text + sizeof text, x, std::chars_format::scientific).ptr;
  *end = '\0';  // to_chars writes none, and atoi would read on
  const int exponent = std::atoi(std::find(text, end, 'e') + 1);
  if (x == 0 || (exponent >= -4 && exponent < 16)) {
    end = std::to_chars(text, text + sizeof text, x, std::chars_format::fixed).ptr;
    if (std::find(text, end, '.') == end) return std::string(text, end) + ".0";
  }
  return std::string(text, end);
}

// The packed bytes under the type that files have for them.
Tensor StoredCodes(const Nf4Tensor& q) {
  if (q.storage == DType::kU8) return q.codes;
  const Tensor codes = q.codes.To(kCpu);
  const int64_t bytes = codes.nbytes();
  const Tensor stored = Tensor::Empty({bytes / static_cast<int64_t>(SizeOf(q.storage)), 1}, q.storage);
  std::memcpy(stored.raw(), codes.raw(), static_cast<size_t>(bytes));
  return stored;
}

std::string StateJson(const Nf4Tensor& q) {
  std::string shape;
  for (int64_t d : q.shape) absl::StrAppend(&shape, shape.empty() ? "" : ", ", d);
  std::string out = absl::StrCat("{\"quant_type\": \"", TypeName(q.kind), "\", \"blocksize\": ", q.block,
                                 ", \"dtype\": \"", PythonName(q.dtype), "\", \"shape\": [", shape, "]");
  if (q.double_quantized()) {
    absl::StrAppend(&out, ", \"nested_blocksize\": ", q.scale_block,
                    ", \"nested_dtype\": \"float32\", \"nested_offset\": ", PythonRepr(q.scale_mean));
  }
  return out + "}";
}

// Reads one weight's tensors, checking each; the first error stops it.
class Reader {
 public:
  Reader(absl::string_view weight, absl::Span<const std::string> names,
         absl::FunctionRef<absl::StatusOr<Tensor>(absl::string_view)> read)
      : weight_(weight), names_(names), read_(read) {}

  absl::StatusOr<Nf4Tensor> Read() {
    for (auto step : {&Reader::FindKeys, &Reader::ReadState, &Reader::ReadCodes, &Reader::ReadScales}) {
      if (absl::Status status = (this->*step)(); !status.ok()) return status;
    }
    return q_;
  }

 private:
  template <typename... Args>
  absl::Status Bad(const Args&... what) const {
    return absl::InvalidArgumentError(absl::StrCat(weight_, ": ", what...));
  }

  // Every name below the weight's must be known: a key that nobody reads would mean a wrong weight.
  absl::Status FindKeys() {
    for (const std::string& name : names_) {
      absl::string_view suffix = name;
      if (!absl::ConsumePrefix(&suffix, weight_) || !absl::StartsWith(suffix, ".")) continue;
      if (absl::StartsWith(suffix, kQuantState)) {
        if (!state_name_.empty()) return Bad("two quant_state tensors, ", state_name_, " and ", name);
        state_name_ = name;
      } else if (std::find(std::begin(kTensorKeys), std::end(kTensorKeys), suffix) == std::end(kTensorKeys)) {
        return Bad("unknown tensor ", name, " beside a 4-bit weight");
      }
    }
    if (state_name_.empty()) return Bad("no ", weight_, ".quant_state.bitsandbytes__nf4: not a 4-bit weight");
    if (absl::EndsWith(state_name_, ".bitsandbytes__nf4"))
      q_.kind = Nf4Kind::kNf4;
    else if (absl::EndsWith(state_name_, ".bitsandbytes__fp4"))
      q_.kind = Nf4Kind::kFp4;
    else
      return Bad("unknown format ", state_name_, "; bitsandbytes__nf4 and bitsandbytes__fp4 are supported");
    return absl::OkStatus();
  }

  bool Has(absl::string_view suffix) const {
    const std::string name = absl::StrCat(weight_, suffix);
    return std::find(names_.begin(), names_.end(), name) != names_.end();
  }

  absl::StatusOr<Tensor> Fetch(absl::string_view suffix) {
    if (!suffix.empty() && !Has(suffix)) return Bad("tensor ", weight_, suffix, " is missing");
    absl::StatusOr<Tensor> t = read_(absl::StrCat(weight_, suffix));
    return t.ok() ? t->Contiguous() : t;
  }

  absl::Status FetchExact(absl::string_view suffix, DType dtype, const Shape& shape, Tensor* out) {
    absl::StatusOr<Tensor> t = Fetch(suffix);
    if (!t.ok()) return t.status();
    if (t->dtype() != dtype || !(t->shape() == shape))
      return Bad(weight_, suffix, " is ", Describe(*t), ", expected ", Name(dtype), ToString(shape));
    if (dtype == DType::kF32) {
      for (float v : t->data<float>())
        if (!std::isfinite(v)) return Bad(weight_, suffix, " holds a number that is not finite");
    }
    *out = *t;
    return absl::OkStatus();
  }

  absl::Status ReadState() {
    absl::StatusOr<Tensor> t = read_(state_name_);
    if (!t.ok()) return t.status();
    if (t->dtype() != DType::kU8 || t->rank() != 1 || t->size() > static_cast<int64_t>(kMaxJson))
      return Bad(state_name_, " is ", Describe(*t), ", expected the bytes of a short JSON text");
    const absl::Span<const uint8_t> bytes = t->data<uint8_t>();
    const json state = json::parse(bytes.begin(), bytes.end(), nullptr, /*allow_exceptions=*/false);
    if (!state.is_object()) return Bad(state_name_, " is not a JSON object");
    return ParseState(state);
  }

  absl::Status ParseState(const json& state) {
    const bool nested =
        state.contains("nested_blocksize") || state.contains("nested_dtype") || state.contains("nested_offset");
    std::vector<absl::string_view> keys = {"quant_type", "blocksize", "dtype", "shape"};
    if (nested) keys.insert(keys.end(), {"nested_blocksize", "nested_dtype", "nested_offset"});
    for (absl::string_view key : keys)
      if (!state.contains(std::string(key))) return Bad(state_name_, " lacks \"", key, "\"");
    for (const auto& item : state.items())
      if (std::find(keys.begin(), keys.end(), item.key()) == keys.end())
        return Bad(state_name_, " has an unknown key \"", item.key(), "\"");
    if (state["quant_type"] != std::string(TypeName(q_.kind)))
      return Bad(state_name_, " says quant_type ", state["quant_type"].dump());
    if (absl::Status s = ParseBlock(state["blocksize"], "blocksize", &q_.block); !s.ok()) return s;
    if (absl::Status s = ParseDType(state["dtype"]); !s.ok()) return s;
    if (absl::Status s = ParseShape(state["shape"]); !s.ok()) return s;
    nested_ = nested;
    return nested ? ParseNested(state) : absl::OkStatus();
  }

  absl::Status ParseNested(const json& state) {
    if (state["nested_dtype"] != "float32")
      return Bad(state_name_, " says nested_dtype ", state["nested_dtype"].dump(), "; float32 is supported");
    const json& offset = state["nested_offset"];
    if (!offset.is_number() || !std::isfinite(offset.get<double>()))
      return Bad(state_name_, " says nested_offset ", offset.dump());
    q_.scale_mean = static_cast<float>(offset.get<double>());
    if (!std::isfinite(q_.scale_mean)) return Bad(state_name_, " says nested_offset ", offset.dump());
    return ParseBlock(state["nested_blocksize"], "nested_blocksize", &q_.scale_block);
  }

  absl::Status ParseBlock(const json& value, absl::string_view key, int* out) {
    const int64_t n = value.is_number_integer() ? value.get<int64_t>() : 0;
    if (n < 1 || n > 4096 || !Validate({.block = static_cast<int>(n)}).ok())
      return Bad(state_name_, " says ", key, " ", value.dump(), "; it must be 32, 64, 128, ... 4096");
    *out = static_cast<int>(n);
    return absl::OkStatus();
  }

  absl::Status ParseDType(const json& value) {
    for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
      if (value == std::string(PythonName(dtype))) {
        q_.dtype = dtype;
        return absl::OkStatus();
      }
    }
    return Bad(state_name_, " says dtype ", value.dump(), "; it must be float32, float16 or bfloat16");
  }

  absl::Status ParseShape(const json& value) {
    const absl::Status bad =
        Bad(state_name_, " says shape ", value.dump().substr(0, 200), "; expected the weight's dimensions");
    if (!value.is_array() || value.empty() || value.size() > kMaxRank) return bad;
    int64_t n = 1;
    for (const json& d : value) {
      if (!d.is_number_unsigned() || d.get<uint64_t>() > INT32_MAX) return bad;
      const int64_t size = static_cast<int64_t>(d.get<uint64_t>());
      if (__builtin_mul_overflow(n, size, &n) || n > INT64_MAX / 8) return bad;
      q_.shape.push_back(size);
    }
    return absl::OkStatus();
  }

  // The inverse of StoredCodes.
  absl::Status ReadCodes() {
    absl::StatusOr<Tensor> t = Fetch("");
    if (!t.ok()) return t.status();
    const int64_t bytes = (q_.size() + 1) / 2;
    const bool storage = t->dtype() == DType::kU8 || t->dtype() == DType::kBF16 || t->dtype() == DType::kF16 ||
                         t->dtype() == DType::kF32;
    if (!storage || t->nbytes() != bytes || t->rank() != 2 || t->dim(1) != 1)
      return Bad("packed weight is ", Describe(*t), ", expected u8[", bytes, ",1] for shape ", ToString(q_.shape));
    q_.codes = *t;
    q_.storage = t->dtype();
    if (t->dtype() != DType::kU8) {
      q_.codes = Tensor::Empty({bytes, 1}, DType::kU8);
      std::memcpy(q_.codes.raw(), t->raw(), static_cast<size_t>(bytes));
    }
    return FetchExact(".quant_map", DType::kF32, {16}, &q_.code_map);
  }

  absl::Status ReadScales() {
    const int64_t blocks = q_.num_blocks();
    if (!nested_) {
      for (absl::string_view key : {".nested_absmax", ".nested_quant_map"})
        if (Has(key)) return Bad(weight_, key, " is there, but the quant_state names no nested blocks");
      return FetchExact(".absmax", DType::kF32, {blocks}, &q_.scales);
    }
    if (absl::Status s = FetchExact(".absmax", DType::kU8, {blocks}, &q_.scales); !s.ok()) return s;
    const int64_t nested_blocks = (blocks + q_.scale_block - 1) / q_.scale_block;
    if (absl::Status s = FetchExact(".nested_absmax", DType::kF32, {nested_blocks}, &q_.scale_scales); !s.ok())
      return s;
    return FetchExact(".nested_quant_map", DType::kF32, {256}, &q_.scale_map);
  }

  absl::string_view weight_;
  absl::Span<const std::string> names_;
  absl::FunctionRef<absl::StatusOr<Tensor>(absl::string_view)> read_;
  std::string state_name_;
  bool nested_ = false;
  Nf4Tensor q_;
};

}  // namespace

std::vector<std::pair<std::string, Tensor>> Nf4ToCheckpoint(absl::string_view weight, const Nf4Tensor& q) {
  const std::string state = StateJson(q);
  const Tensor bytes =
      Tensor::From<uint8_t>(absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(state.data()), state.size()),
                            {static_cast<int64_t>(state.size())});
  std::vector<std::pair<std::string, Tensor>> out = {{std::string(weight), StoredCodes(q)},
                                                     {absl::StrCat(weight, ".absmax"), q.scales},
                                                     {absl::StrCat(weight, ".quant_map"), q.code_map}};
  if (q.double_quantized()) {
    out.emplace_back(absl::StrCat(weight, ".nested_absmax"), q.scale_scales);
    out.emplace_back(absl::StrCat(weight, ".nested_quant_map"), q.scale_map);
  }
  out.emplace_back(absl::StrCat(weight, kQuantState, "bitsandbytes__", TypeName(q.kind)), bytes);
  return out;
}

absl::StatusOr<Nf4Tensor> Nf4FromCheckpoint(absl::string_view weight, absl::Span<const std::string> names,
                                            absl::FunctionRef<absl::StatusOr<Tensor>(absl::string_view)> read) {
  return Reader(weight, names, read).Read();
}

bool IsNf4QuantState(absl::string_view name) { return absl::StrContains(name, ".quant_state.bitsandbytes__"); }

absl::string_view Nf4WeightOfKey(absl::string_view name) {
  if (const size_t at = name.find(kQuantState); at != absl::string_view::npos) return name.substr(0, at);
  for (absl::string_view key : kTensorKeys) {
    if (absl::ConsumeSuffix(&name, key)) return name;
  }
  return {};
}

std::string Nf4QuantizationConfig(const Nf4Options& options, DType compute_dtype) {
  return absl::StrCat(
      R"({"quant_method": "bitsandbytes", "load_in_4bit": true, "load_in_8bit": false, "_load_in_4bit": true, )",
      R"("_load_in_8bit": false, "bnb_4bit_quant_type": ")", TypeName(options.kind),
      R"(", "bnb_4bit_use_double_quant": )", options.double_quant ? "true" : "false",
      R"(, "bnb_4bit_compute_dtype": ")", PythonName(compute_dtype),
      R"(", "bnb_4bit_quant_storage": "uint8", "llm_int8_threshold": 6.0, "llm_int8_skip_modules": null, )",
      R"("llm_int8_enable_fp32_cpu_offload": false, "llm_int8_has_fp16_weight": false})");
}

}  // namespace lorikeet
