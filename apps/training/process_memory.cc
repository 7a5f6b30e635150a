#include "apps/training/process_memory.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace lorikeet {
namespace {

// A few kilobytes at most.
std::string ReadProc(const char* path) {
  char text[8192];
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  const ssize_t n = ::read(fd, text, sizeof text);
  ::close(fd);
  return n > 0 ? std::string(text, static_cast<size_t>(n)) : "";
}

}  // namespace

int64_t ResidentBytes() {
  const std::string text = ReadProc("/proc/self/statm");
  const size_t space = text.find(' ');
  return space == text.npos ? 0 : std::strtoll(text.c_str() + space, nullptr, 10) * ::sysconf(_SC_PAGESIZE);
}

}  // namespace lorikeet
