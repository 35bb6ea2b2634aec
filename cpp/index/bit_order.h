// The order in which a segment keeps the bits of a code.
//
// A Hamming distance does not depend on it, but bands do: a bit that is nearly always 0 tells codes
// apart no better in a band than none. Where a list has many such bits, they are moved behind the
// others, where no band is cut.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "kernel/kernel.h"

namespace hashmatch {

// A permutation of the bits of a code, as a table of what each half byte becomes.
class BitOrder {
 public:
  BitOrder() = default;  // every bit stays where it is
  // Bit p of the result is bit from[p] of the code. Empty: every bit stays where it is.
  explicit BitOrder(std::span<const uint8_t> from);

  bool is_natural() const { return table_.empty(); }
  // Codes of `words` words; `out` may not be `code`.
  void apply(const uint64_t* code, unsigned words, uint64_t* out) const;

 private:
  using Code = std::array<uint64_t, 4>;
  std::vector<Code> table_;  // 16 for each half byte
};

// The inverse of a permutation.
std::vector<uint8_t> inverse(std::span<const uint8_t> order);

// Queries as a segment keeps codes, followed by bytes that a kernel may read: the queries given
// where that is the natural order, else a copy.
class OrderedCodes {
 public:
  OrderedCodes(const BitOrder& order, const uint64_t* codes, size_t count, unsigned words);
  OrderedCodes(const OrderedCodes&) = delete;
  OrderedCodes& operator=(const OrderedCodes&) = delete;
  const uint64_t* data() const { return codes_; }

 private:
  std::array<uint64_t, 4 + kernel::kOverreadBytes / 8> one_;
  std::vector<uint64_t> many_;
  const uint64_t* codes_;
};

// For each bit, -log2 of the chance that two of the codes agree in it: 1 for a fair coin, near 0
// for a bit that hardly varies. Looks at a sample of rows of bits / 8 bytes.
std::vector<double> collision_entropy(std::span<const std::byte> rows, unsigned bits);

}  // namespace hashmatch
