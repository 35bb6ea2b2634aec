#include "index/cost.h"

#include <algorithm>
#include <cmath>

#include "base/packed.h"
#include "index/code.h"

namespace hashmatch::cost {

double line_ns(double array_bytes) {
  constexpr double kSecondLevel = 1e6;
  constexpr double kThirdLevel = 3e7;
  if (array_bytes <= kSecondLevel) return 1.5;
  if (array_bytes <= kThirdLevel) return 4;
  return 9 + 3 * std::log10(array_bytes / kThirdLevel);
}

double probe_ns(uint64_t n, const Layout& layout, const Band& band) {
  const double tables = std::ldexp(4.0, band.width) * layout.band_count();
  const double postings = static_cast<double>(n) * layout.band_count() *
                          (layout.sketch_bits == 0 ? static_cast<double>(code_bytes(layout.bits))
                                                   : layout.sketch_bits / 8.0);
  return 5 + line_ns(tables) + line_ns(postings);
}

double posting_ns(const Layout& layout) {
  return layout.sketch_bits == 0 ? 0.04 * static_cast<double>(code_bytes(layout.bits))
                                 : 0.03 * layout.sketch_bits / 8.0;
}

double candidate_ns(uint64_t n, unsigned bits) {
  const auto rows = static_cast<double>(n);
  return 4 + line_ns(rows * packed_width(n)) +
         line_ns(rows * static_cast<double>(code_bytes(bits)));
}

double scan_ns(uint64_t n, unsigned bits) {
  return 100 +
         static_cast<double>(n) * std::max(8.0, static_cast<double>(code_bytes(bits))) * 0.036;
}

uint64_t ball_size(unsigned width, int radius) {
  uint64_t total = 0;
  uint64_t choose = 1;
  for (int k = 0; k <= radius; ++k) {
    total += choose;
    choose = choose * (width - std::min<unsigned>(width, static_cast<unsigned>(k))) /
             static_cast<unsigned>(k + 1);
  }
  return total;
}

}  // namespace hashmatch::cost
