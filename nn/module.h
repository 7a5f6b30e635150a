// Module and Visitor: one walk over a model's parts gives load, save, count, freeze, quantize, inject and merge.
//
//   void Mlp::Visit(Visitor& v) {
//     v.Child("gate_proj", gate_);
//     v.Child("up_proj", up_);
//     v.Child("down_proj", down_);
//   }
//   class CountParameters : public Visitor {
//     void VisitLeaf(absl::string_view name, Parameter& p) override { total_ += p.value.size(); }
//     ...
//   };
//   model.Visit(counter);
//
// Names are Hugging Face's: "model.layers.0.self_attn.q_proj.weight". A module names its own parts only; the visitor
// joins them with dots, and its overrides receive full names. Order is the order of the checkpoint. Ownership: the
// module owns what it shows; a visitor may replace the contents of a slot (that is how adapters are injected).
#ifndef LORIKEET_NN_MODULE_H_
#define LORIKEET_NN_MODULE_H_

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "autograd/parameter.h"
#include "tensor/tensor.h"

namespace lorikeet {

struct MapSlot;
class Visitor;

class Module {
 public:
  virtual ~Module() = default;
  virtual void Visit(Visitor& v) = 0;
};

class Visitor {
 public:
  virtual ~Visitor() = default;

  // For modules and maps: a parameter; a tensor that is never trained (packed codes, scales), standing for
  // `logical_elements` weights (0 for mere bookkeeping such as scales); the place of a replaceable linear map; a part.
  void Leaf(absl::string_view name, Parameter& p) { VisitLeaf(Join(name), p); }
  void Buffer(absl::string_view name, Tensor& t, int64_t logical_elements) {
    VisitBuffer(Join(name), t, logical_elements);
  }
  void Slot(absl::string_view name, MapSlot& slot);
  void Child(absl::string_view name, Module& module);
  // Runs f with `name` added to the prefix, for parts that are no module of their own.
  void Scope(absl::string_view name, absl::FunctionRef<void()> f);

  // The name under which the current module was reached.
  const std::string& prefix() const { return prefix_; }

 protected:
  virtual void VisitLeaf(absl::string_view name, Parameter& p);
  virtual void VisitBuffer(absl::string_view name, Tensor& t, int64_t logical_elements);
  // `name` is the map's own name ("model.layers.0.mlp.up_proj"). The default descends into the map, if there is one.
  virtual void VisitSlot(absl::string_view name, MapSlot& slot);

 private:
  std::string Join(absl::string_view name) const;
  std::string prefix_;
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_MODULE_H_
