// run.json: what a run was: its flags, its program, its machine and the bytes it read.
//
//   RunInfo info;
//   info.program = "finetune";  info.flags = {{"model", "..."}, ...};
//   info.inputs["data"] = *DigestsOf("train.jsonl");
//   info.machine = ThisMachine();
//   absl::Status status = WriteFileAtomically("out/run.json", ToJson(info));       // at the start, and again at the
//   end
//
//   {"program": "finetune", "version": "0.1.0", "compiler": "...", "cpu": "...", "threads": 2, "ranks": 1,
//    "started": "2026-01-31T12:00:00Z", "ended": null, "resumed_from": null, "status": "running",
//    "flags": {...}, "inputs": {"data": {"train.jsonl": {"bytes": 1841, "sha256": "..."}}}}
//
// Times are for people; nothing is computed from them. Digests are what `sha256sum` prints. Errors: those of reading
// the inputs, with the path. Threads: one at a time.
#ifndef LORIKEET_APPS_TRAINING_RUN_INFO_H_
#define LORIKEET_APPS_TRAINING_RUN_INFO_H_

#include <cstdint>
#include <ctime>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "apps/training/sha256.h"

namespace lorikeet {

inline constexpr char kLorikeetVersion[] = "0.1.0";

struct MachineInfo {
  std::string compiler;  // that built this program
  std::string cpu;       // "AMD EPYC ..."
  std::string system;    // kernel's name, release and architecture
  std::string host;
  int processors = 0;  // that this process may run on
  int64_t memory_bytes = 0;
};

MachineInfo ThisMachine();

// "2026-01-31T12:00:00Z".
std::string UtcTime(std::time_t time);

// Digests of the one file, or of the files in a directory that a model is read from (.json, .jinja, .safetensors,
// .zst), by name.
absl::StatusOr<std::map<std::string, FileDigest>> DigestsOf(const std::string& path);

struct RunInfo {
  std::string program;
  std::map<std::string, std::string> flags;
  std::map<std::string, std::map<std::string, FileDigest>> inputs;  // role, file's name, digest
  MachineInfo machine;
  int threads = 0;
  int ranks = 1;               // processes that shared the work, each with so many threads
  std::string started, ended;  // empty: null
  std::string resumed_from;    // a checkpoint's path; empty: null
  std::string status = "running";
};

std::string ToJson(const RunInfo& info);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_RUN_INFO_H_
