#include "nn/rope_config.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tensor/ops/rope_scaling.h"

namespace lorikeet {
namespace {

using Json = nlohmann::ordered_json;
using Kind = RopeScaling::Kind;

constexpr int64_t kMaxContext = int64_t{1} << 28;

bool IsPhi3(const ModelConfig& c) { return c.model_type == "phi3"; }

void ReadYarn(Fields& rope, RopeScaling* s) {
  rope.Number("beta_fast", &s->beta_fast);
  rope.Number("beta_slow", &s->beta_slow);
  s->truncate = !rope.Has("truncate");  // null is false
  rope.Bool("truncate", &s->truncate);
  double mscale = 0, mscale_all_dim = 0;
  rope.Number("mscale", &mscale);
  rope.Number("mscale_all_dim", &mscale_all_dim);
  if (mscale != 0 && mscale_all_dim != 0)
    s->attention_factor = tensor::YarnMScale(s->factor, mscale) / tensor::YarnMScale(s->factor, mscale_all_dim);
}

Kind KindOf(const std::string& type, const ModelConfig& c, Fields& f) {
  if (type == "linear") return Kind::kLinear;
  if (type == "llama3") return Kind::kLlama3;
  if (type == "longrope" || (IsPhi3(c) && (type == "su" || type == "yarn"))) return Kind::kLongRope;
  if (type == "yarn") return Kind::kYarn;
  f.Fail("rope_type \"", type, "\" is not supported; known are default, linear, llama3, longrope and yarn");
  return Kind::kNone;
}

void WriteLongRope(const RopeScaling& s, Json* rope) {
  (*rope)["short_factor"] = s.short_factor;
  (*rope)["long_factor"] = s.long_factor;
}

void WriteYarn(const RopeScaling& s, Json* rope) {
  (*rope)["beta_fast"] = s.beta_fast;
  (*rope)["beta_slow"] = s.beta_slow;
  if (!s.truncate) (*rope)["truncate"] = false;
}

absl::Status CheckLlama3(const RopeScaling& s, absl::string_view rope) {
  if (0 < s.low_freq_factor && s.low_freq_factor < s.high_freq_factor) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(rope, ": low_freq_factor ", s.low_freq_factor,
                                                 " and high_freq_factor ", s.high_freq_factor,
                                                 ", expected 0 < low < high"));
}

absl::Status CheckYarn(const RopeScaling& s, absl::string_view rope) {
  if (0 < s.beta_slow && s.beta_slow < s.beta_fast && s.beta_fast <= 1e6) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(rope, ": beta_fast ", s.beta_fast, " and beta_slow ", s.beta_slow,
                                                 ", expected 0 < beta_slow < beta_fast"));
}

absl::Status CheckLongRope(const RopeScaling& s, int64_t pairs, absl::string_view rope) {
  const auto check = [&](const char* name, const std::vector<double>& factors) {
    if (static_cast<int64_t>(factors.size()) != pairs)
      return absl::InvalidArgumentError(absl::StrCat(rope, ": ", name, " has ", factors.size(), " numbers, expected ",
                                                     pairs, ", half of the rotated dimensions"));
    for (const double x : factors) {
      if (!(x > 0 && x <= 1e6))
        return absl::InvalidArgumentError(absl::StrCat(rope, ": ", name, " has ", x, ", expected above 0, to 1e6"));
    }
    return absl::OkStatus();
  };
  if (absl::Status status = check("short_factor", s.short_factor); !status.ok()) return status;
  return check("long_factor", s.long_factor);
}

absl::Status CheckScheme(const ModelConfig& c, absl::string_view rope) {
  const RopeScaling& s = c.rope_scaling;
  if (s.kind == Kind::kLlama3) return CheckLlama3(s, rope);
  if (s.kind == Kind::kYarn) return CheckYarn(s, rope);
  return CheckLongRope(s, c.rotary_dim() / 2, rope);
}

}  // namespace

void ReadRopeScaling(const nlohmann::json& object, Fields& f, ModelConfig* c) {
  Fields rope(object, absl::StrCat(f.where(), ": rope_scaling"));
  std::string type = "default";
  rope.String("type", &type);
  rope.String("rope_type", &type);
  rope.Number("rope_theta", &c->rope_theta);
  if (type == "default") return f.Fail(rope.status());
  RopeScaling* s = &c->rope_scaling;
  s->kind = KindOf(type, *c, f);
  s->original_max_position = c->max_position_embeddings;
  rope.Int("original_max_position_embeddings", &s->original_max_position);
  if (IsPhi3(*c)) s->original_max_position = 4096;
  f.Int("original_max_position_embeddings", &s->original_max_position);
  if (s->kind == Kind::kYarn || s->kind == Kind::kLongRope)
    s->factor = static_cast<double>(c->max_position_embeddings) / static_cast<double>(s->original_max_position);
  rope.Number("factor", &s->factor);
  rope.Number("low_freq_factor", &s->low_freq_factor);
  rope.Number("high_freq_factor", &s->high_freq_factor);
  rope.Numbers("short_factor", &s->short_factor);
  rope.Numbers("long_factor", &s->long_factor);
  if (s->kind == Kind::kYarn) ReadYarn(rope, s);
  rope.Number("attention_factor", &s->attention_factor);
  f.Fail(rope.status());
}

void ReadRope(Fields& f, ModelConfig* c) {
  f.Number("rope_theta", &c->rope_theta);
  // transformers 5 calls it rope_parameters and puts the base frequency inside.
  const nlohmann::json* scaling = f.Object("rope_parameters");
  if (scaling == nullptr) scaling = f.Object("rope_scaling");
  if (scaling != nullptr) ReadRopeScaling(*scaling, f, c);
}

void WriteRope(const ModelConfig& c, Json* j) {
  constexpr const char* kTypes[] = {"default", "linear", "llama3", "yarn", "longrope"};
  const RopeScaling& s = c.rope_scaling;
  (*j)["rope_theta"] = c.rope_theta;
  if (s.kind == Kind::kNone) return;
  Json rope = {{"rope_type", kTypes[static_cast<size_t>(s.kind)]}, {"factor", s.factor}};
  if (s.kind == Kind::kLlama3) {
    rope["low_freq_factor"] = s.low_freq_factor;
    rope["high_freq_factor"] = s.high_freq_factor;
  }
  if (s.kind == Kind::kYarn) WriteYarn(s, &rope);
  if (s.kind == Kind::kLongRope) WriteLongRope(s, &rope);
  if (s.attention_factor > 0) rope["attention_factor"] = s.attention_factor;
  if (s.kind != Kind::kLinear) rope["original_max_position_embeddings"] = s.original_max_position;
  if (s.kind != Kind::kLinear && IsPhi3(c)) (*j)["original_max_position_embeddings"] = s.original_max_position;
  (*j)["rope_scaling"] = std::move(rope);
}

absl::Status CheckRopeScaling(const ModelConfig& c, absl::string_view where) {
  const RopeScaling& s = c.rope_scaling;
  if (s.kind == Kind::kNone) return absl::OkStatus();
  const std::string rope = absl::StrCat(where, ": rope_scaling");
  const auto fail = [&](const auto&... what) { return absl::InvalidArgumentError(absl::StrCat(rope, ": ", what...)); };
  if (IsPhi3(c) && s.kind != Kind::kLongRope) return fail("only longrope is supported for phi3");
  const int64_t least = s.kind == Kind::kLongRope ? 2 : 1;  // its logarithm is divided by
  if (s.kind != Kind::kLinear && (s.original_max_position < least || s.original_max_position > kMaxContext))
    return fail("original_max_position_embeddings is ", s.original_max_position, ", expected ", least, " to ",
                kMaxContext);
  if (s.kind == Kind::kLongRope && !(s.factor > 0 && s.factor <= 1e6))
    return fail("factor is ", s.factor, ", expected above 0, to 1e6");
  if (s.kind != Kind::kLongRope && !(s.factor >= 1 && s.factor <= 1e6))
    return fail("factor is ", s.factor, ", expected 1 to 1e6");
  if (s.kind == Kind::kLinear) return absl::OkStatus();
  if (!(s.attention_factor >= 0 && s.attention_factor <= 1e3))
    return fail("attention_factor is ", s.attention_factor, ", expected above 0, to 1000");
  return CheckScheme(c, rope);
}

}  // namespace lorikeet
