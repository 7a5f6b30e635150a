#include "apps/parallel/mpi_library.h"

#include <dlfcn.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tensor/shared_library.h"

namespace lorikeet {
namespace {

constexpr char kLibrary[] = "libmpi.so.40";

bool FindAll(void* so, MpiLibrary* mpi) {
  return FindSymbol(so, "MPI_Init_thread", &mpi->init_thread) && FindSymbol(so, "MPI_Finalize", &mpi->finalize) &&
         FindSymbol(so, "MPI_Comm_rank", &mpi->comm_rank) && FindSymbol(so, "MPI_Comm_size", &mpi->comm_size) &&
         FindSymbol(so, "MPI_Comm_set_errhandler", &mpi->comm_set_errhandler) &&
         FindSymbol(so, "MPI_Isend", &mpi->isend) && FindSymbol(so, "MPI_Irecv", &mpi->irecv) &&
         FindSymbol(so, "MPI_Testall", &mpi->testall) &&
         FindSymbol(so, "MPI_Request_get_status", &mpi->request_get_status) &&
         FindSymbol(so, "MPI_Error_string", &mpi->error_string) && FindSymbol(so, "ompi_mpi_comm_world", &mpi->world) &&
         FindSymbol(so, "ompi_mpi_byte", &mpi->byte) && FindSymbol(so, "ompi_mpi_errors_return", &mpi->errors_return);
}

absl::StatusOr<MpiLibrary> Load() {
  // Global: its plugins look for its symbols.
  void* const so = dlopen(kLibrary, RTLD_NOW | RTLD_GLOBAL);
  if (so == nullptr) {
    const char* const why = dlerror();
    return absl::NotFoundError(
        absl::StrCat("started by mpirun, but Open MPI cannot be opened: ", why == nullptr ? kLibrary : why,
                     "; on Debian, apt-get install libopenmpi3"));
  }
  MpiLibrary mpi{};
  if (FindAll(so, &mpi)) return mpi;
  return absl::NotFoundError(absl::StrCat(kLibrary, " lacks functions of Open MPI 4 or 5"));
}

}  // namespace

absl::StatusOr<const MpiLibrary*> OpenMpi() {
  static const absl::StatusOr<MpiLibrary>* const library = new absl::StatusOr<MpiLibrary>(Load());
  if (!library->ok()) return library->status();
  return &**library;
}

}  // namespace lorikeet
