#include "apps/training/sha256.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/strings/str_format.h"
#include "tensor/io/file.h"

namespace lorikeet {
namespace {

// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
constexpr uint32_t kRound[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

uint32_t BigEndian(const uint8_t* b) {
  return uint32_t{b[0]} << 24 | uint32_t{b[1]} << 16 | uint32_t{b[2]} << 8 | b[3];
}

}  // namespace

void Sha256::Block(const uint8_t* block) {
  uint32_t w[64];
  for (int i = 0; i < 16; ++i) w[i] = BigEndian(block + 4 * i);
  for (int i = 16; i < 64; ++i) {
    const uint32_t s0 = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ (w[i - 15] >> 3);
    const uint32_t s1 = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ (w[i - 2] >> 10);
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  auto [a, b, c, d, e, f, g, h] = state_;
  for (int i = 0; i < 64; ++i) {
    const uint32_t e1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
    const uint32_t t1 = h + e1 + ((e & f) ^ (~e & g)) + kRound[i] + w[i];
    const uint32_t a0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
    const uint32_t t2 = a0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  const uint32_t out[] = {a, b, c, d, e, f, g, h};
  for (int i = 0; i < 8; ++i) state_[i] += out[i];
}

void Sha256::Update(absl::string_view bytes) {
  const uint8_t* p = reinterpret_cast<const uint8_t*>(bytes.data());
  size_t n = bytes.size();
  if (const size_t fill = bytes_ % 64; fill > 0) {
    const size_t take = std::min(n, 64 - fill);
    std::memcpy(pending_.data() + fill, p, take);
    bytes_ += take, p += take, n -= take;
    if (bytes_ % 64 > 0) return;
    Block(pending_.data());
  }
  bytes_ += n;
  for (; n >= 64; p += 64, n -= 64) Block(p);
  if (n > 0) std::memcpy(pending_.data(), p, n);
}

std::string Sha256::Hex() const {
  Sha256 padded = *this;
  const size_t fill = bytes_ % 64;
  uint8_t tail[128] = {0x80};
  const size_t zeros = fill < 56 ? 56 - fill : 120 - fill;  // the 0x80 among them
  for (int i = 0; i < 8; ++i) tail[zeros + i] = static_cast<uint8_t>(bytes_ * 8 >> (56 - 8 * i));
  padded.Update({reinterpret_cast<const char*>(tail), zeros + 8});
  std::string hex;
  for (uint32_t word : padded.state_) absl::StrAppendFormat(&hex, "%08x", word);
  return hex;
}

absl::StatusOr<FileDigest> DigestOfFile(const std::string& path, FileSystem& file_system) {
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> file = OpenFile(path, file_system);
  if (!file.ok()) return file.status();
  FileDigest digest;
  digest.bytes = (*file)->size();
  Sha256 hash;
  std::vector<char> buffer(1 << 18);
  for (uint64_t at = 0; at < digest.bytes; at += buffer.size()) {
    const size_t n = static_cast<size_t>(std::min<uint64_t>(buffer.size(), digest.bytes - at));
    absl::Status status = (*file)->Read(at, buffer.data(), n);
    if (!status.ok()) return status;
    hash.Update({buffer.data(), n});
  }
  digest.sha256 = hash.Hex();
  return digest;
}

}  // namespace lorikeet
