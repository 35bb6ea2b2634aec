// Verification: distance(query, row) <= max_distance, and the pair's band is the canonical one.
//
// The canonical band k is the last maximum of the prefix sums P, so P[k] >= P[k - 1]: the band
// before it has at least its allowance. That test needs one word and comes first, because it is
// what keeps clusters of near-duplicates cheap: there every row is a candidate of almost every
// band, and nearly all those bands follow one that is under its allowance. Outcomes are hard to
// predict, so each test is a pass over a block of pairs that keeps the survivors without branching.
#pragma once

#include "kernel.h"

namespace hashmatch::kernel {

template <class Isa, unsigned W>
struct Verify {
  static constexpr size_t kPairs = 128;  // pairs a block

  // Where a band lies: its bits are load64(byte) & mask.
  struct Band {
    uint64_t mask;
    uint32_t byte;
    uint32_t allowance;

    unsigned distance(const uint64_t* query, const uint64_t* row) const {
      uint64_t q, r;
      __builtin_memcpy(&q, reinterpret_cast<const unsigned char*>(query) + byte, 8);
      __builtin_memcpy(&r, reinterpret_cast<const unsigned char*>(row) + byte, 8);
      return Isa::popcount((q ^ r) & mask);
    }
  };

  // band[k] is the band before k. Before band 0 there is one without bits that is never short.
  struct Previous {
    Band band[kMaxBands];
    uint32_t bands;

    explicit Previous(const Chain& chain) : bands(chain.bands) {
      band[0] = {0, 0, 0};
      for (unsigned k = 1; k < bands; ++k) {
        const unsigned at = chain.at[k - 1];
        const uint64_t ones = (uint64_t{1} << chain.width[k - 1]) - 1;
        band[k] = {ones << (at % 8), at / 8, chain.allowance[k - 1]};
      }
    }

    uint32_t canonical(const uint64_t* query, const uint64_t* row) const {
      int sum = 0, best = 0;
      uint32_t last = 0;
      for (uint32_t k = 1; k < bands; ++k) {
        sum += static_cast<int>(band[k].distance(query, row) - band[k].allowance);
        last = sum >= best ? k : last;
        best = sum >= best ? sum : best;
      }
      return last;
    }
  };

  static uint32_t distance(const uint64_t* query, const uint64_t* row) {
    unsigned sum = 0;
    for (unsigned w = 0; w < W; ++w) sum += Isa::popcount(query[w] ^ row[w]);
    return sum;
  }

  static Hit* verify_block(const Pair* pairs, size_t count, const uint64_t* queries,
                           const uint64_t* rows, uint32_t max_distance, const Previous& previous,
                           Hit* out) {
    uint32_t kept[kPairs];
    size_t left = 0;
    for (uint32_t i = 0; i < count; ++i) {
      const Pair& pair = pairs[i];
      const Band& band = previous.band[pair.band];
      kept[left] = i;
      left += band.distance(queries + size_t{pair.query} * W, rows + size_t{pair.row} * W) >=
              band.allowance;
    }
    uint32_t distances[kPairs];
    size_t matches = 0;
    for (size_t i = 0; i < left; ++i) {
      const Pair& pair = pairs[kept[i]];
      const uint32_t d = distance(queries + size_t{pair.query} * W, rows + size_t{pair.row} * W);
      kept[matches] = kept[i];
      distances[matches] = d;
      matches += d <= max_distance;
    }
    for (size_t i = 0; i < matches; ++i) {
      const Pair& pair = pairs[kept[i]];
      const uint32_t band =
          previous.canonical(queries + size_t{pair.query} * W, rows + size_t{pair.row} * W);
      if (band == pair.band) *out++ = {pair.query, pair.row, distances[i]};
    }
    return out;
  }

  static size_t verify(const Pair* pairs, size_t pair_count, const uint64_t* queries,
                       const uint64_t* rows, uint32_t max_distance, const Chain& chain, Hit* out) {
    Hit* const start = out;
    const Previous previous(chain);
    for (size_t i = 0; i < pair_count; i += kPairs) {
      const size_t count = pair_count - i < kPairs ? pair_count - i : kPairs;
      out = verify_block(pairs + i, count, queries, rows, max_distance, previous, out);
    }
    return static_cast<size_t>(out - start);
  }
};

}  // namespace hashmatch::kernel
