#include "apps/model/stop_strings.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace lorikeet {
namespace {

// Everything shown for `text` in pieces of `n` bytes.
std::string Stream(const std::vector<std::string>& stops, const std::string& text, size_t n) {
  StopStrings s(stops);
  std::string shown;
  for (size_t i = 0; i < text.size() && !s.found(); i += n) shown += s.Push(text.substr(i, n));
  return s.found() ? shown : shown + s.Finish();
}

TEST(StopStringsTest, TheTextBeforeTheFirstStopStringIsShownHoweverItIsCut) {
  for (size_t n = 1; n < 12; ++n) {
    EXPECT_EQ(Stream({"\nQ:"}, "four\n\nQ: next\nQ:", n), "four\n");
    EXPECT_EQ(Stream({"abab", "abc"}, "xababcy", n), "x");
    EXPECT_EQ(Stream({"aab"}, "aaaaab", n), "aaa");
  }
}

TEST(StopStringsTest, ABeginningThatDoesNotComeTrueIsShownInTheEnd) {
  for (size_t n = 1; n < 6; ++n) EXPECT_EQ(Stream({"END."}, "the EN END", n), "the EN END");
}

TEST(StopStringsTest, WhatCannotBeginAStopStringIsShownAtOnce) {
  StopStrings s({"###"});
  EXPECT_EQ(s.Push("abc"), "abc");
  EXPECT_EQ(s.Push("d#"), "d");
  EXPECT_EQ(s.Push("e"), "#e");
}

TEST(StopStringsTest, EmptyStopStringsStopNothing) { EXPECT_EQ(Stream({""}, "abc", 2), "abc"); }

TEST(StopStringsTest, NothingIsShownOnceFound) {
  StopStrings s({"."});
  EXPECT_EQ(s.Push("a.b"), "a");
  EXPECT_TRUE(s.found());
  EXPECT_EQ(s.Push("c"), "");
}

}  // namespace
}  // namespace lorikeet
