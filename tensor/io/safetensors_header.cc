#include "tensor/io/safetensors_header.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tensor/io/checked_size.h"
#include "tensor/io/file.h"
#include "tensor/io/json_events.h"
#include "tensor/view.h"

namespace lorikeet {
namespace {

constexpr size_t kMaxTensors = size_t{1} << 20, kMaxNameBytes = size_t{64} << 10;

struct StoredType {
  const char* name;
  int bits;
};
constexpr StoredType kStoredTypes[] = {
    {"BOOL", 8}, {"U8", 8},          {"I8", 8},          {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8},
    {"I16", 16}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"U16", 16},    {"F16", 16},    {"BF16", 16},
    {"I32", 32}, {"U32", 32},        {"F32", 32},        {"C64", 64},    {"F64", 64},    {"I64", 64},
    {"U64", 64}, {"F4", 4},          {"F6_E2M3", 6},     {"F6_E3M2", 6},
};

struct HeldType {
  DType dtype;
  const char* name;
};
constexpr HeldType kHeldTypes[] = {
    {DType::kF64, "F64"}, {DType::kF32, "F32"}, {DType::kBF16, "BF16"}, {DType::kF16, "F16"},
    {DType::kI32, "I32"}, {DType::kI64, "I64"}, {DType::kU8, "U8"},
};

struct Entry {
  std::string name, dtype;
  std::vector<uint64_t> shape, offsets;
};

// Follows the header's grammar; what a tensor says about itself is checked when its object ends.
class HeaderEvents : public JsonEvents {
 public:
  std::vector<Entry>& entries() { return entries_; }
  SafetensorsMetadata& metadata() { return metadata_; }

  bool start_object(size_t) override {
    if (in_ == In::kStart) return Enter(In::kTop);
    if (in_ != In::kTop) return Fail("nested objects are not expected");
    if (key_ == "__metadata__") return seen_metadata_ ? Fail("a second __metadata__") : Enter(In::kMetadata);
    if (entries_.size() == kMaxTensors) return Fail(absl::StrCat("more than ", kMaxTensors, " tensors"));
    if (key_.size() > kMaxNameBytes)
      return Fail(absl::StrCat("a tensor's name is longer than ", kMaxNameBytes, " bytes"));
    entries_.emplace_back();
    entries_.back().name = key_;
    seen_dtype_ = seen_shape_ = seen_offsets_ = false;
    return Enter(In::kTensor);
  }

  bool end_object() override {
    if (in_ == In::kTensor && !(seen_dtype_ && seen_shape_ && seen_offsets_)) {
      return FailTensor("dtype, shape or data_offsets is missing");
    }
    if (in_ == In::kMetadata) seen_metadata_ = true;
    return Enter(in_ == In::kTop ? In::kEnd : In::kTop);
  }

  bool key(string_t& key) override {
    key_ = std::move(key);
    if (in_ == In::kMetadata && metadata_.count(key_) != 0) {
      return Fail(absl::StrCat("__metadata__: key ", Quoted(key_), " occurs twice"));
    }
    return true;
  }

  bool string(string_t& value) override {
    if (in_ == In::kMetadata) {
      metadata_.emplace(std::move(key_), std::move(value));
      return true;
    }
    if (in_ != In::kTensor || key_ != "dtype") return Fail(absl::StrCat("a string is not expected for ", Quoted(key_)));
    entries_.back().dtype = std::move(value);
    return Once(&seen_dtype_);
  }

  bool start_array(size_t) override {
    if (in_ == In::kTensor && key_ == "shape") return Once(&seen_shape_) && Enter(In::kShape);
    if (in_ == In::kTensor && key_ == "data_offsets") return Once(&seen_offsets_) && Enter(In::kOffsets);
    return Fail(absl::StrCat("an array is not expected for ", Quoted(key_)));
  }

  bool end_array() override {
    if (in_ == In::kOffsets && entries_.back().offsets.size() != 2) return FailTensor("data_offsets has not 2 numbers");
    return Enter(In::kTensor);
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (in_ != In::kShape && in_ != In::kOffsets) return Fail("a number is not expected here");
    std::vector<uint64_t>& list = in_ == In::kShape ? entries_.back().shape : entries_.back().offsets;
    const size_t most = in_ == In::kShape ? kMaxRank : 2;
    if (list.size() == most) {
      return FailTensor(
          absl::StrCat(in_ == In::kShape ? "shape" : "data_offsets", " has more than ", most, " numbers"));
    }
    list.push_back(value);
    return true;
  }

 private:
  enum class In { kStart, kTop, kMetadata, kTensor, kShape, kOffsets, kEnd };

  bool Enter(In in) {
    in_ = in;
    return true;
  }
  bool Once(bool* seen) { return std::exchange(*seen, true) ? FailTensor(absl::StrCat(key_, " occurs twice")) : true; }
  bool FailTensor(absl::string_view what) {
    return Fail(absl::StrCat("tensor ", Quoted(entries_.back().name), ": ", what));
  }

  In in_ = In::kStart;
  std::string key_;
  bool seen_metadata_ = false, seen_dtype_ = false, seen_shape_ = false, seen_offsets_ = false;
  std::vector<Entry> entries_;
  SafetensorsMetadata metadata_;
};

absl::Status TensorError(const Entry& entry, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("tensor ", Quoted(entry.name), ": ", what));
}

// Everything about one tensor that does not need the others.
absl::StatusOr<TensorInfo> CheckEntry(const Entry& entry) {
  const uint64_t bits = static_cast<uint64_t>(SafetensorsBits(entry.dtype));
  if (bits == 0) return TensorError(entry, absl::StrCat("unknown dtype ", Quoted(entry.dtype)));
  // Zero dimensions are left out of the first product, so that strides cannot overflow either.
  uint64_t nonzero = 1, total_bits = 0;
  bool empty = false, fits = true;
  Shape shape;
  for (uint64_t d : entry.shape) {
    empty |= d == 0;
    fits = fits && CheckedMul(nonzero, std::max<uint64_t>(d, 1), &nonzero);
    fits = fits && nonzero <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    if (fits) shape.push_back(static_cast<int64_t>(d));
  }
  if (!fits || !CheckedMul(nonzero, bits, &total_bits)) return TensorError(entry, "the shape's size overflows");
  if (empty) total_bits = 0;
  if (total_bits % 8 != 0) return TensorError(entry, "its elements do not fill whole bytes");
  const uint64_t begin = entry.offsets[0], end = entry.offsets[1];
  if (end < begin)
    return TensorError(entry, absl::StrCat("data_offsets end at ", end, " before they begin at ", begin));
  if (end - begin != total_bits / 8) {
    return TensorError(entry, absl::StrCat("data_offsets cover ", end - begin, " bytes, but ", entry.dtype,
                                           ToString(shape), " has ", total_bits / 8));
  }
  return TensorInfo{entry.name, entry.dtype, shape, static_cast<int64_t>(end - begin)};
}

}  // namespace

int SafetensorsBits(absl::string_view stored_type) {
  for (const StoredType& t : kStoredTypes) {
    if (stored_type == t.name) return t.bits;
  }
  return 0;
}

const char* SafetensorsName(DType dtype) {
  for (const HeldType& t : kHeldTypes) {
    if (dtype == t.dtype) return t.name;
  }
  return "?";
}

bool SafetensorsDType(absl::string_view stored_type, DType* dtype) {
  for (const HeldType& t : kHeldTypes) {
    if (stored_type == t.name) return *dtype = t.dtype, true;
  }
  return false;
}

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view json, uint64_t data_bytes) {
  HeaderEvents events;
  absl::Status status = ParseJsonEvents(json, &events);
  if (!status.ok()) return status;
  std::vector<Entry>& entries = events.entries();
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.offsets < b.offsets; });

  SafetensorsHeader header;
  header.metadata = std::move(events.metadata());
  uint64_t covered = 0;
  std::string before = "the start of the data";
  for (Entry& entry : entries) {
    absl::StatusOr<TensorInfo> info = CheckEntry(entry);
    if (!info.ok()) return info.status();
    if (entry.offsets[0] != covered) {
      return TensorError(entry, absl::StrCat(entry.offsets[0] < covered ? "overlaps " : "leaves a hole after ", before,
                                             ": it begins at ", entry.offsets[0], ", expected ", covered));
    }
    if (!header.index.Add(*std::move(info))) return TensorError(entry, "the name occurs twice");
    header.begins.push_back(entry.offsets[0]);
    covered = entry.offsets[1];
    before = Quoted(entry.name);
  }
  if (covered != data_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("the tensors have ", covered, " bytes but the file has ", data_bytes,
                                                   " after its header",
                                                   covered > data_bytes ? ": it is cut short, fetch it again" : ""));
  }
  return header;
}

}  // namespace lorikeet
