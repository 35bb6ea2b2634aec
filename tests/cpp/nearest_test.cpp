// nearest against brute force.
#include <doctest/doctest.h>

#include <vector>

#include "image.h"
#include "index/builder.h"
#include "rows.h"
#include "search/search.h"

using namespace hashmatch;
using namespace hashmatch::test;

namespace {

struct Known {
  Known(DataKind kind, unsigned bits, size_t count, Random& random)
      : rows(rows_of_kind(kind, bits, count, random)), ids(scattered(count, random)) {
    const std::vector<unsigned> radii = {0, 1, 4, 8, 12, 31};
    queries = planted_queries(rows, radii, 25, random);
    rankings = rank(rows, ids, queries);
  }

  void check(const State& state, uint64_t k, unsigned max_distance, unsigned threads) const {
    CAPTURE(k);
    CAPTURE(max_distance);
    CAPTURE(threads);
    const Results results =
        nearest(state, queries.bytes().data(), queries.size(), k, {max_distance, 0, threads, {}});
    CHECK(difference(results, rankings, max_distance, k) == "");
  }

  Rows rows;
  std::vector<uint64_t> ids;
  Rows queries{64};
  std::vector<Ranking> rankings;
};

}  // namespace

TEST_SUITE_BEGIN("engine");

TEST_CASE("nearest is exact, ties by id") {
  Random random(21);
  for (const unsigned bits : kWidths) {
    for (const DataKind kind : kKinds) {
      CAPTURE(bits);
      CAPTURE(name_of(kind));
      for (const size_t count : {0U, 1U, 5U, 6000U}) {
        CAPTURE(count);
        const Known known(kind, bits, count, random);
        for (const int made_for : {-1, 0}) {
          const State state = state_of(Segment::from_image(
              build_image({bits, made_for, "", known.rows.bytes(), known.ids, 2})));
          for (const uint64_t k : {uint64_t{1}, uint64_t{3}, uint64_t{10}, uint64_t{7000}}) {
            for (const unsigned max_distance : {0U, 1U, 8U, 31U, bits}) {
              known.check(state, k, max_distance, 2);
            }
          }
          known.check(state, UINT64_MAX, bits, 1);
        }
      }
    }
  }
}

TEST_CASE("nearest in every layout") {
  Random random(22);
  for (const unsigned bits : kWidths) {
    const Known known(DataKind::kClusters, bits, 8000, random);
    for (const Layout& layout : layouts_of(bits, random)) {
      CAPTURE(name_of(layout));
      const State state = state_of(naive_segment(layout, known.rows, known.ids));
      for (const uint64_t k : {uint64_t{1}, uint64_t{20}}) {
        for (const unsigned max_distance : {3U, 20U, bits}) known.check(state, k, max_distance, 2);
      }
    }
  }
}

TEST_CASE("nearest over several segments, less what is removed") {
  Random random(23);
  const Known known(DataKind::kClusters, 128, 6000, random);
  State state;
  state.bits = 128;
  Rows left(128);
  std::vector<uint64_t> left_ids;
  for (size_t part = 0; part < 3; ++part) {
    const auto codes = known.rows.bytes().subspan(part * 2000 * 16, 2000 * 16);
    const auto ids = std::span(known.ids).subspan(part * 2000, 2000);
    auto segment = Segment::from_image(build_image({128, 8, "", codes, ids, 1}));
    std::vector<uint32_t> removed;
    for (uint32_t entry = 0; entry < segment->entries(); entry += 4) removed.push_back(entry);
    const auto buried = Tombstones().with(removed);
    for (size_t i = 0; i < ids.size(); ++i) {
      if (buried->contains(*segment->find(ids[i]))) continue;
      left.append(codes.data() + i * 16);
      left_ids.push_back(ids[i]);
    }
    state.segments.push_back({segment, buried});
  }
  const auto rankings = rank(left, left_ids, known.queries);
  for (const uint64_t k : {uint64_t{1}, uint64_t{9}}) {
    const Results results =
        nearest(state, known.queries.bytes().data(), known.queries.size(), k, {128, 0, 2, {}});
    CHECK(difference(results, rankings, 128, k) == "");
  }
}

TEST_SUITE_END();
