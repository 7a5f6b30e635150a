// Open MPI's functions, found when they are needed: a program that mpirun did not start never opens the library, so it
// runs where there is none.
//
//   absl::StatusOr<const MpiLibrary*> mpi = OpenMpi();
//   (*mpi)->isend(data, bytes, (*mpi)->byte, /*dest=*/1, /*tag=*/0, (*mpi)->world, &request);
//
// For Ranks (ranks.h); the rest of the program has never heard of MPI. Fields are the functions of the MPI standard, in
// its order of arguments. Errors: NotFound says how to install it. Threads: any. Source: mpi.h of Open MPI 4 and 5,
// which share one binary interface.
#ifndef LORIKEET_APPS_PARALLEL_MPI_LIBRARY_H_
#define LORIKEET_APPS_PARALLEL_MPI_LIBRARY_H_

#include <mpi.h>

#include "absl/status/statusor.h"

namespace lorikeet {

struct MpiLibrary {
  decltype(&MPI_Init_thread) init_thread;
  decltype(&MPI_Finalize) finalize;
  decltype(&MPI_Comm_rank) comm_rank;
  decltype(&MPI_Comm_size) comm_size;
  decltype(&MPI_Comm_set_errhandler) comm_set_errhandler;
  decltype(&MPI_Isend) isend;
  decltype(&MPI_Irecv) irecv;
  decltype(&MPI_Testall) testall;
  decltype(&MPI_Request_get_status) request_get_status;
  decltype(&MPI_Error_string) error_string;
  // What the macros MPI_COMM_WORLD, MPI_BYTE and MPI_ERRORS_RETURN stand for: objects in the library.
  MPI_Comm world;
  MPI_Datatype byte;
  MPI_Errhandler errors_return;
};

absl::StatusOr<const MpiLibrary*> OpenMpi();

}  // namespace lorikeet

#endif  // LORIKEET_APPS_PARALLEL_MPI_LIBRARY_H_
