#include "search/distinct.h"

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstring>
#include <exception>
#include <random>

namespace hashmatch {
namespace {

constexpr uint32_t kEmpty = UINT32_MAX;
constexpr size_t kMostWords = 8;

// Multiply-shift with multipliers that nobody knows beforehand: codes come from strangers, and must
// not be able to all fall into one place.
class Hash {
 public:
  uint64_t operator()(const std::byte* row, size_t words) const {
    uint64_t sum = 0;
    for (size_t i = 0; i < words; ++i) {
      uint32_t word;
      std::memcpy(&word, row + i * sizeof word, sizeof word);
      sum += multipliers_[i % kMostWords] * (uint64_t{word} + 1);
    }
    return sum;
  }

 private:
  static std::array<uint64_t, kMostWords> drawn() {
    std::array<uint64_t, kMostWords> drawn{};
    try {
      std::random_device device;
      for (uint64_t& one : drawn) one = uint64_t{device()} << 32 | device() | 1;
    } catch (const std::exception&) {
      // A system without a source of chance; where the time is known the answers are still right.
      std::mt19937_64 random(
          static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()));
      for (uint64_t& one : drawn) one = random() | 1;
    }
    return drawn;
  }
  std::array<uint64_t, kMostWords> multipliers_ = drawn();
};

// Not a local one: a child forked while it is made would wait for it for ever.
const Hash hash;

}  // namespace

Distinct distinct(std::span<const std::byte> rows, size_t row_bytes,
                  std::span<const int64_t> groups) {
  Distinct found;
  std::vector<uint32_t> table;  // of places in `found`, less where the group begins
  for (size_t begin = 0, end = 0; begin < groups.size(); begin = end) {
    while (end < groups.size() && groups[end] == groups[begin]) ++end;
    const size_t size = std::bit_ceil(2 * (end - begin));
    const int shift = 64 - std::countr_zero(size);
    table.assign(size, kEmpty);
    const size_t first = found.rows.size();
    for (size_t row = begin; row < end; ++row) {
      const std::byte* code = rows.data() + row * row_bytes;
      size_t place = hash(code, row_bytes / 4) >> shift;
      while (table[place] != kEmpty) {
        const auto earlier = static_cast<size_t>(found.rows[first + table[place]]);
        if (std::memcmp(rows.data() + earlier * row_bytes, code, row_bytes) == 0) break;
        place = (place + 1) & (size - 1);
      }
      if (table[place] == kEmpty) {
        table[place] = static_cast<uint32_t>(found.rows.size() - first);
        found.rows.push_back(static_cast<int64_t>(row));
        found.counts.push_back(0);
      }
      ++found.counts[first + table[place]];
    }
  }
  return found;
}

}  // namespace hashmatch
