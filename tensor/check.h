// Assertions for our own mistakes: a wrong shape, dtype or device aborts with what was expected and what came.
//
//   LORIKEET_CHECK(k > 0) << "TopK: k must be positive, got " << k;
//   LORIKEET_CHECK_EQ(a.rank(), 2) << "MatMul: a";
//
// Whatever a user or a disk can get wrong is an absl::Status instead. Checks stay on in every build; none stands in an
// inner loop. Threads: any.
#ifndef LORIKEET_TENSOR_CHECK_H_
#define LORIKEET_TENSOR_CHECK_H_

#include <cstdio>
#include <cstdlib>
#include <sstream>

namespace lorikeet::internal {

// Collects the message and ends the process when it dies.
class CheckFailure {
 public:
  CheckFailure(const char* file, int line, const char* what) {
    message_ << file << ":" << line << ": CHECK failed: " << what << " ";
  }
  [[noreturn]] ~CheckFailure() {
    std::fprintf(stderr, "%s\n", message_.str().c_str());
    std::fflush(stderr);
    std::abort();
  }
  std::ostream& stream() { return message_; }

 private:
  std::ostringstream message_;
};

// Makes both arms of the conditional void, with a precedence below << and above ?:.
struct Voidify {
  void operator&(std::ostream&) const {}
};

}  // namespace lorikeet::internal

#define LORIKEET_CHECK(condition)    \
  __builtin_expect(!!(condition), 1) \
      ? (void)0                      \
      : ::lorikeet::internal::Voidify() & ::lorikeet::internal::CheckFailure(__FILE__, __LINE__, #condition).stream()

#define LORIKEET_CHECK_OP_(a, op, b) LORIKEET_CHECK((a)op(b)) << "(" << (a) << " vs " << (b) << ") "
#define LORIKEET_CHECK_EQ(a, b) LORIKEET_CHECK_OP_(a, ==, b)
#define LORIKEET_CHECK_LE(a, b) LORIKEET_CHECK_OP_(a, <=, b)
#define LORIKEET_CHECK_GT(a, b) LORIKEET_CHECK_OP_(a, >, b)
#define LORIKEET_CHECK_GE(a, b) LORIKEET_CHECK_OP_(a, >=, b)

#endif  // LORIKEET_TENSOR_CHECK_H_
