// Searching one state of an index: the union over its segments and chunks, less what is removed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "search/state.h"

namespace hashmatch {

// Columns, ordered by query, distance, id. The matches of query i are [offsets[i], offsets[i + 1]).
struct Results {
  std::vector<uint64_t> id;
  std::vector<uint16_t> distance;
  std::vector<int64_t> offsets = {0};

  std::vector<int64_t> query() const;
};

// What a match's id allows: ids from from[i] on, up to from[i + 1], match within most[i], or not at
// all where that is negative, or below from[0].
struct IdLimits {
  std::span<const uint64_t> from;  // ascending
  std::span<const int16_t> most;   // one each

  bool pass(uint64_t id, uint32_t distance) const {
    if (from.empty()) return true;  // no limits
    const auto next = std::upper_bound(from.begin(), from.end(), id);
    return next != from.begin() &&
           static_cast<int>(distance) <= most[static_cast<size_t>(next - from.begin()) - 1];
  }
};

struct SearchOptions {
  uint32_t max_distance = 0;
  uint64_t limit = 0;    // matches kept of each query, the first in order; 0: all
  unsigned threads = 0;  // 0: all cores
  // Called between blocks of queries with (done, total), on the calling thread. May throw to stop.
  std::function<void(size_t, size_t)> progress;
  IdLimits limits = {};  // not for nearest
};

// Every id within max_distance of each query. `queries` are rows of words, `count` of them.
Results search(const State& state, const std::byte* queries, size_t count,
               const SearchOptions& options);

// The k nearest ids within max_distance of each query, ties by id. `limit` is not used.
Results nearest(const State& state, const std::byte* queries, size_t count, uint64_t k,
                const SearchOptions& options);

// Every query against every one of `rows`, which are codes of bits / 8 bytes: no index, ids are row
// numbers. `limit` and `progress` are not used.
Results scan(std::span<const std::byte> rows, unsigned bits, const std::byte* queries, size_t count,
             const SearchOptions& options);

}  // namespace hashmatch
