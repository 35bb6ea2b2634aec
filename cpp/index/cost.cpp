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
  return 7.5 + 3 * std::log10(array_bytes / kThirdLevel);
}

namespace {

double postings_bytes(uint64_t n, const Layout& layout) {
  return static_cast<double>(n) * (layout.sketch_bits == 0
                                       ? static_cast<double>(code_bytes(layout.bits))
                                       : layout.band_count() * kSketchBits / 8.0);
}

}  // namespace

double probe_ns(uint64_t n, const Layout& layout, const Band& band) {
  const double tables = std::ldexp(4.0, band.width) * layout.band_count();
  return 4 + line_ns(tables) + line_ns(postings_bytes(n, layout));
}

double posting_ns(uint64_t n, const Layout& layout) {
  if (layout.sketch_bits == 0) return 0.04 * static_cast<double>(code_bytes(layout.bits));
  // Up to some 8 lines of a bucket are waited for like its first; the others come in sequence.
  constexpr double kLine = 64 * 8.0 / kSketchBits;
  constexpr double kSequentialNs = 2.5;
  const double lines =
      std::max(1.0, static_cast<double>(n) *
                        std::ldexp(1.0, -static_cast<int>(layout.bands[0].width)) / kLine);
  const double waited = std::min(1.0, 8 / lines);
  return (waited * line_ns(postings_bytes(n, layout)) + (1 - waited) * kSequentialNs) / kLine;
}

double candidate_ns(uint64_t n, const Layout& layout, const PassChance& pass) {
  const auto rows = static_cast<double>(n);
  const unsigned posting = packed_width(n) + (layout.has_far_sketches() ? kSketchBits / 8 : 0);
  // The lines of a candidate are asked for just before they are read.
  return pass.near * (9 + 2 * line_ns(rows * posting)) +
         pass.far * (9 + 2 * line_ns(rows * static_cast<double>(code_bytes(layout.bits))));
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
