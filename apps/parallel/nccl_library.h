// NCCL's functions, found when several ranks have a GPU each: a program needs NCCL neither to be built nor to run.
//
//   const NcclLibrary* nccl = OpenNccl();                   // null: there is none
//   nccl->all_reduce(p, p, n, kNcclFloat32, kNcclSum, communicator, stream);
//
// For NcclSum (nccl_sum.h). The declarations are nccl.h's, which not every CUDA toolkit has; a stream is a
// cudaStream_t. Threads: any. Source: https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/api.html, version 2,
// whose binary interface has not changed.
#ifndef LORIKEET_APPS_PARALLEL_NCCL_LIBRARY_H_
#define LORIKEET_APPS_PARALLEL_NCCL_LIBRARY_H_

#include <cstddef>

namespace lorikeet {

struct NcclUniqueId {
  char bytes[128];
};

inline constexpr int kNcclFloat32 = 7;  // of ncclDataType_t
inline constexpr int kNcclSum = 0;      // of ncclRedOp_t

// What returns int returns a ncclResult_t: 0 is success.
struct NcclLibrary {
  int (*get_unique_id)(NcclUniqueId* id);
  int (*comm_init_rank)(void** communicator, int ranks, NcclUniqueId id, int rank);
  int (*comm_abort)(void* communicator);
  int (*all_reduce)(const void* from, void* to, size_t count, int type, int op, void* communicator, void* stream);
  int (*group_start)();
  int (*group_end)();
  const char* (*get_error_string)(int result);
};

const NcclLibrary* OpenNccl();

}  // namespace lorikeet

#endif  // LORIKEET_APPS_PARALLEL_NCCL_LIBRARY_H_
