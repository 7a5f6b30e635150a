// libcuda.so.1 as the CUDA runtime finds it, without a device: for what a program says of a driver that is of no use.
//
//   LD_LIBRARY_PATH=.../stand_in_driver STAND_IN_DRIVER_VERSION=12020 STAND_IN_DRIVER_INIT=0 generate --device=cuda ...
//
// The runtime opens the driver by its name and asks for its version, then for every function by name, then to be
// initialised: the error that it meets there is the one that it reports.
#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>

namespace {

int FromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? 0 : std::atoi(value);
}

}  // namespace

extern "C" {

int cuInit(unsigned) { return FromEnvironment("STAND_IN_DRIVER_INIT"); }

int cuDriverGetVersion(int* version) {
  *version = FromEnvironment("STAND_IN_DRIVER_VERSION");
  return 0;
}

// Whatever has no body here fails as cuInit does.
int cuGetProcAddress_v2(const char* name, void** function, int, uint64_t, void* status) {
  void* const self = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  *function = self == nullptr ? nullptr : dlsym(self, name);
  if (*function == nullptr) *function = reinterpret_cast<void*>(cuInit);
  if (status != nullptr) *static_cast<int*>(status) = 0;
  return 0;
}

int cuGetProcAddress(const char* name, void** function, int version, uint64_t flags) {
  return cuGetProcAddress_v2(name, function, version, flags, nullptr);
}

int cuGetExportTable(const void**, const void*) { return 500; }  // CUDA_ERROR_NOT_FOUND
}
