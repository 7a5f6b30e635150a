// Numbers as text, the same in every locale.
//
//   ShortestDouble(0.1)              "0.1": the fewest digits that read back as the same number; "null" if not finite
//   HumanBytes(1080000000)           "1.08 GB" (powers of ten, three digits)
//   HumanCount(134515008)            "135M"
//   HumanDuration(192)               "3m12s"
//   WithThousands(4884480)           "4,884,480"
//
// Threads: any. Errors: none.
#ifndef LORIKEET_APPS_TRAINING_NUMBER_TEXT_H_
#define LORIKEET_APPS_TRAINING_NUMBER_TEXT_H_

#include <cstdint>
#include <string>

namespace lorikeet {

// As JSON: JSON has no infinities and no NaN.
std::string ShortestDouble(double value);
// `digits` after the point; "nan", "inf" or "-inf" if not finite.
std::string FixedDouble(double value, int digits);
std::string HumanBytes(int64_t bytes);
std::string HumanCount(int64_t count);
std::string HumanDuration(double seconds);
std::string WithThousands(int64_t value);

}  // namespace lorikeet

#endif  // LORIKEET_APPS_TRAINING_NUMBER_TEXT_H_
