#include "tensor/io/sharded_safetensors.h"

#include <unistd.h>

#include <cstddef>
#include <map>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "tensor/io/file.h"
#include "tensor/io/json_events.h"

namespace lorikeet {
namespace {

constexpr const char* kIndexName = "model.safetensors.index.json";
constexpr uint64_t kMaxIndexBytes = 100'000'000;
constexpr int kMaxDepth = 64;
constexpr size_t kMaxShards = 4096;  // each stays open

// Collects weight_map; every other member may be anything.
class IndexEvents : public JsonEvents {
 public:
  // shard -> its tensors
  std::map<std::string, std::vector<std::string>>& shards() { return shards_; }
  bool seen_weight_map() const { return seen_weight_map_; }

  bool null() override { return Other(); }
  bool boolean(bool) override { return Other(); }
  bool number_integer(number_integer_t) override { return Other(); }
  bool number_unsigned(number_unsigned_t) override { return Other(); }
  bool number_float(number_float_t, const string_t&) override { return Other(); }

  bool string(string_t& value) override {
    if (!in_weight_map_) return Other();
    if (!names_.insert(key_).second) return Fail(absl::StrCat("weight_map: ", Quoted(key_), " occurs twice"));
    shards_[value].push_back(key_);
    return true;
  }
  bool key(string_t& key) override {
    key_ = std::move(key);
    return true;
  }
  bool start_object(size_t) override {
    if (in_weight_map_) return Fail(absl::StrCat("weight_map: ", Quoted(key_), " is not a string"));
    if (depth_ == 1 && key_ == "weight_map") {
      if (std::exchange(seen_weight_map_, true)) return Fail("a second weight_map");
      in_weight_map_ = true;
    }
    return Open();
  }
  bool end_object() override {
    in_weight_map_ = false;  // nothing is nested inside it
    return Close();
  }
  bool start_array(size_t) override { return depth_ == 0 ? Fail("an object is expected") : Other() && Open(); }
  bool end_array() override { return Close(); }

 private:
  bool Other() {
    if (depth_ == 0) return Fail("an object is expected");
    if (in_weight_map_) return Fail(absl::StrCat("weight_map: ", Quoted(key_), " is not a string"));
    if (depth_ == 1 && key_ == "weight_map") return Fail("weight_map is not an object");
    return true;
  }
  bool Open() { return ++depth_ > kMaxDepth ? Fail(absl::StrCat("nested deeper than ", kMaxDepth, " levels")) : true; }
  bool Close() { return --depth_, true; }

  std::string key_;
  int depth_ = 0;
  bool in_weight_map_ = false, seen_weight_map_ = false;
  absl::flat_hash_set<std::string> names_;
  std::map<std::string, std::vector<std::string>> shards_;
};

absl::Status Located(const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ShardedSafetensors>> ShardedSafetensors::Open(const std::string& directory) {
  const std::string index_path = absl::StrCat(directory, "/", kIndexName);
  absl::StatusOr<std::string> json = ReadFileToString(index_path, kMaxIndexBytes);
  if (!json.ok()) return json.status();
  IndexEvents events;
  absl::Status status = ParseJsonEvents(*json, &events);
  if (status.ok() && !events.seen_weight_map()) status = absl::InvalidArgumentError("it has no weight_map");
  if (status.ok() && events.shards().size() > kMaxShards)
    status = absl::InvalidArgumentError("it names too many shards");
  if (!status.ok()) return Located(index_path, status);

  absl::StatusOr<std::unique_ptr<Directory>> folder = Directory::Open(directory);
  if (!folder.ok()) return folder.status();
  std::unique_ptr<ShardedSafetensors> model(new ShardedSafetensors(directory));
  TensorIndex everything;
  for (const auto& [shard, names] : events.shards()) {
    absl::StatusOr<std::unique_ptr<RandomAccessFile>> file = (*folder)->OpenFile(shard);
    if (!file.ok()) return Located(index_path, file.status());
    absl::StatusOr<std::unique_ptr<SafetensorsFile>> opened = SafetensorsFile::Open(*std::move(file));
    if (!opened.ok()) return opened.status();
    status = model->AddShard(*std::move(opened), names, &everything);
    if (!status.ok()) return Located(index_path, status);
  }
  return model;
}

absl::Status ShardedSafetensors::AddShard(std::unique_ptr<SafetensorsFile> shard, const std::vector<std::string>& names,
                                          TensorIndex* everything) {
  for (const std::string& name : names) {
    if (shard->Find(name) != nullptr) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", Quoted(name), " is not in ", shard->where(), ", as the index says"));
  }
  const absl::flat_hash_set<absl::string_view> listed(names.begin(), names.end());
  for (const TensorInfo& info : shard->tensors()) {
    if (!everything->Add(info)) {
      return absl::InvalidArgumentError(absl::StrCat("tensor ", Quoted(info.name), " is in two shards"));
    }
    if (listed.contains(info.name)) {
      TensorInfo placed = info;
      placed.shard = static_cast<int>(shards_.size());
      index_.Add(std::move(placed));
      shard_of_.push_back(shards_.size());
    } else {
      unlisted_.push_back(info.name);
    }
  }
  shards_.push_back(std::move(shard));
  return absl::OkStatus();
}

absl::StatusOr<Tensor> ShardedSafetensors::Read(absl::string_view name) const {
  const TensorInfo* info = Find(name);
  if (info == nullptr) return index_.NoSuchTensor(name, where());
  return shards_[shard_of_[index_.PositionOf(info)]]->Read(name);
}

absl::StatusOr<std::unique_ptr<TensorSource>> OpenSafetensorsDirectory(const std::string& directory) {
  absl::StatusOr<std::unique_ptr<ShardedSafetensors>> sharded = ShardedSafetensors::Open(directory);
  if (sharded.ok()) return *std::move(sharded);
  // A shard that is missing is NotFound as well, and no reason to look further.
  if (::access(absl::StrCat(directory, "/", kIndexName).c_str(), F_OK) == 0) return sharded.status();
  absl::StatusOr<std::unique_ptr<SafetensorsFile>> single = SafetensorsFile::Open(directory + "/model.safetensors");
  if (single.ok()) return *std::move(single);
  if (!absl::IsNotFound(single.status())) return single.status();
  return absl::NotFoundError(absl::StrCat(directory, " has neither model.safetensors nor ", kIndexName,
                                          "; a Hugging Face model directory has one of them"));
}

}  // namespace lorikeet
