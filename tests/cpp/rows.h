// Codes to test with, and what a search of them must answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "search/search.h"

namespace hashmatch::test {

inline constexpr unsigned kWidths[] = {64, 128, 160, 256};

// Codes of bits / 8 bytes each, back to back.
class Rows {
 public:
  explicit Rows(unsigned bits, size_t count = 0) : bits_(bits), bytes_(count * bits / 8) {}

  unsigned bits() const { return bits_; }
  size_t size() const { return bytes_.size() / (bits_ / 8); }
  std::span<const std::byte> bytes() const { return bytes_; }
  std::byte* row(size_t i) { return bytes_.data() + i * (bits_ / 8); }
  const std::byte* row(size_t i) const { return bytes_.data() + i * (bits_ / 8); }

  void append(const std::byte* code);
  void flip(size_t i, unsigned bit);
  // Makes the `width` bits from `at` those of `value`.
  void set(size_t i, unsigned at, unsigned width, uint32_t value);

 private:
  unsigned bits_;
  std::vector<std::byte> bytes_;
};

using Random = std::mt19937_64;

Rows uniform(unsigned bits, size_t count, Random& random);

// Sets of codes that a search by buckets finds hard.
enum class DataKind {
  kUniform,
  kClusters,
  kDuplicates,
  kPoisoned,
  kLowEntropy,
  kOneCentre,
  kAllEqual
};
inline constexpr DataKind kKinds[] = {
    DataKind::kUniform,    DataKind::kClusters,  DataKind::kDuplicates, DataKind::kPoisoned,
    DataKind::kLowEntropy, DataKind::kOneCentre, DataKind::kAllEqual};
std::string name_of(DataKind kind);
Rows rows_of_kind(DataKind kind, unsigned bits, size_t count, Random& random);

// Flips `count` different bits of row i: anywhere, side by side, or spread evenly.
void flip_some(Rows& rows, size_t i, unsigned count, Random& random);

// Rows of `known` at exactly r and r + 1 for each radius, and some codes of no relation.
Rows planted_queries(const Rows& known, std::span<const unsigned> radii, size_t others,
                     Random& random);

unsigned distance(unsigned bits, const std::byte* a, const std::byte* b);

// All rows in the order in which a query reports them: by distance, then id.
class Ranking {
 public:
  Ranking(const Rows& rows, std::span<const uint64_t> ids, const std::byte* query);
  size_t within(unsigned max_distance) const { return ends_[max_distance]; }
  uint64_t id(size_t i) const { return ids_[i]; }
  unsigned distance(size_t i) const { return distances_[i]; }

 private:
  std::vector<uint64_t> ids_;
  std::vector<uint16_t> distances_;
  std::vector<size_t> ends_;  // by distance
};

std::vector<Ranking> rank(const Rows& rows, std::span<const uint64_t> ids, const Rows& queries);

// What is wrong with the results of a search of all the ranked queries; empty if nothing is.
// `limit` 0: none.
std::string difference(const Results& results, std::span<const Ranking> expected,
                       unsigned max_distance, uint64_t limit = 0);

// 0, 1, 2...
std::vector<uint64_t> consecutive(size_t count, uint64_t first = 0);
// Different ids in no order, from all 64 bits.
std::vector<uint64_t> scattered(size_t count, Random& random);

}  // namespace hashmatch::test
