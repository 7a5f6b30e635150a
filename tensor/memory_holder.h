// MemoryHolder: something that can say what holds memory, for the report when there is none left.
//
//   class Tape : private MemoryHolder {                       // saved activations, by op
//     std::string HolderReport() const override { ... }
//   };
//   MemoryHolder::ReportAll();                                 // Tensor::Empty prints it before it ends the process
//
// Holders of a thread are a stack, as scopes are: the newest is destroyed first. Threads: each sees its own.
#ifndef LORIKEET_TENSOR_MEMORY_HOLDER_H_
#define LORIKEET_TENSOR_MEMORY_HOLDER_H_

#include <string>

namespace lorikeet {

class MemoryHolder {
 public:
  // Lines of text, each with its end; empty: nothing to say.
  virtual std::string HolderReport() const = 0;

  // The reports of this thread's holders, the newest first.
  static std::string ReportAll();

 protected:
  MemoryHolder();
  ~MemoryHolder();
  MemoryHolder(const MemoryHolder&) = delete;
  MemoryHolder& operator=(const MemoryHolder&) = delete;

 private:
  MemoryHolder* const outer_;
};

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_MEMORY_HOLDER_H_
