// near_groups and distinct against brute force.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "rows.h"
#include "search/distinct.h"
#include "search/groups.h"
#include "search/index.h"

using namespace hashmatch;
using namespace hashmatch::test;

namespace {

// Groups of 1 to 12 ids each, some with ids between them that are in none; their codes are drawn
// from few, so that most are shared.
struct Videos {
  explicit Videos(size_t count, size_t pool_size, Random& random)
      : rows(256), queries(256), pool(uniform(256, pool_size, random)) {
    uint64_t id = 100;
    for (size_t group = 0; group < count; ++group) {
      if (random() % 4 == 0) id = add(id, 1 + random() % 3, random);
      first.push_back(id);
      id = add(id, 1 + random() % 12, random);
      end.push_back(id);
    }
    until = end;
    for (size_t group = count - 1; group-- > 0;) {
      if (end[group] == first[group + 1]) until[group] = until[group + 1];
    }
  }

  uint64_t add(uint64_t id, size_t count, Random& random) {
    for (size_t i = 0; i < count; ++i, ++id) {
      // The first ones of the pool are in most groups.
      rows.append(pool.row(random() % (1 + random() % pool.size())));
      if (random() % 2 == 0)
        flip_some(rows, rows.size() - 1, static_cast<unsigned>(random() % 36), random);
      ids.push_back(id);
    }
    return id;
  }

  Rows rows, queries, pool;
  std::vector<uint64_t> ids, first, end, until;
  std::set<uint64_t> removed;
};

struct Wanted {
  std::vector<uint32_t> groups;
  std::vector<uint64_t> others;
};

Wanted brute_force(const Videos& videos, const Rows& queries, std::span<const uint32_t> weights,
                   uint64_t needed, unsigned radius, const IdLimits& limits) {
  std::map<uint32_t, uint64_t> sums;
  std::set<uint64_t> others;
  for (size_t query = 0; query < queries.size(); ++query) {
    std::set<uint32_t> near;
    for (size_t row = 0; row < videos.rows.size(); ++row) {
      const uint64_t id = videos.ids[row];
      const unsigned far = distance(256, queries.row(query), videos.rows.row(row));
      if (far > radius || videos.removed.contains(id) || !limits.pass(id, far)) continue;
      const auto next = std::upper_bound(videos.first.begin(), videos.first.end(), id);
      const auto group = static_cast<uint32_t>(next - videos.first.begin());
      if (group == 0 || id >= videos.end[group - 1]) {
        others.insert(id);
      } else {
        near.insert(group - 1);
      }
    }
    for (const uint32_t group : near) sums[group] += weights[query];
  }
  Wanted wanted{{}, {others.begin(), others.end()}};
  for (const auto& [group, sum] : sums) {
    if (sum >= needed) wanted.groups.push_back(group);
  }
  return wanted;
}

}  // namespace

TEST_SUITE_BEGIN("engine");

TEST_CASE("near groups are all those that reach what is needed") {
  Random random(7);
  size_t reached = 0, more = 0;
  for (int turn = 0; turn < 40; ++turn) {
    Videos videos(60, 12 + random() % 60, random);
    Index index(256, 31, "");
    const size_t half = videos.rows.size() / 2;
    const auto bytes = videos.rows.bytes();
    index.add(bytes.first(half * 32), std::span(videos.ids).first(half), 1);
    index.compact(1);  // into a segment; the others stay in a chunk
    index.add(bytes.subspan(half * 32), std::span(videos.ids).subspan(half), 1);
    for (size_t i = 0; i < 10; ++i) videos.removed.insert(videos.ids[random() % videos.ids.size()]);
    index.remove(std::vector(videos.removed.begin(), videos.removed.end()));

    const size_t count = 1 + random() % 12;
    Rows queries(256);
    std::vector<uint32_t> weights;
    uint64_t all = 0;
    for (size_t i = 0; i < count; ++i) {
      queries.append(videos.pool.row(random() % videos.pool.size()));
      weights.push_back(1 +
                        static_cast<uint32_t>(random() % (1 + static_cast<unsigned>(turn) % 3)));
      all += weights.back();
    }
    const std::vector<uint64_t> from = {0, videos.ids[half / 2], videos.ids[half]};
    const std::vector<int16_t> most = {31, -1, static_cast<int16_t>(random() % 32)};
    SearchOptions options{31, 0, 1 + static_cast<unsigned>(turn) % 2, {}};
    if (turn % 4 == 0) options.limits = {from, most};
    for (const uint64_t needed : {uint64_t{1}, (all + 1) / 2, (4 * all + 4) / 5, all, all + 1}) {
      const GroupSearch search{{videos.first, videos.until}, weights, needed, true};
      const auto found =
          near_groups(*index.state(), queries.bytes().data(), count, search, options);
      const auto wanted = brute_force(videos, queries, weights, needed, 31, options.limits);
      CHECK(std::ranges::is_sorted(found.groups));
      CHECK(std::ranges::includes(found.groups, wanted.groups));
      CHECK(found.others == wanted.others);
      reached += wanted.groups.size();
      more += found.groups.size() - wanted.groups.size();
    }
  }
  // Few that do not reach it are left to be compared.
  CHECK(reached > 100);
  CHECK(more < reached);
}

TEST_CASE("without groups every near id is in none") {
  Random random(8);
  Videos videos(20, 20, random);
  Index index(256, 31, "");
  index.add(videos.rows.bytes(), videos.ids, 1);
  const std::vector<uint32_t> weights(videos.pool.size(), 1);
  for (const bool others : {true, false}) {
    const GroupSearch search{{}, weights, 1, others};
    const auto found = near_groups(*index.state(), videos.pool.bytes().data(), weights.size(),
                                   search, SearchOptions{0, 0, 1, {}});
    CHECK(found.groups.empty());
    CHECK(found.others.empty() != others);
  }
}

TEST_CASE("distinct rows are the first of each code in each group") {
  Random random(9);
  for (const size_t count : {0U, 1U, 2U, 100U, 3000U}) {
    const Rows pool = uniform(64, 1 + count / 3, random);
    Rows rows(64);
    std::vector<int64_t> groups;
    for (size_t i = 0; i < count; ++i) {
      rows.append(pool.row(random() % pool.size()));
      groups.push_back(static_cast<int64_t>(i / 40 * 3));
    }
    std::map<std::pair<int64_t, std::string>, size_t> place;
    std::vector<int64_t> first, counts;
    for (size_t i = 0; i < count; ++i) {
      const std::string code(reinterpret_cast<const char*>(rows.row(i)), 8);
      const auto [at, fresh] = place.try_emplace({groups[i], code}, first.size());
      if (fresh) first.push_back(static_cast<int64_t>(i));
      if (fresh) counts.push_back(0);
      ++counts[at->second];
    }
    const Distinct found = distinct(rows.bytes(), 8, groups);
    CHECK(found.rows == first);
    CHECK(found.counts == counts);
  }
}

TEST_SUITE_END();
