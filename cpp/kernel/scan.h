// The linear scan: for (q) for (r) if (popcount(q ^ r) <= max_distance) report.
//
// Vectors hold one word of several rows, so that distances need no horizontal sums. With few
// queries the words are gathered from the rows on the fly; with more, a tile of rows is transposed
// once into word planes on the stack and every query sweeps the planes.
//
// Few rows match, so a sweep tests a lower bound that is cheaper than the distance. With x[w] the
// xor of word w, popcount(x[0] | x[1]) <= popcount(x[0]) + popcount(x[1]): one popcount for 128
// bits, and for uniform rows it is still about 48, well above a useful radius. Groups of rows with
// a row at or under the bound get their exact distances. A radius too large for any bound goes
// there directly, and so do rows much like the query, once several groups of them have been under
// the bound.
//
// Nothing is prefetched: rows are read in order, which the hardware does better by itself.
#pragma once

#include "kernel.h"

namespace hashmatch::kernel {

template <class Isa, unsigned W>
struct Scan {
  using Words = typename Isa::Words;
  using V = typename Words::V;

  static constexpr size_t kGroup = Words::kLanes;  // rows in a vector
  static constexpr size_t kUnroll = 4;             // groups that share a branch
  static constexpr size_t kTileRows = 1024 / W;    // planes of 8 KiB leave room in L1
  static constexpr size_t kTransposeFrom = 4;      // queries that repay the transposition
  static constexpr size_t kPassed = 8;             // branches that show a bound to be of no use

  // Words of groups of rows, gathered from the rows themselves.
  struct Rows {
    const uint64_t* rows;

    template <unsigned N>
    void load(size_t group, V* words) const {
      Isa::template transpose<W, N>(rows + group * kGroup * W, words);
    }

    V distances(size_t group, const uint64_t* query) const {
      const uint64_t* const first = rows + group * kGroup * W;
      if constexpr (requires { Isa::template distances<W>(first, query); }) {
        return Isa::template distances<W>(first, query);
      } else {
        return sum_of_counts(*this, group, query);
      }
    }
  };

  // The same from planes: word w of row i is planes[w * kTileRows + i].
  struct Planes {
    const uint64_t* planes;

    template <unsigned N>
    void load(size_t group, V* words) const {
      for (unsigned w = 0; w < N; ++w) {
        words[w] = Words::load(planes + w * kTileRows + group * kGroup);
      }
    }

    V distances(size_t group, const uint64_t* query) const {
      return sum_of_counts(*this, group, query);
    }
  };

  template <class Source>
  static V sum_of_counts(const Source& source, size_t group, const uint64_t* query) {
    V words[W];
    source.template load<W>(group, words);
    V sum = Words::count(Words::differ(words[0], Words::splat(query[0])));
    for (unsigned w = 1; w < W; ++w) {
      sum = Words::add(sum, Words::count(Words::differ(words[w], Words::splat(query[w]))));
    }
    return sum;
  }

  struct Query {
    const uint64_t* code;
    V limit;
    uint32_t index;
  };

  // The exact distances of one group; lanes from `lanes` on are not rows.
  template <class Source>
  static Hit* report_group(const Source& source, size_t group, size_t lanes, const Query& query,
                           uint32_t first_row, Hit* out) {
    const V sum = source.distances(group, query.code);
    const auto within = Words::at_most(sum, query.limit);
    if (!Words::any(within)) return out;
    uint64_t distance[kGroup];
    Words::store(distance, sum);
    const uint64_t bits = Words::bits(within);
    const auto row = first_row + static_cast<uint32_t>(group * kGroup);
    // No branch: where some of a group match, which is a coin toss.
    for (uint32_t lane = 0; lane < lanes; ++lane) {
      *out = {query.index, row + lane, static_cast<uint32_t>(distance[lane])};
      out += bits >> (lane * Words::kBitStride) & 1;
    }
    return out;
  }

  // popcount of the first Fold words' differences or-ed together: no more than the distance.
  template <unsigned Fold, class Source>
  static V lower_bound(const Source& source, size_t group, const V* query) {
    V words[Fold];
    source.template load<Fold>(group, words);
    V x = Words::differ(words[0], query[0]);
    for (unsigned w = 1; w < Fold; ++w) x = Words::either(x, words[w], query[w]);
    return Words::count(x);
  }

  // One query against whole groups of rows. Fold == 0: no bound is of use.
  template <unsigned Fold, class Source>
  static Hit* sweep(const Source& source, size_t groups, const Query& query, uint32_t first_row,
                    Hit* out) {
    size_t g = 0;
    if constexpr (Fold != 0) {
      V code[Fold];
      for (unsigned w = 0; w < Fold; ++w) code[w] = Words::splat(query.code[w]);
      for (size_t passed = 0; g + kUnroll <= groups && passed < kPassed; g += kUnroll) {
        V least = lower_bound<Fold>(source, g, code);
        for (size_t u = 1; u < kUnroll; ++u) {
          least = Words::min(least, lower_bound<Fold>(source, g + u, code));
        }
        if (!Words::any(Words::at_most(least, query.limit))) continue;
        ++passed;
        for (size_t u = 0; u < kUnroll; ++u) {
          out = report_group(source, g + u, kGroup, query, first_row, out);
        }
      }
    }
    for (; g < groups; ++g) out = report_group(source, g, kGroup, query, first_row, out);
    return out;
  }

  static void transpose_tile(const uint64_t* rows, size_t groups, uint64_t* planes) {
    for (size_t g = 0; g < groups; ++g) {
      V words[W];
      Isa::template transpose<W, W>(rows + g * kGroup * W, words);
      for (unsigned w = 0; w < W; ++w) Words::store(planes + w * kTileRows + g * kGroup, words[w]);
    }
  }

  // Fewer rows than a group has, copied so that nothing past them is read.
  static Hit* scan_tail(const uint64_t* queries, size_t query_count, const uint64_t* rows,
                        size_t count, V limit, uint32_t first_row, Hit* out) {
    alignas(64) uint64_t padded[kGroup * W] = {};
    __builtin_memcpy(padded, rows, count * W * 8);
    const Rows source{padded};
    for (size_t q = 0; q < query_count; ++q) {
      const Query query{queries + q * W, limit, static_cast<uint32_t>(q)};
      out = report_group(source, 0, count, query, first_row, out);
    }
    return out;
  }

  template <unsigned Fold>
  static size_t run(const uint64_t* queries, size_t query_count, const uint64_t* rows,
                    size_t row_count, uint32_t max_distance, Hit* out) {
    Hit* const start = out;
    const V limit = Words::splat(max_distance < 64 * W ? max_distance : 64 * W);
    const bool transposed = W > 1 && query_count >= kTransposeFrom;
    const size_t step = query_count == 1 ? row_count : kTileRows;
    for (size_t row = 0; row < row_count; row += step) {
      const size_t count = row_count - row < step ? row_count - row : step;
      const size_t groups = count / kGroup;
      const uint64_t* const tile = rows + row * W;
      const auto first_row = static_cast<uint32_t>(row);
      alignas(64) uint64_t planes[W > 1 ? kTileRows * W : 1];
      if (transposed) transpose_tile(tile, groups, planes);
      for (size_t q = 0; q < query_count; ++q) {
        const Query query{queries + q * W, limit, static_cast<uint32_t>(q)};
        out = transposed ? sweep<Fold>(Planes{planes}, groups, query, first_row, out)
                         : sweep<Fold>(Rows{tile}, groups, query, first_row, out);
      }
      if (count % kGroup != 0) {
        out = scan_tail(queries, query_count, tile + groups * kGroup * W, count % kGroup, limit,
                        static_cast<uint32_t>(row + groups * kGroup), out);
      }
    }
    return static_cast<size_t>(out - start);
  }

  // The widest radius for which a bound over one, two, four words of uniform rows (means 32, 48, 60
  // of 64 bits) lets fewer than some 2 % of the branches through.
  static size_t scan(const uint64_t* queries, size_t query_count, const uint64_t* rows,
                     size_t row_count, uint32_t max_distance, Hit* out) {
    if constexpr (W == 1) {
      if (max_distance <= 18) {
        return run<1>(queries, query_count, rows, row_count, max_distance, out);
      }
    } else {
      if (max_distance <= 36) {
        return run<2>(queries, query_count, rows, row_count, max_distance, out);
      }
    }
    if constexpr (W == 4) {
      if (max_distance <= 53) {
        return run<4>(queries, query_count, rows, row_count, max_distance, out);
      }
    }
    return run<0>(queries, query_count, rows, row_count, max_distance, out);
  }
};

}  // namespace hashmatch::kernel
