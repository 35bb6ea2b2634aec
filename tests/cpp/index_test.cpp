// Index against a map of id to code: adding, removing, folding, saving, and every refusal.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "image.h"
#include "rows.h"
#include "scratch_folder.h"
#include "search/index.h"

using namespace hashmatch;
using namespace hashmatch::test;

namespace {

// An index and what it must hold.
struct Pair {
  explicit Pair(unsigned width, int max_distance = 8)
      : index(width, max_distance, "t"), bits(width) {}

  void add(const Rows& rows, const std::vector<uint64_t>& ids) {
    index.add(rows.bytes(), ids, 2);
    for (size_t i = 0; i < ids.size(); ++i) {
      held[ids[i]].assign(rows.row(i), rows.row(i) + bits / 8);
    }
  }

  void remove(const std::vector<uint64_t>& ids) {
    index.remove(ids);
    for (const uint64_t id : ids) held.erase(id);
  }

  void check(const Index& of, Random& random) const {
    Rows rows(bits);
    std::vector<uint64_t> ids;
    for (const auto& [id, code] : held) {
      rows.append(code.data());
      ids.push_back(id);
    }
    CHECK(of.size() == ids.size());
    CHECK(of.ids() == ids);
    Rows codes(bits, ids.size());
    of.codes(ids, codes.row(0));
    CHECK(std::ranges::equal(codes.bytes(), rows.bytes()));
    const std::vector<unsigned> radii = {0, 3, 8, 20};
    const Rows queries = planted_queries(rows, radii, 12, random);
    const auto rankings = rank(rows, ids, queries);
    for (const unsigned radius : radii) {
      const SearchOptions options{radius, 0, 2, {}};
      const auto* bytes = queries.bytes().data();
      CHECK(difference(search(*of.state(), bytes, queries.size(), options), rankings, radius) ==
            "");
      const Results first = search(*of.state(), bytes, 1, options);
      CHECK(difference(first, std::span(rankings).first(1), radius) == "");
      CHECK(difference(nearest(*of.state(), bytes, queries.size(), 5, options), rankings, radius,
                       5) == "");
    }
  }

  void check(Random& random) const { check(index, random); }

  Index index;
  unsigned bits;
  std::map<uint64_t, std::vector<std::byte>> held;
};

void wait_for_folding(const Index& index) {
  for (int i = 0;
       i < 600 && (index.state()->chunk_rows() >= 16384 || index.state()->segments.size() > 5);
       ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

}  // namespace

TEST_SUITE_BEGIN("base");

TEST_CASE("an empty index") {
  for (const unsigned bits : kWidths) {
    Random random(41);
    Pair pair(bits);
    pair.check(random);
    pair.add(Rows(bits), {});
    pair.remove({});
    pair.index.compact(1);
    pair.check(random);
    CHECK(!pair.index.contains(0));
    CHECK(pair.index.size_bytes() == 0);
    CHECK(pair.index.state()->segments.empty());
  }
}

TEST_CASE("random changes of every size") {
  for (const unsigned bits : kWidths) {
    Random random(bits);
    Pair pair(bits);
    for (int round = 0; round < 40; ++round) {
      const size_t count = random() % 4 == 0 ? random() % 3000 : random() % 5;
      const Rows rows = rows_of_kind(kKinds[random() % 7], bits, count, random);
      auto ids = scattered(count, random);
      std::erase_if(ids, [&](uint64_t id) { return pair.held.contains(id); });
      Rows kept(bits);
      for (size_t i = 0; i < ids.size(); ++i) kept.append(rows.row(i));
      pair.add(kept, ids);
      std::vector<uint64_t> gone;
      for (const auto& [id, code] : pair.held) {
        if (random() % 5 == 0) gone.push_back(id);
      }
      std::ranges::shuffle(gone, random);
      pair.remove(gone);
      if (round % 9 == 4) pair.index.compact(2);
      if (round % 4 == 0) pair.check(random);
      if (!gone.empty()) CHECK(!pair.index.contains(gone[0]));
    }
    pair.index.compact(2);
    pair.check(random);
    CHECK(pair.index.state()->is_one_clean_segment());
  }
}

TEST_CASE("an id that was removed may be used again") {
  Random random(42);
  Pair pair(64);
  const auto ids = consecutive(3000);
  pair.add(uniform(64, 3000, random), ids);
  pair.index.compact(2);
  for (int round = 0; round < 3; ++round) {
    std::vector<uint64_t> some = {7, 2999, 0, 1500};
    pair.remove(some);
    CHECK(!pair.index.contains(7));
    pair.add(uniform(64, some.size(), random), some);
    CHECK(pair.index.contains(7));
    pair.check(random);
    if (round == 1) pair.index.compact(1);
  }
  pair.index.compact(2);
  pair.check(random);
}

TEST_CASE("ids are consecutive past all that were ever held") {
  Random random(43);
  Index index(64, 3, "");
  CHECK(index.add(uniform(64, 3, random).bytes(), 1) == 0);
  CHECK(index.add(uniform(64, 2, random).bytes(), 1) == 3);
  index.remove(std::vector<uint64_t>{4});
  CHECK(index.add(uniform(64, 1, random).bytes(), 1) == 5);
  index.add(uniform(64, 1, random).bytes(), std::vector<uint64_t>{1000}, 1);
  CHECK(index.add(uniform(64, 1, random).bytes(), 1) == 1001);
  CHECK(index.add({}, 1) == 1002);
  // The largest id there is: none follows it, but smaller ones may still be given.
  const std::vector<uint64_t> last = {UINT64_MAX};
  index.add(uniform(64, 1, random).bytes(), std::vector<uint64_t>{UINT64_MAX - 1}, 1);
  CHECK_THROWS_AS(index.add(uniform(64, 2, random).bytes(), 1), InvalidArgument);
  CHECK(index.add(uniform(64, 1, random).bytes(), 1) == UINT64_MAX);
  CHECK_THROWS_AS(index.add(uniform(64, 1, random).bytes(), 1), InvalidArgument);
  CHECK_THROWS_AS(index.add(uniform(64, 1, random).bytes(), last, 1), InvalidArgument);
  CHECK_THROWS_AS(index.add(uniform(64, 1, random).bytes(), std::vector<uint64_t>{5}, 1),
                  InvalidArgument);
  index.add(uniform(64, 1, random).bytes(), std::vector<uint64_t>{77}, 1);
  index.compact(1);
  CHECK_THROWS_AS(index.add(uniform(64, 1, random).bytes(), last, 1), InvalidArgument);
  index.remove(last);
  index.add(uniform(64, 1, random).bytes(), last, 1);
  CHECK(index.size() == 10);
}

TEST_CASE("a refused change changes nothing") {
  Random random(44);
  for (const bool compacted : {false, true}) {
    Pair pair(256);
    pair.add(uniform(256, 3000, random), consecutive(3000, 10));
    if (compacted) pair.index.compact(2);
    const uint64_t generation = pair.index.state()->generation;
    const Rows two = uniform(256, 2, random);
    for (const std::vector<uint64_t>& ids :
         {std::vector<uint64_t>{5000, 10}, {3009, 1}, {4000, 4000}}) {
      CHECK_THROWS_AS(pair.index.add(two.bytes(), ids, 1), InvalidArgument);
    }
    // As many as make the check walk the segment's ids side by side.
    const Rows many = uniform(256, 2000, random);
    CHECK_THROWS_WITH_AS(pair.index.add(many.bytes(), consecutive(2000, 3009), 1),
                         "id 3009 is in the index already; nothing was added", InvalidArgument);
    for (const std::vector<uint64_t>& ids :
         {std::vector<uint64_t>{10, 9}, {11, 11}, {3010}, {UINT64_MAX}}) {
      CHECK_THROWS_AS(pair.index.remove(ids), NotFound);
    }
    std::byte code[32];
    CHECK_THROWS_WITH_AS(pair.index.codes(std::vector<uint64_t>{9}, code),
                         "id 9 is not in the index", NotFound);
    CHECK(pair.index.state()->generation == generation);
    pair.check(random);
  }
}

TEST_CASE("arguments an index refuses") {
  CHECK_THROWS_AS(Index(65, -1, ""), InvalidArgument);
  CHECK_THROWS_AS(Index(0, -1, ""), InvalidArgument);
  CHECK_THROWS_AS(Index(64, 65, ""), InvalidArgument);
  CHECK_THROWS_AS(Index(64, -2, ""), InvalidArgument);
  CHECK_THROWS_AS(Index(64, -1, "sixteen letters!"), InvalidArgument);
  CHECK(Index(64, 64, "fifteen letters").hash_type() == "fifteen letters");
}

TEST_CASE("an index comes back as it was saved") {
  const ScratchFolder folder;
  for (const unsigned bits : kWidths) {
    Random random(45 + bits);
    for (const size_t count : {0U, 1U, 3000U}) {
      Pair pair(bits, 5);
      pair.add(rows_of_kind(DataKind::kDuplicates, bits, count, random), scattered(count, random));
      const std::string path = folder / "index.hm";
      if (count > 1) pair.remove({pair.held.begin()->first, pair.held.rbegin()->first});
      pair.index.save(path);
      Segment::open(path, false)->check({});
      for (const bool memory : {false, true}) {
        const auto again = Index::open(path, memory);
        CHECK(again->bits() == bits);
        CHECK(again->max_distance() == 5);
        CHECK(again->hash_type() == "t");
        pair.check(*again, random);
        // The file may be replaced while it is mapped.
        again->save(path);
        pair.check(*again, random);
        if (count > 0) {
          CHECK(again->add(uniform(bits, 1, random).bytes(), 1) == pair.held.rbegin()->first + 1);
        }
      }
    }
  }
}

TEST_CASE("rows added one at a time are folded in the background") {
  Random random(46);
  Pair pair(64);
  for (uint64_t id = 0; id < 40'000; ++id) pair.add(uniform(64, 1, random), {id * 3});
  for (uint64_t id = 0; id < 40'000; id += 7) pair.remove({id * 3});
  wait_for_folding(pair.index);
  CHECK(pair.index.state()->chunk_rows() < 16384);
  CHECK(!pair.index.state()->segments.empty());
  pair.check(random);
}

TEST_CASE("many segments are folded into few") {
  Random random(47);
  Pair pair(64);
  for (uint64_t part = 0; part < 8; ++part) {
    pair.add(uniform(64, 1 << 16, random), consecutive(1 << 16, part << 20));
  }
  wait_for_folding(pair.index);
  CHECK(pair.index.state()->segments.size() <= 5);
  pair.check(random);
  pair.index.compact(2);
  CHECK(pair.index.state()->is_one_clean_segment());
  pair.check(random);
}

TEST_CASE("batches that fit no chunk leave no empty ones behind") {
  Random random(48);
  Pair pair(64);
  for (uint64_t round = 0; round < 6; ++round) {
    pair.add(uniform(64, 5000, random), consecutive(5000, round * 5000));
    pair.index.compact(1);
  }
  pair.add(uniform(64, 5000, random), consecutive(5000, 50'000));
  CHECK(pair.index.state()->chunks.size() == 1);
  pair.check(random);
}

TEST_CASE("removing everything leaves nothing") {
  Random random(49);
  Pair pair(128);
  pair.add(uniform(128, 70'000, random), consecutive(70'000));
  pair.add(uniform(128, 100, random), consecutive(100, 70'000));
  pair.remove(consecutive(70'100));
  pair.check(random);
  pair.index.compact(2);
  CHECK(pair.index.state()->segments.empty());
  CHECK(pair.index.size_bytes() == 0);
  CHECK(pair.index.add(uniform(128, 1, random).bytes(), 1) == 70'100);
}

TEST_CASE("a change adds and removes in one step") {
  for (const unsigned bits : kWidths) {
    Random random(bits + 1);
    Pair pair(bits);
    uint64_t next = 0;
    for (int round = 0; round < 12; ++round) {
      const size_t count = round == 7 ? size_t{1} << 16 : random() % 500;
      const Rows rows = uniform(bits, count, random);
      const auto ids = consecutive(count, next);
      next += count;
      std::vector<uint64_t> gone;
      for (const auto& [id, code] : pair.held) {
        if (random() % 3 == 0) gone.push_back(id);
      }
      pair.index.change(rows.bytes(), ids, gone, 2);
      for (size_t i = 0; i < ids.size(); ++i) {
        pair.held[ids[i]].assign(rows.row(i), rows.row(i) + bits / 8);
      }
      for (const uint64_t id : gone) pair.held.erase(id);
      CHECK(pair.index.size() == pair.held.size());
    }
    pair.check(random);
    const Rows one = uniform(bits, 1, random);
    const uint64_t held = pair.held.begin()->first;
    const auto before = pair.index.state();
    CHECK_THROWS_AS(pair.index.change(one.bytes(), std::vector{next}, std::vector{next + 1}, 1),
                    NotFound);
    CHECK_THROWS_AS(pair.index.change(one.bytes(), std::vector{held}, std::vector{held}, 1),
                    InvalidArgument);
    CHECK(pair.index.state() == before);
    pair.check(random);
  }
}

TEST_CASE("an index of segments shares them, changes, and never folds by itself") {
  for (const unsigned bits : kWidths) {
    Random random(bits + 2);
    const ScratchFolder folder;
    Pair pair(bits);
    std::vector<std::shared_ptr<const Segment>> segments;
    for (uint64_t part = 0; part < 4; ++part) {
      Pair own(bits);
      const size_t count = part == 3 ? 0 : 3000 - 900 * part;
      own.add(uniform(bits, count, random), consecutive(count, 10'000 * part));
      const std::string path = folder / std::to_string(part);
      own.index.save(path);
      segments.push_back(Segment::open(path, false));
      pair.held.merge(own.held);
    }
    const auto index = Index::of(segments, bits, 8, "t");
    pair.check(*index, random);
    const Rows more = uniform(bits, 20'000, random);
    const auto ids = consecutive(more.size(), 50'000);
    index->change(more.bytes(), ids, std::vector<uint64_t>{5, 10'005, 20'000}, 2);
    for (const unsigned id : {5U, 10'005U, 20'000U}) pair.held.erase(id);
    for (size_t i = 0; i < ids.size(); ++i) {
      pair.held[ids[i]].assign(more.row(i), more.row(i) + bits / 8);
    }
    pair.check(*index, random);
    CHECK(index->state()->chunk_rows() == more.size());
    CHECK(index->state()->segments[0].segment == segments[0]);
    // Another one of the same segments is its own, or takes over what was removed.
    CHECK(Index::of(segments, bits, 8, "t")->contains(5));
    const auto later = Index::of({&segments[0], 2}, bits, 8, "t", index.get());
    CHECK(!later->contains(5));
    CHECK(!later->contains(10'005));
    CHECK(later->size() == segments[0]->entries() + segments[1]->entries() - 2);

    segments.push_back(segments[1]);
    CHECK_THROWS_AS(Index::of(segments, bits, 8, "t"), InvalidArgument);
    segments.pop_back();
    CHECK_THROWS_AS(Index::of(segments, bits == 64 ? 128 : 64, 8, "t"), InvalidArgument);
  }
}

TEST_CASE("limits of ids hold before the limit of matches counts") {
  Random random(77);
  for (const unsigned bits : {64U, 256U}) {
    Pair pair(bits);
    const Rows rows = rows_of_kind(DataKind::kClusters, bits, 4000, random);
    pair.add(rows, consecutive(rows.size()));
    pair.index.compact(2);
    const Rows late = rows_of_kind(DataKind::kClusters, bits, 500, random);
    pair.add(late, consecutive(late.size(), 4000));
    const std::vector<uint64_t> from = {100, 900, 901, 2000, 4100};
    const std::vector<int16_t> most = {8, -1, 20, 3, 12};
    const auto most_of = [&](uint64_t id) {
      int allowed = -1;
      for (size_t i = 0; i < from.size() && from[i] <= id; ++i) allowed = most[i];
      return allowed;
    };
    Rows queries(bits);
    for (size_t i = 0; i < 40; ++i) queries.append(i % 2 == 0 ? rows.row(i * 97) : late.row(i));
    for (const unsigned limit : {0U, 3U}) {
      for (const size_t count : {size_t{1}, queries.size()}) {
        const auto* bytes = queries.bytes().data();
        const Results all = search(*pair.index.state(), bytes, count, {20, 0, 2, {}});
        const Results found =
            search(*pair.index.state(), bytes, count, {20, limit, 2, {}, {from, most}});
        std::vector<uint64_t> expected;
        for (size_t q = 0; q < count; ++q) {
          size_t kept = 0;
          for (auto i = static_cast<size_t>(all.offsets[q]);
               i < static_cast<size_t>(all.offsets[q + 1]); ++i) {
            if (all.distance[i] > most_of(all.id[i]) || (limit != 0 && kept == limit)) continue;
            expected.push_back(all.id[i]);
            ++kept;
          }
          CHECK(static_cast<size_t>(found.offsets[q + 1]) == expected.size());
        }
        CHECK(found.id == expected);
        CHECK(!all.id.empty());
      }
    }
  }
}

TEST_SUITE_END();
