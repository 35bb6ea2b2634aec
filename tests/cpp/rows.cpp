#include "rows.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <unordered_set>

namespace hashmatch::test {
namespace {

unsigned below(Random& random, size_t limit) { return static_cast<unsigned>(random() % limit); }

}  // namespace

void Rows::append(const std::byte* code) { bytes_.insert(bytes_.end(), code, code + bits_ / 8); }

void Rows::flip(size_t i, unsigned bit) { row(i)[bit / 8] ^= std::byte{1} << (bit % 8); }

void Rows::set(size_t i, unsigned at, unsigned width, uint32_t value) {
  for (unsigned k = 0; k < width; ++k) {
    const unsigned bit = at + k;
    const bool have = (row(i)[bit / 8] >> (bit % 8) & std::byte{1}) != std::byte{0};
    if (have != ((value >> k & 1) != 0)) flip(i, bit);
  }
}

Rows uniform(unsigned bits, size_t count, Random& random) {
  Rows rows(bits, count);
  for (size_t at = 0; at < count * bits / 8; at += 4) {
    const auto word = static_cast<uint32_t>(random());
    std::memcpy(rows.row(0) + at, &word, 4);
  }
  return rows;
}

std::string name_of(DataKind kind) {
  constexpr const char* kNames[] = {"uniform",     "clusters",   "duplicates", "poisoned",
                                    "low entropy", "one centre", "all equal"};
  return kNames[static_cast<size_t>(kind)];
}

Rows rows_of_kind(DataKind kind, unsigned bits, size_t count, Random& random) {
  Rows rows = uniform(bits, count, random);
  const size_t bytes = bits / 8;
  for (size_t i = 1; i < count; ++i) {
    switch (kind) {
      case DataKind::kUniform:
        break;
      case DataKind::kClusters:
        if (i % 3 == 0) {
          std::memcpy(rows.row(i), rows.row(below(random, std::min<size_t>(i, 5))), bytes);
          flip_some(rows, i, below(random, 4), random);
        }
        break;
      case DataKind::kDuplicates:
        if (i % 2 == 0) std::memcpy(rows.row(i), rows.row(below(random, i)), bytes);
        break;
      case DataKind::kPoisoned:
        rows.set(i, 0, 24, 0x5A5A5A);
        break;
      case DataKind::kLowEntropy:
        for (size_t k = 0; k < bytes; ++k) {
          if (k % 4 != 1) rows.row(i)[k] = std::byte{0x0F};
        }
        break;
      case DataKind::kOneCentre:
        std::memcpy(rows.row(i), rows.row(0), bytes);
        flip_some(rows, i, below(random, 12), random);
        break;
      case DataKind::kAllEqual:
        std::memcpy(rows.row(i), rows.row(0), bytes);
        break;
    }
  }
  return rows;
}

void flip_some(Rows& rows, size_t i, unsigned count, Random& random) {
  const unsigned bits = rows.bits();
  const unsigned start = below(random, bits);
  switch (below(random, 3)) {
    case 0: {
      std::vector<unsigned> order(bits);
      std::iota(order.begin(), order.end(), 0U);
      std::shuffle(order.begin(), order.end(), random);
      for (unsigned k = 0; k < count; ++k) rows.flip(i, order[k]);
      return;
    }
    case 1:
      for (unsigned k = 0; k < count; ++k) rows.flip(i, (start + k) % bits);
      return;
    default:
      for (unsigned k = 0; k < count; ++k) rows.flip(i, (start + k * bits / count) % bits);
  }
}

Rows planted_queries(const Rows& known, std::span<const unsigned> radii, size_t others,
                     Random& random) {
  Rows queries = uniform(known.bits(), others, random);
  if (known.size() == 0) return queries;
  for (const unsigned radius : radii) {
    for (const unsigned flips : {radius, radius + 1}) {
      queries.append(known.row(below(random, known.size())));
      flip_some(queries, queries.size() - 1, std::min(flips, known.bits()), random);
    }
  }
  return queries;
}

unsigned distance(unsigned bits, const std::byte* a, const std::byte* b) {
  unsigned total = 0;
  for (unsigned at = 0; at < bits / 8; at += 4) {
    uint32_t x, y;
    std::memcpy(&x, a + at, 4);
    std::memcpy(&y, b + at, 4);
    total += static_cast<unsigned>(std::popcount(x ^ y));
  }
  return total;
}

Ranking::Ranking(const Rows& rows, std::span<const uint64_t> ids, const std::byte* query)
    : ids_(ids.size()), distances_(ids.size()), ends_(rows.bits() + 1) {
  std::vector<uint16_t> of_row(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    of_row[i] = static_cast<uint16_t>(test::distance(rows.bits(), query, rows.row(i)));
    ++ends_[of_row[i]];
  }
  std::partial_sum(ends_.begin(), ends_.end(), ends_.begin());
  auto next = ends_;
  for (size_t i = ids.size(); i-- > 0;) {
    const size_t at = --next[of_row[i]];
    ids_[at] = ids[i];
    distances_[at] = of_row[i];
  }
  if (std::ranges::is_sorted(ids)) return;
  for (size_t at = 0; at < ids_.size();) {
    const size_t end = ends_[distances_[at]];
    std::sort(ids_.data() + at, ids_.data() + end);
    at = end;
  }
}

std::vector<Ranking> rank(const Rows& rows, std::span<const uint64_t> ids, const Rows& queries) {
  std::vector<Ranking> rankings;
  for (size_t i = 0; i < queries.size(); ++i) rankings.emplace_back(rows, ids, queries.row(i));
  return rankings;
}

std::string difference(const Results& results, std::span<const Ranking> expected,
                       unsigned max_distance, uint64_t limit) {
  if (results.offsets.size() != expected.size() + 1) return "wrong number of queries";
  if (results.offsets.front() != 0) return "the first offset is not 0";
  if (static_cast<size_t>(results.offsets.back()) != results.id.size() ||
      results.id.size() != results.distance.size()) {
    return "columns of different lengths";
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    const auto first = static_cast<size_t>(results.offsets[i]);
    const auto found = static_cast<size_t>(results.offsets[i + 1]) - first;
    size_t wanted = expected[i].within(max_distance);
    if (limit != 0) wanted = std::min<size_t>(wanted, limit);
    const std::string query = "query " + std::to_string(i) + ": ";
    if (found != wanted) {
      return query + std::to_string(found) + " matches, not " + std::to_string(wanted);
    }
    for (size_t k = 0; k < found; ++k) {
      if (results.id[first + k] != expected[i].id(k) ||
          results.distance[first + k] != expected[i].distance(k)) {
        return query + "match " + std::to_string(k) + " is wrong";
      }
    }
  }
  return {};
}

std::vector<uint64_t> consecutive(size_t count, uint64_t first) {
  std::vector<uint64_t> ids(count);
  std::iota(ids.begin(), ids.end(), first);
  return ids;
}

std::vector<uint64_t> scattered(size_t count, Random& random) {
  std::unordered_set<uint64_t> seen;
  std::vector<uint64_t> ids;
  while (ids.size() < count) {
    const uint64_t id = random() >> below(random, 40);
    if (seen.insert(id).second) ids.push_back(id);
  }
  return ids;
}

}  // namespace hashmatch::test
