#include "tensor/memory_holder.h"

namespace lorikeet {
namespace {

thread_local MemoryHolder* newest = nullptr;

}  // namespace

MemoryHolder::MemoryHolder() : outer_(newest) { newest = this; }
MemoryHolder::~MemoryHolder() { newest = outer_; }

std::string MemoryHolder::ReportAll() {
  std::string text;
  for (const MemoryHolder* h = newest; h != nullptr; h = h->outer_) text += h->HolderReport();
  return text;
}

}  // namespace lorikeet
