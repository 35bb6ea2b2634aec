// search against brute force: every layout, kind of data, number of rows and of queries, radius.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "image.h"
#include "index/builder.h"
#include "oracle.h"
#include "rows.h"
#include "search/search.h"

using namespace hashmatch;
using namespace hashmatch::test;

namespace {

// A set of rows, queries of it, and the answers.
struct Case {
  Case(Rows known, Rows wanted, Random& random)
      : rows(std::move(known)),
        ids(scattered(rows.size(), random)),
        queries(std::move(wanted)),
        rankings(rank(rows, ids, queries)) {}

  void check(const State& state, unsigned radius, unsigned threads, size_t count,
             uint64_t limit = 0) const {
    CAPTURE(radius);
    CAPTURE(threads);
    CAPTURE(count);
    const SearchOptions options{radius, limit, threads, {}};
    const Results results = search(state, queries.bytes().data(), count, options);
    const std::string wrong = difference(results, std::span(rankings).first(count), radius, limit);
    CHECK(wrong == "");
  }

  void check(const State& state, unsigned radius) const {
    check(state, radius, 1, queries.size());
    check(state, radius, 2, queries.size());
    check(state, radius, 1, std::min<size_t>(8, queries.size()));
  }

  Rows rows;
  std::vector<uint64_t> ids;
  Rows queries;
  std::vector<Ranking> rankings;
};

// Radii at which plans change, and the ends.
std::vector<unsigned> radii_of(unsigned bits) {
  return {0, 1, 2, 3, 5, 8, 10, 15, 16, 24, 31, 48, bits};
}

std::shared_ptr<const Segment> built(const Case& of, int max_distance, unsigned threads = 2) {
  return Segment::from_image(
      build_image({of.rows.bits(), max_distance, "", of.rows.bytes(), of.ids, threads}));
}

}  // namespace

TEST_SUITE_BEGIN("engine");

TEST_CASE("the distance used by these tests is the oracle's") {
  Random random(1);
  for (const unsigned bits : kWidths) {
    const Rows rows = uniform(bits, 50, random);
    for (size_t i = 1; i < rows.size(); ++i) {
      std::array<uint64_t, 4> a{}, b{};
      std::memcpy(a.data(), rows.row(i), bits / 8);
      std::memcpy(b.data(), rows.row(i - 1), bits / 8);
      CHECK(test::distance(bits, rows.row(i), rows.row(i - 1)) ==
            oracle::distance(a.data(), b.data(), 0, bits));
    }
  }
}

TEST_CASE("search is exact for every layout and kind of data") {
  Random random(2);
  for (const unsigned bits : kWidths) {
    const auto layouts = layouts_of(bits, random);
    const auto radii = radii_of(bits);
    for (const DataKind kind : kKinds) {
      Rows rows = rows_of_kind(kind, bits, 1500, random);
      Rows queries = planted_queries(rows, radii, 10, random);
      const Case of(std::move(rows), std::move(queries), random);
      // Each kind meets every other layout, and each layout every other kind.
      for (size_t i = static_cast<size_t>(kind) % 2; i < layouts.size(); i += 2) {
        const Layout& layout = layouts[i];
        CAPTURE(name_of(layout));
        CAPTURE(name_of(kind));
        for (const size_t clumps : {0U, 5U}) {
          if (clumps != 0 && layout.band_count() < 2) continue;
          CAPTURE(clumps);
          const State state = state_of(naive_segment(layout, of.rows, of.ids, clumps));
          for (const unsigned radius : radii) of.check(state, radius);
        }
      }
    }
  }
}

TEST_CASE("search is exact where many queries meet each bucket") {
  Random random(3);
  for (const unsigned bits : kWidths) {
    const auto layouts = layouts_of(bits, random);
    for (const DataKind kind : kKinds) {
      Rows rows = rows_of_kind(kind, bits, 5000, random);
      // Past these most rows of 64 bits match, and little is learnt of buckets.
      const std::vector<unsigned> radii = bits == 64 ? std::vector{2U, 8U} : std::vector{12U, 31U};
      Rows queries = planted_queries(rows, radii, 150, random);
      // Queries that share buckets: copies of a few rows, flipped here and there.
      while (queries.size() < 300) {
        queries.append(rows.row(queries.size() % 7));
        flip_some(queries, queries.size() - 1, static_cast<unsigned>(queries.size() % 9), random);
      }
      const Case of(std::move(rows), std::move(queries), random);
      for (size_t i = 1 + static_cast<size_t>(kind) % 3; i < layouts.size(); i += 3) {
        CAPTURE(name_of(layouts[i]));
        CAPTURE(name_of(kind));
        const size_t clumps = i % 2 == 0 ? 0 : 5;
        CAPTURE(clumps);
        const State state = state_of(naive_segment(layouts[i], of.rows, of.ids, clumps));
        for (const unsigned radius : radii) of.check(state, radius, 2, of.queries.size());
      }
    }
  }
}

TEST_CASE("search is exact for every radius") {
  Random random(4);
  for (const unsigned bits : kWidths) {
    CAPTURE(bits);
    std::vector<unsigned> radii(65);
    std::iota(radii.begin(), radii.end(), 0U);
    for (const size_t count : {7U, 400U, 5000U}) {
      Rows rows = rows_of_kind(count == 400 ? DataKind::kClusters : DataKind::kUniform, bits, count,
                               random);
      Rows queries = planted_queries(rows, radii, 2, random);
      const Case of(std::move(rows), std::move(queries), random);
      for (const int made_for : {0, 31}) {
        const State state = state_of(built(of, made_for));
        for (const unsigned radius : radii) of.check(state, radius, 2, of.queries.size());
        of.check(state, bits, 2, of.queries.size());
      }
    }
  }
}

// Of each width and kernel at least 10^6 pairs.
TEST_CASE("search is exact for every number of rows") {
  Random random(5);
  for (const unsigned bits : kWidths) {
    CAPTURE(bits);
    for (const size_t count :
         {0U, 1U, 2U, 3U, 7U, 8U, 9U, 63U, 64U, 65U, 255U, 2047U, 2048U, 2049U, 40'001U}) {
      CAPTURE(count);
      Rows rows = rows_of_kind(count % 2 == 0 ? DataKind::kDuplicates : DataKind::kUniform, bits,
                               count, random);
      const auto radii = radii_of(bits);
      Rows queries = planted_queries(rows, radii, 5, random);
      const Case of(std::move(rows), std::move(queries), random);
      for (const int made_for : {-1, 0, 4}) {
        const State state = state_of(built(of, made_for));
        for (const unsigned radius : {0U, 1U, 3U, 4U, 8U, 31U}) {
          of.check(state, radius, 2, of.queries.size());
          of.check(state, radius, 1, std::min<size_t>(8, of.queries.size()));
        }
      }
    }
  }
}

TEST_CASE("buckets larger than a slice or a tile") {
  Random random(6);
  constexpr size_t kCount = 100'000;
  for (const unsigned sketch : {16U, 32U}) {
    // A first band of 1 bit is dear, and probed only where all others are at a high radius.
    std::vector<unsigned> widths = {1};
    for (unsigned at = 1; at < 256; at += widths.back()) widths.push_back(at == 1 ? 7 : 8);
    REQUIRE(widths.size() <= kernel::kMaxBands + 1);
    widths.pop_back();
    widths.back() += 8;
    const Layout layout = layout_with(256, sketch, widths);
    CAPTURE(name_of(layout));
    Rows rows = rows_of_kind(DataKind::kUniform, 256, kCount, random);
    const std::vector<unsigned> radii = {0, 31, 60, 70, 80, 90};
    Rows queries = planted_queries(rows, radii, 60, random);
    const Case of(std::move(rows), std::move(queries), random);
    const State state = state_of(naive_segment(layout, of.rows, of.ids));
    for (const unsigned radius : radii) of.check(state, radius);
  }
}

// Half the rows share a value in a band of 3 bits, where so much is usual, and in one of 8 bits,
// where it is not. Their buckets take several tiles for a single query, and many queries meet them,
// as they do the buckets of which a tile takes some queries.
TEST_CASE("buckets larger than a tile, met by many queries") {
  Random random(13);
  constexpr size_t kCount = 80'000;
  constexpr size_t kShared = 34'000;
  constexpr uint32_t kValue = 5;
  Rows rows = uniform(64, kCount, random);
  Rows queries = uniform(64, 100, random);
  const auto share = [](Rows& of, size_t i) {
    of.set(i, 0, 3, kValue);
    of.set(i, 11, 8, 0xA5);
  };
  for (size_t i = 0; i < kShared; ++i) share(rows, i);
  for (size_t i = 0; i < 40; ++i) share(queries, i);
  for (size_t i = 40; i < 70; ++i) queries.set(i, 0, 3, kValue + 1);
  const auto ids = consecutive(kCount);
  const auto rankings = rank(rows, ids, queries);
  for (const unsigned sketch : {16U, 32U}) {
    const Layout layout = layout_with(64, sketch, {3, 8, 8, 8, 8, 8, 7, 7, 7});
    CAPTURE(name_of(layout));
    const auto segment = naive_segment(layout, rows, ids);
    REQUIRE(segment->buckets(0)[kValue + 1] - segment->buckets(0)[kValue] > 1 << 15);
    for (const unsigned radius : {16U, 20U, 23U}) {
      CAPTURE(radius);
      REQUIRE(!segment->plan(radius).scan);
      REQUIRE(segment->plan(radius).radius[0] >= 0);
      for (const unsigned threads : {1U, 2U}) {
        const Results results = search(state_of(segment), queries.bytes().data(), queries.size(),
                                       {radius, 0, threads, {}});
        CHECK(difference(results, rankings, radius) == "");
      }
    }
  }
}

TEST_CASE("one query among many heavy buckets") {
  Random random(7);
  for (const unsigned bits : {64U, 256U}) {
    for (const DataKind kind :
         {DataKind::kPoisoned, DataKind::kClusters, DataKind::kOneCentre, DataKind::kLowEntropy}) {
      Rows rows = rows_of_kind(kind, bits, 40'000, random);
      const std::vector<unsigned> radii = {0, 3, 8, 12, 20, 31};
      Rows queries = planted_queries(rows, radii, 2, random);
      const Case of(std::move(rows), std::move(queries), random);
      for (const unsigned sketch : {16U, 32U}) {
        const Layout layout{bits, sketch, even_bands(bits, (bits + 12) / 13)};
        CAPTURE(name_of(layout));
        CAPTURE(name_of(kind));
        const State state = state_of(naive_segment(layout, of.rows, of.ids));
        for (const unsigned radius : radii) of.check(state, radius);
      }
    }
  }
}

TEST_CASE("the layouts that are chosen are exact too") {
  Random random(8);
  std::set<std::string> seen;
  for (const unsigned bits : kWidths) {
    Rows rows = rows_of_kind(DataKind::kClusters, bits, 20'000, random);
    const std::vector<unsigned> radii = {0, 1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 31, 40};
    Rows queries = planted_queries(rows, radii, 4, random);
    const Case of(std::move(rows), std::move(queries), random);
    for (const unsigned made_for : radii) {
      const auto segment = built(of, static_cast<int>(made_for));
      if (!seen.insert(name_of(segment->layout())).second) continue;
      CAPTURE(name_of(segment->layout()));
      for (const unsigned radius : radii) of.check(state_of(segment), radius);
    }
  }
  CHECK(seen.size() > 8);
}

TEST_CASE("limit keeps the first matches of each query") {
  Random random(9);
  Rows rows = rows_of_kind(DataKind::kOneCentre, 64, 5000, random);
  const std::vector<unsigned> radii = {0, 5, 9};
  Rows queries = planted_queries(rows, radii, 20, random);
  const Case of(std::move(rows), std::move(queries), random);
  const State state = state_of(built(of, 8));
  for (const uint64_t limit : {uint64_t{1}, uint64_t{2}, uint64_t{100}, UINT64_MAX}) {
    for (const unsigned radius : {0U, 8U, 64U}) {
      of.check(state, radius, 2, of.queries.size(), limit);
      of.check(state, radius, 1, 3, limit);
    }
  }
}

TEST_CASE("removed rows are not found") {
  Random random(10);
  for (const unsigned bits : kWidths) {
    const Rows rows = rows_of_kind(DataKind::kDuplicates, bits, 5000, random);
    const auto ids = consecutive(rows.size());
    const auto segment = Segment::from_image(build_image({bits, -1, "", rows.bytes(), ids, 2}));
    State state = state_of(segment);
    std::vector<uint32_t> removed;
    Rows left(bits);
    std::vector<uint64_t> left_ids;
    for (const uint64_t id : ids) {
      if (id % 3 == 0) {
        removed.push_back(*segment->find(id));
      } else {
        left.append(rows.row(id));
        left_ids.push_back(id);
      }
    }
    std::ranges::sort(removed);
    state.segments[0].removed = Tombstones().with(removed);
    CHECK(state.live() == left_ids.size());
    const std::vector<unsigned> radii = {0, 8, 31};
    const Rows queries = planted_queries(rows, radii, 10, random);
    const auto rankings = rank(left, left_ids, queries);
    for (const unsigned radius : radii) {
      const Results results =
          search(state, queries.bytes().data(), queries.size(), {radius, 0, 2, {}});
      CHECK(difference(results, rankings, radius) == "");
    }
  }
}

TEST_CASE("a linear scan of plain arrays, aligned or not") {
  Random random(11);
  for (const unsigned bits : kWidths) {
    for (const size_t count : {0U, 1U, 7U, 8U, 9U, 100U, 5000U}) {
      const Rows rows = uniform(bits, count, random);
      const auto ids = consecutive(count);
      const std::vector<unsigned> radii = {0, 4, 31};
      const Rows queries = planted_queries(rows, radii, 70, random);
      const auto rankings = rank(rows, ids, queries);
      for (const size_t shift : {0U, 1U, 4U}) {
        std::vector<std::byte> moved(shift);
        moved.insert(moved.end(), rows.bytes().begin(), rows.bytes().end());
        for (const unsigned radius : {0U, 4U, 31U, bits}) {
          const Results results = scan(std::span(moved).subspan(shift), bits,
                                       queries.bytes().data(), queries.size(), {radius, 0, 2, {}});
          CHECK(difference(results, rankings, radius) == "");
        }
      }
    }
  }
}

TEST_CASE("progress counts queries and may stop the search") {
  Random random(12);
  const Rows rows = uniform(64, 10, random);
  const auto ids = consecutive(rows.size());
  const State state = state_of(Segment::from_image(build_image({64, 3, "", rows.bytes(), ids, 1})));
  const Rows queries = uniform(64, 300'000, random);
  std::vector<size_t> done;
  SearchOptions options{0, 0, 2, [&](size_t now, size_t total) {
                          CHECK(total == queries.size());
                          done.push_back(now);
                        }};
  const Results results = search(state, queries.bytes().data(), queries.size(), options);
  CHECK(results.offsets.size() == queries.size() + 1);
  CHECK(done.size() > 1);
  CHECK(std::ranges::is_sorted(done));
  CHECK(done.back() == queries.size());
  options.progress = [](size_t, size_t) { throw std::runtime_error("enough"); };
  CHECK_THROWS_WITH(search(state, queries.bytes().data(), queries.size(), options), "enough");
}

TEST_CASE("results name the query of each match") {
  Results results;
  results.id = {5, 6, 7};
  results.distance = {0, 0, 1};
  results.offsets = {0, 0, 2, 2, 3};
  CHECK(results.query() == std::vector<int64_t>{1, 1, 3});
}

TEST_SUITE_END();
