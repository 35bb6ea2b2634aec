#include "index/bit_order.h"

#include <algorithm>
#include <cmath>

#include "index/code.h"

namespace hashmatch {

BitOrder::BitOrder(std::span<const uint8_t> from) : table_(from.size() * 4) {
  for (size_t to = 0; to < from.size(); ++to) {
    const size_t half = from[to] / 4;
    for (size_t value = 0; value < 16; ++value) {
      if ((value >> (from[to] % 4) & 1) == 0) continue;
      table_[half * 16 + value][to / 64] |= uint64_t{1} << (to % 64);
    }
  }
}

void BitOrder::apply(const uint64_t* code, unsigned words, uint64_t* out) const {
  Code sum{};
  const size_t halves = table_.size() / 16;
  for (size_t half = 0; half < halves; ++half) {
    const Code& moved = table_[half * 16 + (code[half / 16] >> (half % 16 * 4) & 15)];
    for (size_t w = 0; w < sum.size(); ++w) sum[w] |= moved[w];
  }
  std::copy_n(sum.begin(), words, out);
}

std::vector<uint8_t> inverse(std::span<const uint8_t> order) {
  std::vector<uint8_t> back(order.size());
  for (size_t to = 0; to < order.size(); ++to) back[order[to]] = static_cast<uint8_t>(to);
  return back;
}

OrderedCodes::OrderedCodes(const BitOrder& order, const uint64_t* codes, size_t count,
                           unsigned words)
    : codes_(codes) {
  if (order.is_natural()) return;
  uint64_t* out = one_.data();
  if (count > 1) {
    many_.resize(count * words + kernel::kOverreadBytes / 8);
    out = many_.data();
  }
  codes_ = out;
  for (size_t i = 0; i < count; ++i) order.apply(codes + i * words, words, out + i * words);
}

std::vector<double> collision_entropy(std::span<const std::byte> rows, unsigned bits) {
  constexpr size_t kSample = size_t{1} << 16;
  const size_t row_bytes = code_bytes(bits);
  const size_t count = rows.size() / row_bytes;
  const size_t step = std::max<size_t>(1, count / kSample);
  const size_t sampled = count / step;
  std::vector<uint32_t> ones(bits);
  for (size_t i = 0; i < sampled; ++i) {
    const std::byte* row = rows.data() + i * step * row_bytes;
    for (unsigned bit = 0; bit < bits; ++bit) {
      ones[bit] += std::to_integer<uint32_t>(row[bit / 8] >> (bit % 8)) & 1;
    }
  }
  std::vector<double> entropy;
  for (const uint32_t count_of_ones : ones) {
    const double p = static_cast<double>(count_of_ones) / static_cast<double>(sampled);
    entropy.push_back(-std::log2(p * p + (1 - p) * (1 - p)));
  }
  return entropy;
}

}  // namespace hashmatch
