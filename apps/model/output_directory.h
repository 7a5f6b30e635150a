// OutputDirectory: a directory that appears whole or not at all.
//
//   absl::StatusOr<std::unique_ptr<OutputDirectory>> out = OutputDirectory::Create("merged");
//   ... write files into (*out)->path() ...
//   absl::Status status = (*out)->Commit(provenance);   // now they are in merged/
//
// Files go to "merged.partial" beside it, which Commit renames and destruction without Commit removes; what a killed
// process left there is removed by the next one. A directory that exists is replaced only if it is empty or if every
// entry in it is a file that such a directory consists of (config.json, tokenizer files, model*.safetensors, ...) and
// one of them is the marker lorikeet.json, which Commit writes. Anything else is somebody's, and InvalidArgument.
// Errors: those of the file system, with the path.
#ifndef LORIKEET_APPS_MODEL_OUTPUT_DIRECTORY_H_
#define LORIKEET_APPS_MODEL_OUTPUT_DIRECTORY_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace lorikeet {

class OutputDirectory {
 public:
  static absl::StatusOr<std::unique_ptr<OutputDirectory>> Create(const std::string& path);
  ~OutputDirectory();
  OutputDirectory(const OutputDirectory&) = delete;
  OutputDirectory& operator=(const OutputDirectory&) = delete;

  const std::string& path() const { return partial_; }  // until Commit
  // `provenance`, a JSON object, is what lorikeet.json says.
  absl::Status Commit(const std::string& provenance);

 private:
  OutputDirectory(std::string final_path, std::string partial)
      : final_(std::move(final_path)), partial_(std::move(partial)) {}
  std::string final_, partial_;
  bool committed_ = false;
};

}  // namespace lorikeet

#endif  // LORIKEET_APPS_MODEL_OUTPUT_DIRECTORY_H_
