// Codes as the core holds them: 1, 2 or 4 little-endian 64-bit words, bit p of a code being bit
// p % 8 of its byte p / 8. Which bit comes first makes no difference to a Hamming distance; this
// order makes a run of bits one unaligned load.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/packed.h"

namespace hashmatch {

// 64, 128, 160 or 256: the widths the engine takes. 160 bits are carried in 256.
constexpr bool width_supported(unsigned bits) {
  return bits == 64 || bits == 128 || bits == 160 || bits == 256;
}
constexpr unsigned words_of(unsigned bits) { return bits == 64 ? 1 : bits == 128 ? 2 : 4; }
constexpr size_t code_bytes(unsigned bits) { return bits / 8; }

// The `width` <= 32 bits from bit `at` of a code that is followed by 8 readable bytes.
inline uint32_t bits_at(const uint64_t* code, unsigned at, unsigned width) {
  const uint64_t word = load64(reinterpret_cast<const std::byte*>(code) + at / 8);
  return static_cast<uint32_t>((word >> (at % 8)) & ((uint64_t{1} << width) - 1));
}

// The same for at < bits, going on at bit 0 where the code of `bits` bits ends.
inline uint32_t bits_around(const uint64_t* code, unsigned at, unsigned width, unsigned bits) {
  if (at + width <= bits) return bits_at(code, at, width);
  const unsigned low = bits - at;
  return bits_at(code, at, low) | (bits_at(code, 0, width - low) << low);
}

// Copies packed rows of bits / 8 bytes into rows of words.
inline void widen(const std::byte* rows, size_t count, unsigned bits, uint64_t* out) {
  const size_t from = code_bytes(bits);
  const size_t to = words_of(bits) * sizeof(uint64_t);
  if (count == 0) return;
  if (from == to) {
    std::memcpy(out, rows, count * to);
    return;
  }
  auto* bytes = reinterpret_cast<std::byte*>(out);
  for (size_t i = 0; i < count; ++i) {
    std::memcpy(bytes + i * to, rows + i * from, from);
    std::memset(bytes + i * to + from, 0, to - from);
  }
}

}  // namespace hashmatch
