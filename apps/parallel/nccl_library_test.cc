#include "apps/parallel/nccl_library.h"

#include <algorithm>
#include <string>

#include "gtest/gtest.h"

namespace lorikeet {
namespace {

TEST(NcclLibraryTest, TheRealOneHasEveryFunction) {
  const NcclLibrary* const nccl = OpenNccl();
  if (nccl == nullptr) GTEST_SKIP() << "no libnccl.so.2 on this machine";
  EXPECT_EQ(std::string(nccl->get_error_string(0)), "no error");
  EXPECT_NE(nccl->get_error_string(1), nullptr);
  // An identifier is the address of a socket, which needs no GPU.
  NcclUniqueId id{};
  ASSERT_EQ(nccl->get_unique_id(&id), 0);
  EXPECT_TRUE(std::any_of(id.bytes, id.bytes + sizeof id.bytes, [](char c) { return c != 0; }));
  EXPECT_EQ(nccl->group_start(), 0);
  EXPECT_EQ(nccl->group_end(), 0);
}

}  // namespace
}  // namespace lorikeet
