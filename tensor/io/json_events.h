// JSON from untrusted files, one event at a time: no document is built, so a hostile file costs no more memory than its
// handler keeps.
//
//   class Handler : public JsonEvents {
//     bool string(string_t& value) override { return value == "pt" ? true : Fail("only \"pt\" is expected"); }
//     ...
//   };
//   absl::Status status = ParseJsonEvents(text, &handler);
//
// The handler overrides the events that it expects; every other one fails. The text must be exactly one JSON value
// (RFC 8259, surrounded by white space at most), in well-formed UTF-8, without a byte order mark or NUL. Keys and
// strings come unescaped. Not checked here: keys that occur twice, which only the handler can remember.
#ifndef LORIKEET_TENSOR_IO_JSON_EVENTS_H_
#define LORIKEET_TENSOR_IO_JSON_EVENTS_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace lorikeet {

class JsonEvents : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return Fail("null is not expected here"); }
  bool boolean(bool) override { return Fail("true or false is not expected here"); }
  // A negative number, or -0.
  bool number_integer(number_integer_t) override { return Fail("a negative number is not expected here"); }
  bool number_unsigned(number_unsigned_t) override { return Fail("a number is not expected here"); }
  // A number with a fraction or an exponent, or one that does not fit in 64 bits.
  bool number_float(number_float_t, const string_t&) override { return Fail("this number is not expected here"); }
  bool string(string_t&) override { return Fail("a string is not expected here"); }
  bool binary(binary_t&) override { return Fail("binary data is not expected here"); }
  bool start_object(size_t) override { return Fail("an object is not expected here"); }
  bool start_array(size_t) override { return Fail("an array is not expected here"); }
  bool parse_error(size_t position, const std::string& last_token, const nlohmann::detail::exception& e) override;

  const std::string& message() const { return message_; }

 protected:
  // Ends the parse.
  bool Fail(absl::string_view message) {
    message_ = std::string(message);
    return false;
  }

 private:
  std::string message_;
};

// InvalidArgument with the reason.
absl::Status ParseJsonEvents(absl::string_view text, JsonEvents* handler);

}  // namespace lorikeet

#endif  // LORIKEET_TENSOR_IO_JSON_EVENTS_H_
