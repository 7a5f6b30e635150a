// Where tools/fetch_model puts real models, for tests that skip without them.
//
//   const std::string path = CachedModel("smollm2-135m.gguf");
//   if (path.empty()) GTEST_SKIP() << kFetchHint;
#ifndef LORIKEET_TESTS_TESTING_MODEL_CACHE_H_
#define LORIKEET_TESTS_TESTING_MODEL_CACHE_H_

#include <pwd.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace lorikeet {

inline constexpr char kFetchHint[] = "SmolLM2-135M is not in the cache: run tools/fetch_model smollm2-135m";
inline constexpr char kGemma3FetchHint[] = "Gemma 3 270M is not in the cache: run tools/fetch_model gemma3-270m";

// $LORIKEET_CACHE, or .cache/lorikeet in the user's home (which Bazel does not pass on in $HOME). Empty: not there.
inline std::string CachedModel(const std::string& file) {
  const char* cache = std::getenv("LORIKEET_CACHE");
  const passwd* user = getpwuid(getuid());
  const std::string directory = cache != nullptr  ? cache
                                : user != nullptr ? std::string(user->pw_dir) + "/.cache/lorikeet"
                                                  : "";
  const std::string path = directory + "/" + file;
  return access(path.c_str(), R_OK) == 0 ? path : "";
}

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_TESTING_MODEL_CACHE_H_
