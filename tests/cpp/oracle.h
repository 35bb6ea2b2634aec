// The answers by definition, one bit at a time. Everything else in the project only gets there
// faster.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hashmatch::oracle {

inline bool bit(const uint64_t* code, unsigned p) { return (code[p / 64] >> (p % 64) & 1) != 0; }

// Bits in [begin, end) in which two codes differ.
inline unsigned distance(const uint64_t* a, const uint64_t* b, unsigned begin, unsigned end) {
  unsigned d = 0;
  for (unsigned p = begin; p < end; ++p) d += bit(a, p) != bit(b, p);
  return d;
}

inline unsigned distance(uint64_t a, uint64_t b) { return distance(&a, &b, 0, 64); }

// The band that reports a match: the last one at which the sum of distance - allowance over the
// bands before it is largest.
template <class Chain>
unsigned canonical_band(const uint64_t* query, const uint64_t* row, const Chain& chain) {
  unsigned canonical = 0;
  int sum = 0, largest = 0;
  for (unsigned k = 0; k < chain.bands; ++k) {
    if (sum >= largest) {
      largest = sum;
      canonical = k;
    }
    const unsigned end = chain.at[k] + chain.width[k];
    sum += static_cast<int>(distance(query, row, chain.at[k], end)) - chain.allowance[k];
  }
  return canonical;
}

}  // namespace hashmatch::oracle
