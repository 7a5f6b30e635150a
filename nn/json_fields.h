// Fields: typed fields of one JSON object. It remembers the first complaint, so that a caller reads like a list of
// fields.
//
//   Fields f(json, "model/config.json");
//   f.Int("vocab_size", &c.vocab_size, /*required=*/true);
//   f.Number("rope_theta", &c.rope_theta);             // absent or null: as it was
//   if (!f.status().ok()) return f.status();           // model/config.json: "rope_theta" must be a number, got true
//
// The object must outlive it. Threads: one at a time.
#ifndef LORIKEET_NN_JSON_FIELDS_H_
#define LORIKEET_NN_JSON_FIELDS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace lorikeet {

class Fields {
 public:
  using Json = nlohmann::json;

  Fields(const Json& object, absl::string_view where) : object_(object), where_(where) {}

  bool Has(const char* name) const { return object_.contains(name); }  // null counts
  void Int(const char* name, int64_t* out, bool required = false) {
    const Json* v = Find(name, required);
    if (v == nullptr) return;
    if (!v->is_number_integer() || v->get<int64_t>() < 0) return Complain(name, "a non-negative integer", *v);
    *out = v->get<int64_t>();
  }
  void Number(const char* name, double* out) {
    const Json* v = Find(name, false);
    if (v == nullptr) return;
    if (!v->is_number()) return Complain(name, "a number", *v);
    *out = v->get<double>();
  }
  void Numbers(const char* name, std::vector<double>* out) {
    const Json* v = Find(name, false);
    if (v == nullptr) return;
    if (!v->is_array()) return Complain(name, "a list of numbers", *v);
    for (const Json& n : *v) {
      if (!n.is_number()) return Complain(name, "a list of numbers", *v);
      out->push_back(n.get<double>());
    }
  }
  void Bool(const char* name, bool* out) {
    const Json* v = Find(name, false);
    if (v == nullptr) return;
    if (!v->is_boolean()) return Complain(name, "true or false", *v);
    *out = v->get<bool>();
  }
  void String(const char* name, std::string* out) {
    const Json* v = Find(name, false);
    if (v == nullptr) return;
    if (!v->is_string()) return Complain(name, "a string", *v);
    *out = v->get<std::string>();
  }
  void Strings(const char* name, std::vector<std::string>* out) {
    const Json* v = Find(name, false);
    if (v == nullptr) return;
    if (!v->is_array()) return Complain(name, "a list of strings", *v);
    for (const Json& s : *v) {
      if (!s.is_string()) return Complain(name, "a list of strings", *v);
      out->push_back(s.get<std::string>());
    }
  }
  // One id, or a list of them.
  void Ids(const char* name, std::vector<int32_t>* out) {
    const Json* v = Find(name, false);
    if (v == nullptr) return;
    const auto add = [&](const Json& id) {
      if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > INT32_MAX) {
        return Complain(name, "token ids", *v);
      }
      out->push_back(id.get<int32_t>());
    };
    if (!v->is_array()) return add(*v);
    for (const Json& id : *v) add(id);
  }
  const Json* Object(const char* name) {
    const Json* v = Find(name, false);
    if (v != nullptr && !v->is_object()) {
      Complain(name, "an object", *v);
      return nullptr;
    }
    return v;
  }

  // A complaint of the caller's own; the first one stays.
  template <typename... Args>
  void Fail(const Args&... what) {
    if (status_.ok()) status_ = absl::InvalidArgumentError(absl::StrCat(where_, ": ", what...));
  }
  void Fail(const absl::Status& status) {
    if (status_.ok()) status_ = status;
  }
  const absl::Status& status() const { return status_; }
  const std::string& where() const { return where_; }

 private:
  const Json* Find(const char* name, bool required) {
    const auto it = object_.find(name);
    if (it != object_.end() && !it->is_null()) return &*it;
    if (required) Fail("\"", name, "\" is missing");
    return nullptr;
  }
  void Complain(const char* name, const char* expected, const Json& got) {
    Fail("\"", name, "\" must be ", expected, ", got ", Describe(got));
  }
  // Printing recurses into arrays and objects, which a hostile file may nest deeper than the stack.
  static std::string Describe(const Json& v) {
    if (v.is_array()) return "an array";
    if (v.is_object()) return "an object";
    return v.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 60);
  }

  const Json& object_;
  const std::string where_;
  absl::Status status_;
};

}  // namespace lorikeet

#endif  // LORIKEET_NN_JSON_FIELDS_H_
