#include "apps/text/json.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace lorikeet::text {
namespace {

using nlohmann::json;

// Builds the document from the parser's events; an event that returns false ends the parse.
class Builder : public nlohmann::json_sax<json> {
 public:
  Builder(json* root, int max_depth) : root_(root), max_depth_(max_depth) {}

  bool null() override { return Put(json(nullptr)) != nullptr; }
  bool boolean(bool value) override { return Put(json(value)) != nullptr; }
  bool number_integer(number_integer_t value) override { return Put(json(value)) != nullptr; }
  bool number_unsigned(number_unsigned_t value) override { return Put(json(value)) != nullptr; }
  bool number_float(number_float_t value, const string_t&) override { return Put(json(value)) != nullptr; }
  bool string(string_t& value) override { return Put(json(std::move(value))) != nullptr; }
  bool binary(binary_t&) override { return false; }

  bool start_object(size_t) override { return Open(json::object()); }
  bool start_array(size_t) override { return Open(json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }

  bool key(string_t& key) override {
    const auto [it, inserted] = open_.back()->get_ptr<json::object_t*>()->emplace(key, nullptr);
    if (!inserted) {
      message_ = absl::StrCat("key \"", key, "\" occurs twice");
      return false;
    }
    member_ = &it->second;
    return true;
  }

  bool parse_error(size_t position, const std::string& last_token, const nlohmann::detail::exception& e) override {
    (void)last_token;
    message_ = absl::StrCat("at byte ", position, ": ", Reason(e.what()));
    return false;
  }

  const std::string& message() const { return message_; }

 private:
  // The library's text, less its own name and number.
  static std::string Reason(absl::string_view what) {
    const size_t bracket = what.find("] ");
    return std::string(bracket == absl::string_view::npos ? what : what.substr(bracket + 2));
  }

  json* Put(json value) {
    json* place = root_;
    if (!open_.empty()) {
      if (json::array_t* array = open_.back()->get_ptr<json::array_t*>()) {
        array->emplace_back();
        place = &array->back();
      } else {
        place = member_;
      }
    }
    *place = std::move(value);
    return place;
  }

  bool Open(json value) {
    if (static_cast<int>(open_.size()) == max_depth_) {
      message_ = absl::StrCat("nested deeper than ", max_depth_, " levels");
      return false;
    }
    open_.push_back(Put(std::move(value)));
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  json* root_;
  int max_depth_;
  std::vector<json*> open_;  // the containers around the next value; growing one moves only its closed children
  json* member_ = nullptr;
  std::string message_;
};

}  // namespace

absl::StatusOr<json> ParseJson(absl::string_view text, int max_depth) {
  json root;
  Builder builder(&root, max_depth);
  if (!json::sax_parse(text.begin(), text.end(), &builder)) {
    return absl::InvalidArgumentError(absl::StrCat("not valid JSON: ", builder.message()));
  }
  return root;
}

const json* Member(const json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

const std::string* StringMember(const json& object, const char* key) {
  const json* member = Member(object, key);
  return member == nullptr ? nullptr : member->get_ptr<const json::string_t*>();
}

bool BoolMember(const json& object, const char* key, bool otherwise) {
  const json* member = Member(object, key);
  const bool* value = member == nullptr ? nullptr : member->get_ptr<const json::boolean_t*>();
  return value == nullptr ? otherwise : *value;
}

const char* TypeName(const json& value) {
  switch (value.type()) {
    case json::value_t::null:
      return "null";
    case json::value_t::object:
      return "an object";
    case json::value_t::array:
      return "an array";
    case json::value_t::string:
      return "a string";
    case json::value_t::boolean:
      return "a boolean";
    default:
      return "a number";
  }
}

}  // namespace lorikeet::text
