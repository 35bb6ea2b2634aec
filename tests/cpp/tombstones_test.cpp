// Tombstones: sets that share pages with those they came of.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <vector>

#include "rows.h"
#include "search/tombstones.h"

using hashmatch::Tombstones;
using hashmatch::test::Random;

TEST_SUITE_BEGIN("base");

TEST_CASE("each set of tombstones keeps what it was made with") {
  Random random(51);
  std::vector<std::shared_ptr<const Tombstones>> sets = {std::make_shared<Tombstones>()};
  std::vector<std::set<uint32_t>> expected(1);
  for (int round = 0; round < 40; ++round) {
    std::vector<uint32_t> fresh;
    for (size_t i = random() % 50; i-- > 0;) {
      const auto entry = static_cast<uint32_t>(random() % 200'000);
      if (!expected.back().contains(entry)) fresh.push_back(entry);
    }
    std::ranges::sort(fresh);
    fresh.erase(std::ranges::unique(fresh).begin(), fresh.end());
    sets.push_back(sets.back()->with(fresh));
    expected.push_back(expected.back());
    expected.back().insert(fresh.begin(), fresh.end());
  }
  for (size_t i = 0; i < sets.size(); ++i) {
    CHECK(sets[i]->count() == expected[i].size());
    std::set<uint32_t> found;
    sets[i]->for_each_since(nullptr, [&](uint32_t entry) { found.insert(entry); });
    CHECK(found == expected[i]);
    for (uint32_t entry = 0; entry < 200'100; entry += 97) {
      CHECK(sets[i]->contains(entry) == expected[i].contains(entry));
    }
    std::set<uint32_t> since = expected.back();
    for (const uint32_t entry : expected[i]) since.erase(entry);
    found.clear();
    sets.back()->for_each_since(sets[i].get(), [&](uint32_t entry) { found.insert(entry); });
    CHECK(found == since);
  }
  CHECK(!sets.back()->contains(UINT32_MAX));
}

TEST_SUITE_END();
