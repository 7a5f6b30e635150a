#include "apps/parallel/nccl_library.h"

#include <dlfcn.h>

#include "tensor/shared_library.h"

namespace lorikeet {
namespace {

const NcclLibrary* Load() {
  void* so = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
  if (so == nullptr) so = dlopen("/usr/local/cuda/lib64/libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
  static NcclLibrary l;
  const bool found = so != nullptr && FindSymbol(so, "ncclGetUniqueId", &l.get_unique_id) &&
                     FindSymbol(so, "ncclCommInitRank", &l.comm_init_rank) &&
                     FindSymbol(so, "ncclCommAbort", &l.comm_abort) && FindSymbol(so, "ncclAllReduce", &l.all_reduce) &&
                     FindSymbol(so, "ncclGroupStart", &l.group_start) && FindSymbol(so, "ncclGroupEnd", &l.group_end) &&
                     FindSymbol(so, "ncclGetErrorString", &l.get_error_string);
  return found ? &l : nullptr;
}

}  // namespace

const NcclLibrary* OpenNccl() {
  static const NcclLibrary* const library = Load();
  return library;
}

}  // namespace lorikeet
