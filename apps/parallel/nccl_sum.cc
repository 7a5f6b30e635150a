#include "apps/parallel/nccl_sum.h"

#include <cstring>
#include <set>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "tensor/check.h"
#include "tensor/cuda_stream.h"
#include "tensor/device.h"
#include "tensor/dtype.h"

namespace lorikeet {
namespace {

// Whether every rank has NCCL, and a GPU that no other rank has.
absl::StatusOr<bool> Possible(Ranks& ranks, const NcclLibrary* library, const std::string& gpu) {
  const std::string place = library == nullptr || gpu.empty() ? "" : absl::StrCat(ranks.Host(), " ", gpu);
  const absl::StatusOr<std::vector<std::string>> places = ranks.Gather(place);
  if (!places.ok()) return places.status();
  const std::set<std::string> distinct(places->begin(), places->end());
  return distinct.count("") == 0 && distinct.size() == places->size();
}

// The first rank's, to all.
absl::StatusOr<NcclUniqueId> ShareId(Ranks& ranks, const NcclLibrary& library) {
  NcclUniqueId id{};
  const bool made = ranks.rank() == 0 && library.get_unique_id(&id) == 0;
  const absl::StatusOr<std::vector<std::string>> ids =
      ranks.Gather(made ? absl::string_view(id.bytes, sizeof id.bytes) : absl::string_view());
  if (!ids.ok()) return ids.status();
  if (ids->front().size() != sizeof id.bytes) return absl::UnavailableError("NCCL has no identifier to give");
  std::memcpy(id.bytes, ids->front().data(), sizeof id.bytes);
  return id;
}

}  // namespace

absl::StatusOr<std::unique_ptr<NcclSum>> NcclSum::Create(Ranks& ranks, const NcclLibrary* library,
                                                         const std::string& gpu) {
  const absl::StatusOr<bool> possible = Possible(ranks, library, gpu);
  if (!possible.ok()) return possible.status();
  if (!*possible) return nullptr;
  const absl::StatusOr<NcclUniqueId> id = ShareId(ranks, *library);
  if (absl::IsUnavailable(id.status())) return nullptr;
  if (!id.ok()) return id.status();
  void* communicator = nullptr;
  double failures = library->comm_init_rank(&communicator, ranks.size(), *id, ranks.rank()) == 0 ? 0 : 1;
  std::unique_ptr<NcclSum> sum;
  if (failures == 0) sum.reset(new NcclSum(*library, communicator));
  if (absl::Status s = ranks.Sum(absl::MakeSpan(&failures, 1)); !s.ok()) return s;
  if (failures > 0) sum.reset();
  return sum;
}

void NcclSum::Check(int result) const { LORIKEET_CHECK_EQ(result, 0) << "NCCL: " << library_.get_error_string(result); }

void NcclSum::Abort() {
  if (communicator_ != nullptr) library_.comm_abort(communicator_);
  communicator_ = nullptr;
}

void NcclSum::Add(const std::vector<Tensor>& tensors) {
  Check(library_.group_start());
  for (const Tensor& t : tensors) {
    LORIKEET_CHECK(t.dtype() == DType::kF32 && t.contiguous() && t.device().is_cuda())
        << "NcclSum: " << Describe(t) << " of " << ToString(t.device());
    Check(library_.all_reduce(t.raw(), t.raw(), static_cast<size_t>(t.size()), kNcclFloat32, kNcclSum, communicator_,
                              ComputeStream().handle()));
  }
  Check(library_.group_end());
}

}  // namespace lorikeet
