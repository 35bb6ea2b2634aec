// Which groups of ids have codes near enough of a set of queries: videos, whose frames' signals
// have ids that follow one another, and the frames of an upload.
//
// Naive version: search for all queries, and for each group add up the weights of the queries that
// are near one of its ids. A frame that a hundred thousand videos share (black, a logo) makes that
// long, and says little. So the queries are taken in the order of how many ids they find, which is
// known from the rows before any id is read (segments hold each code once). A group that lacks
// more than the allowed weight among any of the queries cannot reach what is needed; the rarest
// queries alone leave few groups, and the others' ids are never looked at.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "search/search.h"

namespace hashmatch {

// Groups have ids that do not overlap. Group g has those from first[g] on, before the next group's;
// ids from until[g] on belong to none until the next group begins. Where groups follow one another
// without a gap, until is where the last of them ends.
struct Groups {
  std::span<const uint64_t> first;  // ascending
  std::span<const uint64_t> until;  // one each

  static constexpr uint32_t kNone = UINT32_MAX;
  size_t size() const { return first.size(); }
};

struct GroupSearch {
  Groups groups;
  std::span<const uint32_t> weights;  // of each query
  // The weights of the queries near a group must sum up to so much, 1 at least.
  uint64_t needed = 1;
  // Whether ids that are in no group are wanted.
  bool others = false;
};

struct NearGroups {
  // Every group that reaches what is needed, and maybe some that do not; ascending.
  std::vector<uint32_t> groups;
  // Every id in no group that is near any query; ascending.
  std::vector<uint64_t> others;
};

// `queries` are rows of bits / 8 bytes, `count` of them; of the options `limit` and `progress` are
// not used.
NearGroups near_groups(const State& state, const std::byte* queries, size_t count,
                       const GroupSearch& wanted, const SearchOptions& options);

}  // namespace hashmatch
