// Ranks: the processes of one run that mpirun has started together, numbered from 0.
//
//   absl::StatusOr<std::unique_ptr<Ranks>> ranks = Ranks::Join();        // first of all: it chooses GPU and processors
//   absl::Status s = (*ranks)->Sum(absl::MakeSpan(gradient));            // every rank: the same bits
//   ...
//   (*ranks)->Leave(/*all=*/status.ok());                                // last of all
//
// Without mpirun there is one rank, 0 of 1, and everything here returns at once. With it each call is made by all
// ranks, in the same order, from one thread. A sum adds in the order of the ranks, so its bits depend on their number
// alone, not on which message came first. Each rank adds up one slice of the values and sends it to the others, in
// pieces of 16 MiB: of n ranks' values the share 2*(n-1)/n goes out of each, the least that is possible. A rank that is
// killed takes the others with it: mpirun sees to that. One that hangs is noticed: a call that has waited for
// `patience` fails with DeadlineExceeded, which names the ranks that did not come, their hosts and processes. From then
// on every call returns that error at once; end the process, and mpirun ends the rest. An error of MPI itself is
// DeadlineExceeded, too. A waiting rank sleeps between two looks, and leaves its processor to others.
// Memory: 16 MiB for sums of floats. Source: Thakur, Rabenseifner and Gropp, Optimization of Collective Communication
// Operations in MPICH, 2005 (pairwise exchange); environment variables are Open MPI's.
#ifndef LORIKEET_APPS_PARALLEL_RANKS_H_
#define LORIKEET_APPS_PARALLEL_RANKS_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace lorikeet {

struct MpiLibrary;

class Ranks {
 public:
  // Of several ranks on a machine each sees one of its GPUs (CUDA_VISIBLE_DEVICES), in turn, and those that may run on
  // the same processors divide them; so before CUDA and threads are used. NotFound: no Open MPI. InvalidArgument:
  // started by another MPI.
  static absl::StatusOr<std::unique_ptr<Ranks>> Join();
  Ranks() = default;  // alone
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  static std::string Host();  // this machine's name
  void set_patience(double seconds) { patience_ = seconds; }

  // Every rank's values become the sums over all ranks. All bring as many.
  absl::Status Sum(absl::Span<float> values);
  absl::Status Sum(absl::Span<double> values);  // for a few: each rank sends all of its own to all
  // What every rank said, by rank.
  absl::StatusOr<std::vector<std::string>> Gather(absl::string_view said);
  // InvalidArgument where a rank says something else than rank 0: `what`, which rank, and both.
  absl::Status ExpectSame(absl::string_view what, absl::string_view said);

  // Call it before the process ends, whatever came of it: mpirun ends all when one exits with an error, or without
  // this. If all ranks are known to end here, it waits for them; the first may have files to write. If not, it waits
  // two seconds, for those that have failed at the same thing. False: they did not come; they are at work, or hang.
  bool Leave(bool all);

  // "rank 1 (process 4242 on node7)".
  std::string NameOf(int rank) const;

 private:
  struct Message {
    int peer;
    bool incoming;
    void* data;
    size_t bytes;
  };
  absl::Status Start();
  absl::Status DivideProcessors();
  absl::Status Exchange(const std::vector<Message>& messages, int tag, double seconds);
  absl::Status SumPiece(absl::Span<float> values);
  absl::Status Failed(int error) const;

  const MpiLibrary* mpi_ = nullptr;
  int rank_ = 0, size_ = 1;
  double patience_ = 600;
  absl::Status lost_;                // why nothing more can be said to the others
  std::vector<std::string> places_;  // "process 4242 on node7", by rank
  std::vector<float> inbox_, sum_;
};

}  // namespace lorikeet

#endif  // LORIKEET_APPS_PARALLEL_RANKS_H_
