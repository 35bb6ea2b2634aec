#include "search/groups.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/parallel.h"
#include "index/bit_order.h"
#include "index/code.h"
#include "index/segment_search.h"
#include "kernel/kernel.h"

namespace hashmatch {
namespace {

using kernel::Hit;

// Measured: what a group costs whoever compares all its codes with the queries, and what an id
// costs here.
constexpr double kCompareNs = 50'000;
constexpr double kIdNs = 10;

// The segments and chunks of a state, numbered, by one interface.
class Parts {
 public:
  explicit Parts(const State& state) : state_(state) {}

  // The entries [first, last) of a row, whose ids ascend.
  Segment::EntryRange entries(uint32_t part, uint32_t row) const {
    if (part < segments()) return state_.segments[part].segment->entries_of(row);
    return {row, row + 1};
  }
  uint64_t id(uint32_t part, uint32_t entry) const {
    if (part < segments()) return state_.segments[part].segment->id(entry);
    return chunk(part).chunk->ids[entry];
  }
  bool holds(uint32_t part, uint32_t entry) const {
    return part < segments() ? state_.segments[part].holds(entry) : chunk(part).holds(entry);
  }

 private:
  size_t segments() const { return state_.segments.size(); }
  const ChunkPart& chunk(uint32_t part) const { return state_.chunks[part - segments()]; }

  const State& state_;
};

struct NearRow {
  uint32_t part;
  uint32_t row;
  uint32_t distance;
};

// The rows near each query: those of query q are [begin[q], begin[q + 1]).
struct NearRows {
  std::vector<NearRow> rows;
  std::vector<size_t> begin;

  std::span<const NearRow> of(size_t query) const {
    return {rows.data() + begin[query], begin[query + 1] - begin[query]};
  }
};

// Hits of the parts, one list a worker, each with the number of its part.
class HitLists {
 public:
  explicit HitLists(unsigned threads) : lists(threads) {}

  std::vector<std::vector<Hit>> lists;  // of the part that is being searched

  void end_part(uint32_t part) {
    for (auto& list : lists) {
      for (const Hit& hit : list) found_.push_back({hit.query, {part, hit.row, hit.distance}});
      list.clear();
    }
  }

  NearRows by_query(size_t count) const {
    NearRows near{std::vector<NearRow>(found_.size()), std::vector<size_t>(count + 1)};
    for (const auto& [query, row] : found_) ++near.begin[query + 1];
    std::partial_sum(near.begin.begin(), near.begin.end(), near.begin.begin());
    std::vector<size_t> next(near.begin.begin(), near.begin.end() - 1);
    for (const auto& [query, row] : found_) near.rows[next[query]++] = row;
    return near;
  }

 private:
  struct Found {
    uint32_t query;
    NearRow row;
  };
  std::vector<Found> found_;
};

NearRows rows_near(const State& state, const std::byte* queries, size_t count,
                   const SearchOptions& options) {
  constexpr size_t kStep = 64;
  const unsigned words = words_of(state.bits);
  const unsigned threads = resolve_threads(options.threads);
  std::vector<uint64_t> codes(count * words + kernel::kOverreadBytes / 8);
  widen(queries, count, state.bits, codes.data());
  HitLists hits(threads);
  uint32_t part = 0;
  for (const SegmentPart& each : state.segments) {
    const OrderedCodes ordered(each.segment->order(), codes.data(), count, words);
    search_many(*each.segment, ordered.data(), count, options.max_distance, hits.lists);
    hits.end_part(part++);
  }
  std::vector<Scratch> scratch(threads);
  for (const ChunkPart& each : state.chunks) {
    parallel_for((count + kStep - 1) / kStep, threads, [&](size_t task, unsigned worker) {
      const size_t first = task * kStep;
      scan_rows(codes.data() + first * words, std::min(kStep, count - first),
                static_cast<uint32_t>(first), each.chunk->codes.data(), each.rows, 0, words,
                options.max_distance, scratch[worker], hits.lists[worker]);
    });
    hits.end_part(part++);
  }
  return hits.by_query(count);
}

// Finds the groups of ids that ascend for the most part.
class Locator {
 public:
  explicit Locator(const Groups& groups) : groups_(groups) {}

  // The last group that begins at or before the id, whose it is if it is below `until`.
  uint32_t last_before(uint64_t id) {
    const auto& first = groups_.first;
    size_t low = at_;
    if (low >= first.size() || first[low] > id) low = 0;
    // The one wanted is often the next.
    size_t step = 1;
    size_t high = low;
    while (high < first.size() && first[high] <= id) {
      low = high;
      high += step;
      step *= 2;
    }
    const auto end = first.begin() + static_cast<std::ptrdiff_t>(std::min(high, first.size()));
    const auto next = std::upper_bound(first.begin() + static_cast<std::ptrdiff_t>(low), end, id);
    if (next == first.begin()) return Groups::kNone;
    at_ = static_cast<size_t>(next - first.begin()) - 1;
    return static_cast<uint32_t>(at_);
  }

  // The group of an id, or kNone.
  uint32_t group_of(uint64_t id) {
    const uint32_t group = last_before(id);
    return group != Groups::kNone && id < groups_.until[group] ? group : Groups::kNone;
  }

 private:
  const Groups& groups_;
  size_t at_ = 0;
};

// How much of the queries seen so far each group is near, and how many groups have enough.
class Tally {
 public:
  Tally(size_t groups, uint64_t all_weights) : groups_(groups), having_(all_weights + 1) {}

  // Once more for each query, whose numbers never come back.
  void add(uint32_t group, uint32_t query, uint32_t weight) {
    Sum& sum = groups_[group];
    if (sum.after == query + 1) return;
    sum.after = query + 1;
    const uint32_t before = sum.weight;
    if (before == 0) touched_.push_back(group);
    if (before != 0) --having_[before];
    sum.weight += weight;
    ++having_[sum.weight];
    if (before < enough_ && sum.weight >= enough_) ++with_enough_;
  }

  // So much is enough from now on, never less than before.
  void raise(uint64_t enough) {
    for (; enough_ < enough; ++enough_) with_enough_ -= having_[enough_];
  }

  size_t with_enough() const { return with_enough_; }

  std::vector<uint32_t> groups() const {
    std::vector<uint32_t> kept;
    for (const uint32_t group : touched_) {
      if (groups_[group].weight >= enough_) kept.push_back(group);
    }
    std::sort(kept.begin(), kept.end());
    return kept;
  }

 private:
  struct Sum {
    uint32_t after = 0;  // the last query added, and 1
    uint32_t weight = 0;
  };
  std::vector<Sum> groups_;
  std::vector<size_t> having_;  // groups by their weight, where they have any
  std::vector<uint32_t> touched_;
  uint64_t enough_ = 1;
  size_t with_enough_ = 0;
};

class Search {
 public:
  Search(const State& state, const NearRows& near, const GroupSearch& wanted,
         const IdLimits& limits)
      : parts_(state), near_(near), wanted_(wanted), limits_(limits), locator_(wanted.groups) {}

  std::vector<uint32_t> groups() {
    const auto& weights = wanted_.weights;
    const uint64_t all = std::accumulate(weights.begin(), weights.end(), uint64_t{0});
    if (wanted_.needed > all) return {};
    // A group may lack so much.
    const uint64_t spare = all - wanted_.needed;
    const auto queries = rarest_first();
    Tally tally(wanted_.groups.size(), all);
    uint64_t seen = 0;
    double spent_ns = 0;
    for (const auto& [ids, query] : queries) {
      // Once that is less than what was seen, few groups have the rest, and more queries may leave
      // fewer: as long as that costs less than comparing those.
      if (seen > spare) {
        spent_ns += static_cast<double>(ids) * kIdNs;
        if (spent_ns > static_cast<double>(tally.with_enough()) * kCompareNs) break;
      }
      add(tally, query);
      seen += weights[query];
      if (seen > spare) tally.raise(seen - spare);
    }
    return tally.groups();
  }

  std::vector<uint64_t> others() {
    std::vector<uint64_t> found;
    for (const NearRow& near : near_.rows) {
      const auto [first, last] = parts_.entries(near.part, near.row);
      for (uint32_t entry = first; entry < last;) {
        const uint64_t id = parts_.id(near.part, entry);
        const uint32_t group = locator_.last_before(id);
        if (group != Groups::kNone && id < wanted_.groups.until[group]) {
          entry = first_from(near.part, entry + 1, last, wanted_.groups.until[group]);
          continue;
        }
        if (matches(near, entry, id)) found.push_back(id);
        ++entry;
      }
    }
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
    return found;
  }

 private:
  struct Query {
    uint64_t ids;  // that it finds, removed ones too
    uint32_t number;
  };

  std::vector<Query> rarest_first() const {
    std::vector<Query> queries(wanted_.weights.size());
    for (uint32_t number = 0; number < queries.size(); ++number) {
      queries[number].number = number;
      for (const NearRow& near : near_.of(number)) {
        const auto [first, last] = parts_.entries(near.part, near.row);
        queries[number].ids += last - first;
      }
    }
    std::ranges::stable_sort(queries, {}, &Query::ids);
    return queries;
  }

  void add(Tally& tally, uint32_t query) {
    const uint32_t weight = wanted_.weights[query];
    for (const NearRow& near : near_.of(query)) {
      const auto [first, last] = parts_.entries(near.part, near.row);
      for (uint32_t entry = first; entry < last; ++entry) {
        const uint64_t id = parts_.id(near.part, entry);
        const uint32_t group = locator_.group_of(id);
        if (group != Groups::kNone && matches(near, entry, id)) tally.add(group, query, weight);
      }
    }
  }

  bool matches(const NearRow& near, uint32_t entry, uint64_t id) const {
    return parts_.holds(near.part, entry) && limits_.pass(id, near.distance);
  }

  // The first of a row's entries whose id is at least so much.
  uint32_t first_from(uint32_t part, uint32_t first, uint32_t last, uint64_t id) const {
    uint32_t step = 1;
    uint32_t low = first;
    while (first < last && parts_.id(part, first) < id) {
      low = first + 1;
      first += std::min(step, last - first);
      step *= 2;
    }
    for (uint32_t high = first; low < high;) {
      const uint32_t middle = low + (high - low) / 2;
      if (parts_.id(part, middle) < id) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  const Parts parts_;
  const NearRows& near_;
  const GroupSearch& wanted_;
  const IdLimits& limits_;
  Locator locator_;
};

}  // namespace

NearGroups near_groups(const State& state, const std::byte* queries, size_t count,
                       const GroupSearch& wanted, const SearchOptions& options) {
  const NearRows near = rows_near(state, queries, count, options);
  Search search(state, near, wanted, options.limits);
  NearGroups found;
  if (wanted.groups.size() != 0) found.groups = search.groups();
  if (wanted.others) found.others = search.others();
  return found;
}

}  // namespace hashmatch
