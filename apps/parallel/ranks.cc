#include "apps/parallel/ranks.h"

#include <dirent.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "apps/parallel/mpi_library.h"

namespace lorikeet {
namespace {

// A rank that leaves must not be taken for one that brings a gradient.
enum Tag : int { kSum, kGather, kLeave };

constexpr size_t kPiece = size_t{4} << 20;  // floats
constexpr double kGrace = 2;                // seconds: for the others to fail at the same thing
constexpr int kPollsBeforeSleep = 1000;     // some 100 us
constexpr std::chrono::microseconds kSleep{50};

int NumberIn(const char* variable, int otherwise) {
  const char* const text = std::getenv(variable);
  int number;
  return text != nullptr && absl::SimpleAtoi(text, &number) ? number : otherwise;
}

// Character devices nvidia0, nvidia1, ...: what a container or a job scheduler has let through. Asking CUDA would fix
// its choice.
int CountGpus() {
  DIR* const devices = opendir("/dev");
  if (devices == nullptr) return 0;
  int count = 0;
  while (const dirent* entry = readdir(devices)) {
    absl::string_view name = entry->d_name;
    if (absl::ConsumePrefix(&name, "nvidia") && !name.empty() &&
        std::all_of(name.begin(), name.end(), absl::ascii_isdigit))
      ++count;
  }
  closedir(devices);
  return count;
}

// The k-th of the visible GPUs; beyond the last one, from the first again.
void SeeOneGpu(int k) {
  std::vector<std::string> visible;
  if (const char* list = std::getenv("CUDA_VISIBLE_DEVICES"); list != nullptr) {
    visible = absl::StrSplit(list, ',', absl::SkipEmpty());
  } else {
    for (int i = 0; i < CountGpus(); ++i) visible.push_back(absl::StrCat(i));
  }
  if (!visible.empty()) setenv("CUDA_VISIBLE_DEVICES", visible[static_cast<size_t>(k) % visible.size()].c_str(), 1);
}

// The processors that this process may run on.
std::vector<int> Processors() {
  std::vector<int> processors;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return {};
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &set)) processors.push_back(i);
  }
  return processors;
}

// The r-th of n parts of values whose sizes differ by one at most.
absl::Span<float> Part(absl::Span<float> values, int r, int n) {
  const auto begin = [&](int k) { return values.size() * static_cast<size_t>(k) / static_cast<size_t>(n); };
  return values.subspan(begin(r), begin(r + 1) - begin(r));
}

}  // namespace

std::string Ranks::Host() {
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  return host;
}

absl::StatusOr<std::unique_ptr<Ranks>> Ranks::Join() {
  auto ranks = std::make_unique<Ranks>();
  if (NumberIn("OMPI_COMM_WORLD_SIZE", 1) > 1) {
    if (absl::Status s = ranks->Start(); !s.ok()) return s;
  } else if (NumberIn("PMI_SIZE", 1) > 1) {
    return absl::InvalidArgumentError(
        "started as one of several processes, but not by Open MPI: use the mpirun of Open MPI 4 or 5");
  }
  return ranks;
}

absl::Status Ranks::Start() {
  if (NumberIn("OMPI_COMM_WORLD_LOCAL_SIZE", 1) > 1) SeeOneGpu(NumberIn("OMPI_COMM_WORLD_LOCAL_RANK", 0));
  const absl::StatusOr<const MpiLibrary*> mpi = OpenMpi();
  if (!mpi.ok()) return mpi.status();
  mpi_ = *mpi;
  int level;
  if (const int e = mpi_->init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &level)) return Failed(e);
  mpi_->comm_set_errhandler(mpi_->world, mpi_->errors_return);
  mpi_->comm_rank(mpi_->world, &rank_);
  mpi_->comm_size(mpi_->world, &size_);
  absl::StatusOr<std::vector<std::string>> places = Gather(absl::StrCat("process ", getpid(), " on ", Host()));
  if (!places.ok()) return places.status();
  places_ = *std::move(places);
  return DivideProcessors();
}

// mpirun may bind ranks to processors of their own, or several to the same ones, or not at all.
absl::Status Ranks::DivideProcessors() {
  const std::vector<int> processors = Processors();
  const std::string own = absl::StrCat(Host(), " ", absl::StrJoin(processors, ","));
  const absl::StatusOr<std::vector<std::string>> all = Gather(own);
  if (!all.ok()) return all.status();
  const size_t n = processors.size(), sharing = static_cast<size_t>(std::count(all->begin(), all->end(), own));
  if (n == 0 || sharing == 1) return absl::OkStatus();
  const size_t turn = static_cast<size_t>(std::count(all->begin(), all->begin() + rank_, own));
  const size_t begin = sharing <= n ? turn * n / sharing : turn % n;
  const size_t end = sharing <= n ? (turn + 1) * n / sharing : begin + 1;
  cpu_set_t set;
  CPU_ZERO(&set);
  for (size_t i = begin; i < end; ++i) CPU_SET(static_cast<size_t>(processors[i]), &set);
  sched_setaffinity(0, sizeof set, &set);  // where refused, the scheduler decides
  return absl::OkStatus();
}

absl::Status Ranks::Failed(int error) const {
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  mpi_->error_string(error, text, &length);
  return absl::DeadlineExceededError(absl::StrCat("Open MPI: ", text));
}

std::string Ranks::NameOf(int rank) const {
  const size_t r = static_cast<size_t>(rank);
  return absl::StrCat("rank ", rank, r < places_.size() ? absl::StrCat(" (", places_[r], ")") : "");
}

absl::Status Ranks::Exchange(const std::vector<Message>& messages, int tag, double seconds) {
  if (!lost_.ok() || messages.empty()) return lost_;
  std::vector<MPI_Request> requests(messages.size());
  for (size_t i = 0; i < messages.size(); ++i) {
    const Message& m = messages[i];
    const int bytes = static_cast<int>(m.bytes);
    const int error = m.incoming ? mpi_->irecv(m.data, bytes, mpi_->byte, m.peer, tag, mpi_->world, &requests[i])
                                 : mpi_->isend(m.data, bytes, mpi_->byte, m.peer, tag, mpi_->world, &requests[i]);
    if (error != MPI_SUCCESS) return lost_ = Failed(error);
  }
  const auto begin = std::chrono::steady_clock::now();
  for (int64_t polls = 0;; ++polls) {
    int done = 0;
    const int error = mpi_->testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE);
    if (error != MPI_SUCCESS) return lost_ = Failed(error);
    if (done != 0) return absl::OkStatus();
    if (polls < kPollsBeforeSleep) continue;
    std::this_thread::sleep_for(kSleep);
    if (std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() > seconds) break;
  }
  // MPI is not called again after this: it would write what comes late to memory that is another's by then.
  std::vector<std::string> missing;
  for (size_t i = 0; i < messages.size(); ++i) {
    int done = 0;
    mpi_->request_get_status(requests[i], &done, MPI_STATUS_IGNORE);
    const std::string name = NameOf(messages[i].peer);
    if (done == 0 && (missing.empty() || missing.back() != name)) missing.push_back(name);
  }
  return lost_ = absl::DeadlineExceededError(absl::StrCat("waited ", seconds, " s for ", absl::StrJoin(missing, ", "),
                                                          ": it hangs, or is too slow; the last checkpoint is whole"));
}

absl::Status Ranks::SumPiece(absl::Span<float> values) {
  const absl::Span<float> own = Part(values, rank_, size_);
  inbox_.resize(std::max(inbox_.size(), own.size() * static_cast<size_t>(size_ - 1)));
  sum_.resize(std::max(sum_.size(), own.size()));
  const auto inbox = [&](int peer) { return inbox_.data() + own.size() * static_cast<size_t>(peer - (peer > rank_)); };
  std::vector<Message> scatter, gather;
  for (int peer = 0; peer < size_; ++peer) {
    if (peer == rank_) continue;
    const absl::Span<float> part = Part(values, peer, size_);
    scatter.push_back({peer, true, inbox(peer), own.size() * sizeof(float)});
    scatter.push_back({peer, false, part.data(), part.size() * sizeof(float)});
    gather.push_back({peer, true, part.data(), part.size() * sizeof(float)});
    gather.push_back({peer, false, own.data(), own.size() * sizeof(float)});
  }
  if (absl::Status s = Exchange(scatter, kSum, patience_); !s.ok()) return s;
  for (int r = 0; r < size_; ++r) {
    const float* const from = r == rank_ ? own.data() : inbox(r);
    for (size_t i = 0; i < own.size(); ++i) sum_[i] = r == 0 ? from[i] : sum_[i] + from[i];
  }
  std::copy_n(sum_.data(), own.size(), own.data());
  return Exchange(gather, kSum, patience_);
}

absl::Status Ranks::Sum(absl::Span<float> values) {
  if (size_ == 1) return absl::OkStatus();
  for (size_t i = 0; i < values.size(); i += kPiece) {
    if (absl::Status s = SumPiece(values.subspan(i, kPiece)); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status Ranks::Sum(absl::Span<double> values) {
  if (size_ == 1) return absl::OkStatus();
  const absl::StatusOr<std::vector<std::string>> all =
      Gather({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double)});
  if (!all.ok()) return all.status();
  std::fill(values.begin(), values.end(), 0);
  for (const std::string& bytes : *all) {
    if (bytes.size() != values.size() * sizeof(double)) {
      return absl::InternalError(
          absl::StrCat("the ranks are out of step: ", bytes.size(), " bytes of a sum of ", values.size(), " numbers"));
    }
    for (size_t i = 0; i < values.size(); ++i) {
      double value;
      std::memcpy(&value, bytes.data() + i * sizeof value, sizeof value);
      values[i] += value;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> Ranks::Gather(absl::string_view said) {
  std::vector<std::string> all(static_cast<size_t>(size_));
  all[static_cast<size_t>(rank_)] = std::string(said);
  std::vector<uint64_t> lengths(all.size());
  uint64_t own = said.size();
  std::vector<Message> sizes, texts;
  for (int peer = 0; peer < size_; ++peer) {
    if (peer == rank_) continue;
    sizes.push_back({peer, true, &lengths[static_cast<size_t>(peer)], sizeof own});
    sizes.push_back({peer, false, &own, sizeof own});
  }
  if (absl::Status s = Exchange(sizes, kGather, patience_); !s.ok()) return s;
  for (int peer = 0; peer < size_; ++peer) {
    if (peer == rank_) continue;
    std::string& text = all[static_cast<size_t>(peer)];
    text.resize(lengths[static_cast<size_t>(peer)]);
    texts.push_back({peer, true, text.data(), text.size()});
    texts.push_back({peer, false, all[static_cast<size_t>(rank_)].data(), said.size()});
  }
  if (absl::Status s = Exchange(texts, kGather, patience_); !s.ok()) return s;
  return all;
}

absl::Status Ranks::ExpectSame(absl::string_view what, absl::string_view said) {
  if (size_ == 1) return absl::OkStatus();
  const absl::StatusOr<std::vector<std::string>> all = Gather(said);
  if (!all.ok()) return all.status();
  for (int r = 1; r < size_; ++r) {
    const std::string &first = all->front(), &other = (*all)[static_cast<size_t>(r)];
    if (other == first) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(what, " differs between ranks.\n  ", NameOf(0), ": ", first, "\n  ", NameOf(r), ": ", other));
  }
  return absl::OkStatus();
}

bool Ranks::Leave(bool all) {
  if (size_ == 1) return true;
  char word = 0;
  std::vector<char> words(static_cast<size_t>(size_));
  std::vector<Message> messages;
  for (int peer = 0; peer < size_; ++peer) {
    if (peer == rank_) continue;
    messages.push_back({peer, true, &words[static_cast<size_t>(peer)], 1});
    messages.push_back({peer, false, &word, 1});
  }
  const bool together = Exchange(messages, kLeave, all ? patience_ : kGrace).ok();
  if (together && all) mpi_->finalize();
  return together;
}

}  // namespace lorikeet
