// A query that meets a large cluster has 100,000 matches: there a radix sort, eleven bits at a time
// from the lowest that differ, takes a third of std::sort's time.
#include "search/order.h"

#include <algorithm>
#include <array>
#include <bit>

namespace hashmatch {
namespace {

constexpr size_t kFew = 1024;
constexpr unsigned kDigitBits = 11;

// One stable pass by a digit of key(found).
template <class Key>
void pass(std::span<const Found> from, std::span<Found> to, const Key& key) {
  std::array<uint32_t, size_t{1} << kDigitBits> next{};
  for (const Found& found : from) ++next[key(found)];
  uint32_t at = 0;
  for (uint32_t& start : next) {
    const uint32_t count = start;
    start = at;
    at += count;
  }
  for (const Found& found : from) to[next[key(found)]++] = found;
}

// Passes by the digits of the ids. The result is in either span: the one returned.
std::span<Found> pass_by_id(std::span<Found> from, std::span<Found> to) {
  uint64_t least = UINT64_MAX;
  uint64_t largest = 0;
  for (const Found& f : from) {
    least = std::min(least, f.id);
    largest = std::max(largest, f.id);
  }
  const auto id_bits = static_cast<unsigned>(std::bit_width(largest - least));
  constexpr uint64_t kDigit = (uint64_t{1} << kDigitBits) - 1;
  for (unsigned shift = 0; shift < id_bits; shift += kDigitBits) {
    pass(from, to, [&](const Found& f) { return (f.id - least) >> shift & kDigit; });
    std::swap(from, to);
  }
  return from;
}

std::span<Found> sort_by_id(std::span<Found> found, std::span<Found> spare) {
  if (found.size() >= kFew) return pass_by_id(found, spare);
  std::ranges::sort(found, {}, &Found::id);
  return found;
}

}  // namespace

void sort_found(std::span<Found> found, std::vector<Found>& spare) {
  if (found.size() < kFew || found.size() > UINT32_MAX) {
    std::sort(found.begin(), found.end());
    return;
  }
  if (spare.size() < found.size()) spare.resize(found.size());
  std::span<Found> from = found;
  std::span<Found> to(spare.data(), found.size());
  // Most rows of a clump come in order of id, and then those with several, and some from the bands.
  const auto by_id = [](const Found& a, const Found& b) { return a.id < b.id; };
  const auto ordered = std::is_sorted_until(found.begin(), found.end(), by_id);
  const auto head = static_cast<size_t>(ordered - found.begin());
  if (found.size() - head < head) {
    const std::span<Found> tail = sort_by_id(found.subspan(head), to.subspan(head));
    if (tail.data() != found.data() + head) std::ranges::copy(tail, ordered);
    std::merge(found.begin(), ordered, ordered, found.end(), to.begin(), by_id);
    from = to;
  } else {
    from = sort_by_id(from, to);
  }
  to = from.data() == found.data() ? std::span(spare.data(), found.size()) : found;
  pass(from, to, [](const Found& f) { return f.distance; });
  if (to.data() != found.data()) std::ranges::copy(to, found.begin());
}

}  // namespace hashmatch
