// Functions of a shared library that is opened while the program runs, by their types.
//
//   void* const library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
//   int (*version)(int*);
//   const bool found = library != nullptr && FindSymbol(library, "ncclGetVersion", &version);
//
// For libraries that are wanted only where they can be used: a program that is not linked to them starts without them.
// Threads: any. Errors: false if the library has no such symbol.
#ifndef LORIKEET_TENSOR_SHARED_LIBRARY_H_
#define LORIKEET_TENSOR_SHARED_LIBRARY_H_

#include <dlfcn.h>

namespace lorikeet {

// A pointer to a function, or to an object.
template <typename Pointer>
bool FindSymbol(void* library, const char* name, Pointer* symbol) {
  *symbol = reinterpret_cast<Pointer>(dlsym(library, name));
  return *symbol != nullptr;
}

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_SHARED_LIBRARY_H_
