#include "nn/module.h"

#include "absl/strings/str_cat.h"
#include "nn/linear_map.h"

namespace lorikeet {

std::string Visitor::Join(absl::string_view name) const {
  if (prefix_.empty()) return std::string(name);
  return name.empty() ? prefix_ : absl::StrCat(prefix_, ".", name);
}

void Visitor::Scope(absl::string_view name, absl::FunctionRef<void()> f) {
  const std::string outer = prefix_;
  prefix_ = Join(name);
  f();
  prefix_ = outer;
}

void Visitor::Slot(absl::string_view name, MapSlot& slot) {
  Scope(name, [&] { VisitSlot(std::string(prefix_), slot); });
}

void Visitor::Child(absl::string_view name, Module& module) {
  Scope(name, [&] { module.Visit(*this); });
}

void Visitor::VisitLeaf(absl::string_view, Parameter&) {}
void Visitor::VisitBuffer(absl::string_view, Tensor&, int64_t) {}
void Visitor::VisitSlot(absl::string_view, MapSlot& slot) {
  if (slot.map != nullptr) slot.map->Visit(*this);
}

}  // namespace lorikeet
