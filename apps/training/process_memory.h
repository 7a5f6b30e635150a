// How much memory this process has, as the kernel counts it.
//
//   record.resident_bytes = ResidentBytes();
//
// From /proc/self; 0 where that cannot be read. Threads: any.
#ifndef LORIKEET_APPS_TRAINING_PROCESS_MEMORY_H_
#define LORIKEET_APPS_TRAINING_PROCESS_MEMORY_H_

#include <cstdint>

namespace lorikeet {

int64_t ResidentBytes();  // the second figure of /proc/self/statm

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_PROCESS_MEMORY_H_
