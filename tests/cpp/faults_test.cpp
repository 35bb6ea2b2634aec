// Where the system grants no memory or no thread, and where threads meet at the worst moment:
// nothing is lost, and what is done later is exact.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "faults.h"
#include "image.h"
#include "rows.h"
#include "scratch_folder.h"
#include "search/index.h"

using namespace hashmatch;
using namespace hashmatch::test;

namespace {

constexpr MemoryFault::Kind kFaults[] = {MemoryFault::Kind::kOnce, MemoryFault::Kind::kFromThenOn};

// As many rows as are folded in the background.
constexpr size_t kFoldAt = 16384;

// Makes a call with its n-th request for memory refused, and says how it ended.
struct Attempt {
  Attempt(size_t n, MemoryFault::Kind kind, const std::function<void()>& call) {
    const MemoryFault fault(n, kind);
    try {
      call();
    } catch (const std::bad_alloc&) {
      refused = true;
    } catch (const IoError& error) {
      refused = error.code().value() == ENOMEM;
      if (!refused) throw;
    }
    last = !fault.happened();
  }

  bool refused = false;
  bool last;  // the call makes fewer than n requests
};

bool same(const Results& a, const Results& b) {
  return a.id == b.id && a.distance == b.distance && a.offsets == b.offsets;
}

// Searches of all kinds, and what they answer.
class Searches {
 public:
  Searches() : rows_(rows_of_kind(DataKind::kDuplicates, 64, kRows + kRecent, random_)) {
    const auto segment = naive_segment(layout_with(64, 16, std::vector<unsigned>(8, 8)),
                                       first_rows(), consecutive(kRows), 3);
    state_ = state_of(segment);
    auto chunk = std::make_shared<Chunk>(kRecent, 1);
    widen(rows_.row(kRows), kRecent, 64, chunk->codes.data());
    std::ranges::copy(consecutive(kRecent, kRows), chunk->ids.data());
    state_.chunks.push_back({std::move(chunk), kRecent, nullptr});
    REQUIRE(!segment->plan(kRadius).scan);
    REQUIRE(segment->plan(kFar).scan);
    answer_all();
  }

  size_t count() const { return calls_.size(); }
  Results run(size_t i) const { return calls_[i](); }
  const Results& answer(size_t i) const { return answers_[i]; }

 private:
  static constexpr size_t kRows = 4000;
  static constexpr size_t kRecent = 300;
  static constexpr unsigned kRadius = 8;
  static constexpr unsigned kFar = 20;
  static constexpr size_t kMany = 200;  // enough to walk all buckets for

  Rows first_rows() const {
    Rows first(64);
    for (size_t i = 0; i < kRows; ++i) first.append(rows_.row(i));
    return first;
  }

  void answer_all() {
    const std::vector<unsigned> radii(20, kRadius);
    queries_ = planted_queries(rows_, radii, kMany - 40, random_);
    const auto rankings = rank(rows_, consecutive(rows_.size()), queries_);
    const auto add = [&](size_t queries, unsigned radius, uint64_t limit, auto call) {
      calls_.push_back(call);
      answers_.push_back(call());
      REQUIRE(difference(answers_.back(), std::span(rankings).first(queries), radius, limit) == "");
    };
    const auto* bytes = queries_.bytes().data();
    for (const size_t queries : {size_t{2}, kMany}) {
      for (const unsigned radius : {kRadius, kFar}) {
        add(queries, radius, 0, [=, this] {
          return search(state_, bytes, queries, {radius, 0, 2, {}});
        });
      }
      add(queries, kFar, 3, [=, this] {
        return nearest(state_, bytes, queries, 3, {kFar, 0, 2, {}});
      });
    }
    add(9, kRadius, 0, [=, this] {
      return scan(rows_.bytes(), 64, bytes, 9, {kRadius, 0, 2, {}});
    });
  }

  Random random_{91};
  Rows rows_;
  Rows queries_{64};
  State state_;
  std::vector<std::function<Results()>> calls_;
  std::vector<Results> answers_;
};

// Empty, or what went wrong on a thread whose first search is refused its n-th request.
std::string search_refused(const Searches& searches, size_t i, size_t n, MemoryFault::Kind kind,
                           bool& last) {
  std::string wrong;
  std::thread([&] {
    std::optional<Results> results;
    const Attempt attempt(n, kind, [&] { results = searches.run(i); });
    last = attempt.last;
    if (results && !same(*results, searches.answer(i))) wrong = "an answer without its memory";
    for (size_t later = 0; later < searches.count(); ++later) {
      if (!same(searches.run(later), searches.answer(later))) {
        wrong = "search " + std::to_string(later) + " is wrong after the refusal";
      }
    }
  }).join();
  return wrong;
}

// An index that holds a segment and recent rows, with some of each removed.
class Saved {
 public:
  static constexpr size_t kRows = 2500;
  static constexpr size_t kRecent = 200;

  Saved() {
    Index index(64, 3, "");
    index.add(uniform(64, kRows, random_).bytes(), 1);
    index.save(path());
    recent_ = uniform(64, kRecent, random_);
    queries_ = uniform(64, 20, random_);
  }

  std::unique_ptr<Index> open() const {
    auto index = Index::open(path(), false);
    index->add(recent_.bytes(), 1);
    index->remove(std::vector<uint64_t>{5, 7, kRows, kRows + 9});
    return index;
  }

  std::string path() const { return folder_ / "index.hm"; }
  size_t files() const {
    const std::filesystem::directory_iterator files(folder_.path());
    return static_cast<size_t>(std::distance(begin(files), end(files)));
  }

  // Everything that an index can be asked.
  struct Contents {
    std::vector<uint64_t> ids;
    std::vector<std::byte> codes;
    Results nearest;
    bool operator==(const Contents& other) const {
      return ids == other.ids && codes == other.codes && same(nearest, other.nearest);
    }
  };

  Contents contents(const Index& index) const {
    Contents all;
    all.ids = index.ids();
    all.codes.resize(all.ids.size() * 8);
    index.codes(all.ids, all.codes.data());
    all.nearest =
        nearest(*index.state(), queries_.bytes().data(), queries_.size(), 4, {64, 0, 2, {}});
    return all;
  }

 private:
  Random random_{92};
  ScratchFolder folder_;
  Rows recent_{64};
  Rows queries_{64};
};

using Change = std::function<void(Index&)>;

// Refuses the change each of its requests, and every `stride`-th beyond the first few.
void refuse(const Saved& saved, const Change& change, MemoryFault::Kind kind, size_t stride) {
  const auto index = saved.open();
  const Saved::Contents before = saved.contents(*index);
  change(*index);
  const Saved::Contents after = saved.contents(*index);
  const bool compacted = index->state()->is_one_clean_segment();
  size_t refusals = 0;
  for (size_t n = 1;; n += n < 10 ? 1 : stride) {
    CAPTURE(n);
    const auto changed = saved.open();
    const Attempt attempt(n, kind, [&] { change(*changed); });
    if (attempt.refused) {
      ++refusals;
      REQUIRE(saved.contents(*changed) == before);
      change(*changed);
    }
    REQUIRE(saved.contents(*changed) == after);
    REQUIRE(changed->state()->is_one_clean_segment() == compacted);
    if (attempt.last) break;
  }
  CHECK(refusals > 3);
}

bool is_fold_due(const Index& index) { return index.state()->chunk_rows() >= kFoldAt; }

void pass_time() { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }

bool becomes_folded(const Index& index) {
  for (int tries = 0; tries < 10'000 && is_fold_due(index); ++tries) pass_time();
  return !is_fold_due(index);
}

}  // namespace

TEST_SUITE_BEGIN("faults");

TEST_CASE("parallel_for runs every task once without the threads it asks for") {
  for (const unsigned threads : {2U, 7U}) {
    std::vector<std::atomic<int>> runs(1000);
    std::atomic<unsigned> largest{0};
    const NoThreads none;
    REQUIRE_THROWS_AS(std::thread([] {}), std::system_error);
    parallel_for(runs.size(), threads, [&](size_t index, unsigned worker) {
      ++runs[index];
      largest = std::max(largest.load(), worker);
    });
    CHECK(std::ranges::all_of(runs, [](const auto& n) { return n == 1; }));
    CHECK(largest == 0);
  }
}

TEST_CASE("parallel_for runs every task once with as many threads as there is memory for") {
  for (const auto kind : kFaults) {
    for (size_t n = 1;; ++n) {
      std::vector<std::atomic<int>> runs(1000);
      const std::function<void(size_t, unsigned)> task = [&](size_t index, unsigned) {
        ++runs[index];
      };
      const Attempt attempt(n, kind, [&] { parallel_for(runs.size(), 7, task); });
      CHECK(!attempt.refused);
      CHECK(std::ranges::all_of(runs, [](const auto& count) { return count == 1; }));
      if (attempt.last) break;
    }
  }
}

TEST_CASE("searches, builds and saves do without threads") {
  const Searches searches;
  const Saved saved;
  const auto index = saved.open();
  const Saved::Contents before = saved.contents(*index);
  const NoThreads none;
  for (size_t i = 0; i < searches.count(); ++i) {
    CAPTURE(i);
    CHECK(same(searches.run(i), searches.answer(i)));
  }
  index->compact(4);
  CHECK(index->state()->is_one_clean_segment());
  CHECK(saved.contents(*index) == before);
  index->save(saved.path());
  Segment::open(saved.path(), false)->check({});
  CHECK(saved.contents(*Index::open(saved.path(), true)) == before);
}

TEST_CASE("a search that is refused memory says so, and later ones on its thread are exact") {
  const Searches searches;
  for (const auto kind : kFaults) {
    for (size_t i = 0; i < searches.count(); ++i) {
      size_t n = 1;
      for (bool last = false; !last; ++n) {
        CAPTURE(i);
        CAPTURE(n);
        REQUIRE(search_refused(searches, i, n, kind, last) == "");
      }
      CHECK(n > 4);
    }
  }
}

TEST_CASE("a change that is refused memory changes nothing, and can be made again") {
  Random random(93);
  const Saved saved;
  const Rows few = uniform(64, 50, random);
  const Rows chunk = uniform(64, 3000, random);
  const Rows many = uniform(64, size_t{1} << 16, random);
  auto ids = consecutive(few.size(), 10'000);
  ids[20] = 5;  // removed before: such ids are looked up
  for (const auto kind : kFaults) {
    refuse(
        saved, [&](Index& index) { index.add(few.bytes(), ids, 2); }, kind, 1);
    refuse(
        saved, [&](Index& index) { index.add(few.bytes(), 2); }, kind, 1);
    refuse(
        saved, [&](Index& index) { index.add(chunk.bytes(), 2); }, kind, 97);
    refuse(
        saved, [&](Index& index) { index.add(many.bytes(), 2); }, kind, 31);
    refuse(
        saved,
        [](Index& index) {
          index.remove(std::vector<uint64_t>{Saved::kRows + 3, 1, 2499, 12, Saved::kRows + 1});
        },
        kind, 1);
    refuse(
        saved, [](Index& index) { index.compact(2); }, kind, 1);
  }
}

TEST_CASE("a save that is refused memory leaves the file as it was") {
  const Saved saved;
  const auto index = saved.open();
  const Saved::Contents after = saved.contents(*index);
  const auto original = Index::open(saved.path(), true);
  const Saved::Contents before = saved.contents(*original);
  for (size_t n = 1;; ++n) {
    CAPTURE(n);
    const Attempt attempt(n, MemoryFault::Kind::kOnce, [&] { index->save(saved.path()); });
    REQUIRE(saved.files() == 1);
    REQUIRE(saved.contents(*index) == after);
    REQUIRE(saved.contents(*Index::open(saved.path(), true)) == (attempt.refused ? before : after));
    if (attempt.last) break;
    // An attempt may also have done with fewer threads.
    if (!attempt.refused) original->save(saved.path());
  }
}

TEST_CASE("opening and checking a file ends with an error where memory is refused") {
  const Saved saved;
  for (const auto kind : kFaults) {
    for (const bool memory : {false, true}) {
      for (size_t n = 1;; ++n) {
        std::unique_ptr<Index> index;
        const Attempt attempt(n, kind, [&] { index = Index::open(saved.path(), memory); });
        REQUIRE(attempt.refused == (index == nullptr));
        if (index != nullptr) CHECK(index->ids().size() == Saved::kRows);
        if (attempt.last) break;
      }
    }
    for (size_t n = 1;
         !Attempt(n, kind, [&] { Segment::open(saved.path(), false)->check({}); }).last; ++n) {
    }
  }
}

TEST_CASE("a fold in the background that gets no thread is put off") {
  Random random(94);
  Index index(64, 3, "");
  const Rows rows = uniform(64, kFoldAt + 1, random);
  {
    const NoThreads none;
    index.add(rows.bytes().first(kFoldAt * 8), 1);
    CHECK(index.size() == kFoldAt);
  }
  CHECK(index.state()->chunk_rows() == kFoldAt);
  index.add(rows.bytes().last(8), 1);
  CHECK(becomes_folded(index));
  CHECK(index.ids() == consecutive(rows.size()));
}

TEST_CASE("a fold in the background that is refused memory is put off") {
  Random random(95);
  const Rows rows = uniform(64, kFoldAt, random);
  const auto row = rows.bytes().first(8);
  for (const auto kind : kFaults) {
    bool refused = true;
    for (size_t n = 1; refused; n += 1 + n / 8) {
      CAPTURE(n);
      Index index(64, 3, "");
      index.add(rows.bytes().subspan(8), 1);
      {
        const MemoryFault fault(n, kind);
        try {
          index.add(row, 1);
          while (!fault.happened() && is_fold_due(index)) pass_time();
        } catch (const std::bad_alloc&) {
          CHECK(index.size() == kFoldAt - 1);
        }
        refused = fault.happened();
      }
      for (int tries = 0; tries < 10'000 && is_fold_due(index); ++tries) {
        pass_time();
        index.add(row, 1);
      }
      REQUIRE(!is_fold_due(index));
      REQUIRE(index.ids() == consecutive(index.size()));
    }
  }
}

TEST_CASE("rows that arrive while a fold ends are folded too") {
  Random random(96);
  const Rows rows = uniform(64, 2 * kFoldAt, random);
  const auto half = rows.bytes().size() / 2;
  // Whatever the fold has just done, the second half comes then.
  for (size_t unlocks = 1;; ++unlocks) {
    CAPTURE(unlocks);
    Pause pause(unlocks);
    Index index(64, 3, "");
    index.add(rows.bytes().first(half), 1);
    if (!pause.wait_until_reached()) {
      CHECK(unlocks > 5);
      break;
    }
    index.add(rows.bytes().last(half), 1);
    pause.end();
    REQUIRE(becomes_folded(index));
    CHECK(index.ids() == consecutive(rows.size()));
  }
}

TEST_SUITE_END();
