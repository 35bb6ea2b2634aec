// Searches during changes: each answers from one state. Run under ThreadSanitizer too.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "rows.h"
#include "scratch_folder.h"
#include "search/index.h"

using namespace hashmatch;
using namespace hashmatch::test;

namespace {

// Rows come and go as pairs: id 2k and 2k + 1 under one code. A state that holds one of a pair and
// not the other was never published.
class PairedIndex {
 public:
  static constexpr uint64_t kPairs = 1500;

  PairedIndex() : index_(std::make_unique<Index>(64, 3, "")) {
    Random random(71);
    const Rows singles = uniform(64, kPairs, random);
    for (size_t i = 0; i < kPairs; ++i) {
      codes_.append(singles.row(i));
      codes_.append(singles.row(i));
    }
    change(0, kPairs, true);
  }

  void change(uint64_t first, uint64_t count, bool add) {
    std::vector<uint64_t> ids;
    for (uint64_t pair = first; pair < first + count; ++pair) {
      ids.push_back(2 * pair);
      ids.push_back(2 * pair + 1);
    }
    if (add) {
      index_->add(codes_.bytes().subspan(first * 16, count * 16), ids, 1);
    } else {
      index_->remove(ids);
    }
  }

  // Empty, or what is wrong.
  std::string look(Random& random) const {
    constexpr size_t kQueries = 24;
    Rows queries(64);
    for (size_t i = 0; i < kQueries; ++i) queries.append(codes_.row(2 * (random() % kPairs)));
    const StatePtr state = index_->state();
    const SearchOptions options{2, 0, 1 + static_cast<unsigned>(random() % 2), {}};
    const size_t count = random() % 2 == 0 ? kQueries : 3;
    for (const Results& results : {search(*state, queries.bytes().data(), count, options),
                                   nearest(*state, queries.bytes().data(), count, 2, options)}) {
      for (size_t i = 0; i < count; ++i) {
        const auto first = static_cast<size_t>(results.offsets[i]);
        const auto found = static_cast<size_t>(results.offsets[i + 1]) - first;
        if (found % 2 != 0) return "half a pair";
        for (size_t k = 0; k < found; k += 2) {
          if (results.id[first + k] % 2 != 0 ||
              results.id[first + k] + 1 != results.id[first + k + 1]) {
            return "two halves of different pairs";
          }
        }
      }
    }
    if (state->live() % 2 != 0) return "an odd number of rows";
    if (index_->ids().size() % 2 != 0) return "an odd number of ids";
    return {};
  }

  Index& index() { return *index_; }
  const Rows& codes() const { return codes_; }

 private:
  std::unique_ptr<Index> index_;
  Rows codes_{64};
};

}  // namespace

TEST_SUITE_BEGIN("base");

TEST_CASE("readers see whole changes while rows are added, removed, folded and saved") {
  const ScratchFolder folder;
  PairedIndex paired;
  std::atomic<bool> stop{false};
  std::atomic<int> looks{0};
  std::vector<std::string> wrong(8);
  std::string writer_wrong;
  {
    std::vector<std::jthread> threads;
    for (size_t reader = 0; reader < wrong.size(); ++reader) {
      threads.emplace_back([&, reader] {
        Random random(reader);
        while (!stop && wrong[reader].empty()) {
          wrong[reader] = paired.look(random);
          ++looks;
        }
      });
    }
    threads.emplace_back([&] {
      try {
        Random random(72);
        std::vector<bool> held(PairedIndex::kPairs, true);
        for (int round = 0; round < 1500; ++round) {
          const uint64_t first = random() % (PairedIndex::kPairs - 20);
          for (uint64_t pair = first; pair < first + 1 + random() % 20; ++pair) {
            paired.change(pair, 1, !held[pair]);
            held[pair] = !held[pair];
          }
        }
        // Background folds: more than 16,384 rows.
        Random other(73);
        for (uint64_t row = 0; row < 20'000; row += 2) {
          const Rows one = uniform(64, 1, other);
          Rows both = one;
          both.append(one.row(0));
          paired.index().add(both.bytes(), consecutive(2, 100'000 + row), 1);
        }
      } catch (const std::exception& error) {
        writer_wrong = error.what();
      }
      stop = true;
    });
    threads.emplace_back([&] {
      while (!stop) paired.index().compact(2);
    });
    threads.emplace_back([&] {
      const std::string path = folder / "saved.hm";
      while (!stop) {
        paired.index().save(path);
        if (Index::open(path, false)->size() % 2 != 0) wrong[0] = "half a pair was saved";
      }
    });
    threads.emplace_back([&] {
      Random random(74);
      std::byte code[8];
      while (!stop) {
        const uint64_t id = random() % (2 * PairedIndex::kPairs);
        try {
          paired.index().codes({&id, 1}, code);
          if (!std::equal(code, code + 8, paired.codes().row(id))) wrong[0] = "another id's code";
        } catch (const NotFound&) {  // removed just now
        }
        paired.index().contains(id);
        paired.index().size_bytes();
      }
    });
  }
  CHECK(writer_wrong == "");
  for (const std::string& what : wrong) CHECK(what == "");
  CHECK(looks > 0);
}

TEST_CASE("writers on several threads") {
  Index index(128, 8, "");
  {
    std::vector<std::jthread> writers;
    for (uint64_t writer = 0; writer < 4; ++writer) {
      writers.emplace_back([&index, writer] {
        Random random(writer);
        for (uint64_t round = 0; round < 300; ++round) {
          const auto ids = consecutive(20, writer << 32 | round * 20);
          index.add(uniform(128, 20, random).bytes(), ids, 1);
          if (round % 2 == 0) index.remove(ids);
        }
      });
    }
  }
  CHECK(index.size() == 4 * 150 * 20);
  index.compact(2);
  CHECK(index.ids().size() == 4 * 150 * 20);
}

TEST_CASE("an index may end while it folds, and while a search holds its state") {
  Random random(75);
  const Rows rows = uniform(64, 50'000, random);
  StatePtr state;
  for (int round = 0; round < 3; ++round) {
    Index index(64, 3, "");
    for (uint64_t part = 0; part < 10; ++part) {
      index.add(rows.bytes().subspan(part * 5000 * 8, 5000 * 8), consecutive(5000, part * 5000), 1);
    }
    state = index.state();
  }
  const auto ids = consecutive(rows.size());
  Rows query(64);
  query.append(rows.row(7));
  CHECK(difference(search(*state, query.bytes().data(), 1, {3, 0, 1, {}}), rank(rows, ids, query),
                   3) == "");
}

TEST_SUITE_END();
