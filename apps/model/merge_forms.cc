#include "apps/model/merge_forms.h"

#include <functional>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "apps/model/open_model.h"
#include "nn/dense_map.h"
#include "nn/load.h"
#include "nn/module.h"
#include "peft/adapter_map.h"
#include "peft/merge.h"
#include "tensor/tensor.h"

namespace lorikeet {
namespace {

// A map whose weight is made each time it is used, around the map that it stands for.
class MadeMap : public LinearMap {
 public:
  MadeMap(std::unique_ptr<LinearMap> own, std::function<Tensor(LinearMap&)> make)
      : own_(std::move(own)), make_(std::move(make)) {}

  int64_t in_features() const override { return own_->in_features(); }
  int64_t out_features() const override { return own_->out_features(); }
  bool frozen() const override { return true; }
  DType dtype() const override { return own_->dtype(); }
  Device device() const override { return own_->device(); }
  void Forward(const Tensor& x, Tensor& y, const Epilogue& e) const override { Made(x).Forward(x, y, e); }
  void InputGrad(const Tensor& dy, Tensor& dx, const Epilogue& e) const override { Made(dy).InputGrad(dy, dx, e); }
  Tensor Dense() const override { return make_(*own_); }
  void Visit(Visitor& v) override { own_->Visit(v); }

  std::unique_ptr<LinearMap> TakeOwn() { return std::move(own_); }

 private:
  // bf16 beside f32 is widened by the product.
  DenseMap Made(const Tensor& x) const {
    const Tensor w = make_(*own_);
    return DenseMap(w.dtype() == DType::kBF16 && x.dtype() == DType::kF32 ? w : w.Cast(x.dtype()));
  }

  std::unique_ptr<LinearMap> own_;
  std::function<Tensor(LinearMap&)> make_;
};

absl::StatusOr<Tensor> ThroughFourBits(const Tensor& w, const Nf4Options& options) {
  const absl::StatusOr<Nf4Tensor> q = QuantizeNf4(w, options);
  if (!q.ok()) return q.status();
  return Dequantize(*q, w.dtype());
}

const char* Describe(MergeForm form) {
  switch (form) {
    case MergeForm::kSixteenBits:
      return "merged, over the 16-bit weights";
    case MergeForm::kOverFourBits:
      return "merged, over the 4-bit weights decoded";
    case MergeForm::kFourBitsAgain:
      return "merged, then in 4 bits again";
  }
  return "";
}

}  // namespace

class FormedModel::Replace : public Visitor {
 public:
  explicit Replace(FormedModel& formed) : formed_(formed) {}

 protected:
  void VisitSlot(absl::string_view name, MapSlot& slot) override {
    if (!IsAdapted(*slot.map) && (slot.embedding || name == "lm_head")) return;
    const auto make = [&formed = formed_, &slot, name = std::string(name)](LinearMap& own) {
      absl::StatusOr<Tensor> w = formed.Weight(name, slot, own);
      if (w.ok()) return *std::move(w);
      formed.status_.Update(w.status());
      return Tensor::Zeros({own.out_features(), own.in_features()}, DType::kF32);
    };
    slot.map = std::make_unique<MadeMap>(std::move(slot.map), make);
  }

 private:
  FormedModel& formed_;
};

class FormedModel::Restore : public Visitor {
 protected:
  void VisitSlot(absl::string_view, MapSlot& slot) override {
    MadeMap* made = dynamic_cast<MadeMap*>(slot.map.get());
    if (made != nullptr) slot.map = made->TakeOwn();
  }
};

FormedModel::FormedModel(CausalLm& model, const TensorSource& stored, const FormOptions& options)
    : model_(model), stored_(stored), options_(options) {
  packed_ = HoldsNf4(stored);
  Replace replace(*this);
  model_.Visit(replace);
}

FormedModel::~FormedModel() {
  Restore restore;
  model_.Visit(restore);
}

// A weight that was trained whole, or came with the adapter, is the model's own and not the stored one.
absl::StatusOr<Tensor> FormedModel::Weight(const std::string& name, const MapSlot& slot, LinearMap& own) const {
  AdapterMap* adapter = dynamic_cast<AdapterMap*>(&own);
  if (adapter == nullptr && IsAdapted(own)) return MergedWeight(own, options_.dtype);
  LinearMap& base = adapter == nullptr ? own : adapter->base();
  const bool not_stored = packed_ || !base.frozen() || (adapter != nullptr && adapter->saves_base());
  absl::StatusOr<Tensor> w = not_stored ? absl::StatusOr<Tensor>(base.Dense()) : ReadWeight(stored_, name, slot);
  if (!w.ok()) return w;
  const bool again = options_.form == MergeForm::kFourBitsAgain;
  const bool has_four_bits = name != "lm_head" && !slot.embedding && base.frozen();
  const bool over = options_.form == MergeForm::kOverFourBits || (again && options_.four_bit_base);
  if (over && has_four_bits && !packed_) w = ThroughFourBits(*w, options_.quant);
  if (!w.ok()) return w;
  Tensor merged = adapter == nullptr ? *std::move(w) : adapter->MergedOver(*std::move(w));
  merged = merged.Cast(options_.dtype);
  if (!again || !has_four_bits) return merged;
  return ThroughFourBits(merged, options_.quant);
}

absl::StatusOr<std::vector<FormResult>> TryForms(CausalLm& model, const TensorSource& stored, FormOptions options,
                                                 const std::vector<text::Example>& examples, const Readout& adapted,
                                                 int64_t rows) {
  std::vector<FormResult> results;
  for (const MergeForm form : {MergeForm::kSixteenBits, MergeForm::kOverFourBits, MergeForm::kFourBitsAgain}) {
    if (HoldsNf4(stored) && form == MergeForm::kSixteenBits) continue;
    options.form = form;
    FormedModel formed(model, stored, options);
    const Readout merged = ReadModel(model, examples, rows);
    if (!formed.status().ok()) return formed.status();
    results.push_back({form, CompareLogits(adapted.logits, merged.logits), merged.perplexity()});
  }
  return results;
}

std::string FormReport(const std::vector<FormResult>& results, const Readout& adapted, const FormOptions& options) {
  std::string out =
      absl::StrFormat("%-40s %12s %12s %10s %11s\n", "form", "max |error|", "mean |error|", "same best", "perplexity");
  absl::StrAppendFormat(&out, "%-40s %12s %12s %10s %11.4f\n", "base and adapter", "", "", "", adapted.perplexity());
  const FormResult *best = nullptr, *again = nullptr;
  for (const FormResult& r : results) {
    absl::StrAppendFormat(&out, "%-40s %12.3g %12.3g %10s %11.4f\n", Describe(r.form), r.error.max, r.error.mean,
                          absl::StrCat(r.error.same_best, "/", r.error.positions), r.perplexity);
    if (r.form == MergeForm::kFourBitsAgain) {
      again = &r;
    } else if (best == nullptr || !(best->error.mean <= r.error.mean)) {
      best = &r;
    }
  }
  if (best == nullptr || again == nullptr) return out;
  const bool over_four = best->form == MergeForm::kOverFourBits;
  const double cost = 100 * (again->perplexity / adapted.perplexity() - 1);
  absl::StrAppend(&out, "recommended: merge over the ",
                  over_four ? "4-bit weights decoded (--load_in_4bit)" : "16-bit weights (without --load_in_4bit)",
                  over_four == options.four_bit_base ? ", as here" : ", which is not what was merged here",
                  ", mean error ", absl::StrFormat("%.3g", best->error.mean), "; 4 bits again ",
                  cost <= 1 ? "would do as well" : "would lose too much", ", perplexity ",
                  absl::StrFormat("%+.2f%%", cost), "\n");
  return out;
}

}  // namespace lorikeet
