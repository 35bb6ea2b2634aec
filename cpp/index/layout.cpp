#include "index/layout.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/packed.h"
#include "index/code.h"
#include "index/cost.h"
#include "index/plan.h"

namespace hashmatch {
namespace {

constexpr uint32_t low_mask(unsigned width) {
  return width >= 32 ? ~uint32_t{0} : (uint32_t{1} << width) - 1;
}

double query_ns(const Layout& layout, uint64_t n, unsigned r) {
  const auto plan = plan_uniform(layout, n, r);
  if (!plan) return cost::scan_ns(n, layout.bits);
  double candidates = 0;
  for (unsigned band = 0; band < layout.band_count(); ++band) {
    const unsigned width = layout.bands[band].width;
    if (plan->radius[band] < 0) continue;
    const auto ball = static_cast<double>(cost::ball_size(width, plan->radius[band]));
    candidates += ball * std::ldexp(static_cast<double>(n), -static_cast<int>(width)) *
                  pass_chance(layout, band, plan->radius);
  }
  return plan->cost_ns + candidates * cost::candidate_ns(n, layout.bits);
}

// Bytes a code takes, all arrays counted. The cap leaves small segments room for their tables.
double bytes_per_code(const Layout& layout, uint64_t n) {
  const unsigned position = packed_width(n);
  double bytes = static_cast<double>(words_of(layout.bits)) * 8 + 2.0 * position;
  for (size_t band = 0; band < layout.bands.size(); ++band) {
    bytes += layout.sketch_bits / 8.0 + (band == 0 ? 0 : position) +
             std::ldexp(4.0, layout.bands[band].width) / static_cast<double>(n);
  }
  return bytes;
}

double allowed_bytes_per_code(unsigned bits, uint64_t n) {
  constexpr double kSmallSegmentBytes = 16e6;
  return 3.0 * words_of(bits) * 8 + 24 + kSmallSegmentBytes / static_cast<double>(n);
}

}  // namespace

uint32_t sketch_mask(const Layout& layout, unsigned band) {
  if (layout.sketch_bits == 16) return near_mask(layout, band);
  const unsigned next = band + 1 == layout.band_count() ? 0 : band + 1;
  const unsigned two = layout.bands[next].width + layout.next(next).width;
  return low_mask(std::min(two, layout.sketch_bits));
}

uint32_t near_mask(const Layout& layout, unsigned band) {
  return low_mask(std::min<unsigned>(layout.next(band).width, layout.sketch_bits));
}

BandCutter::BandCutter(const Layout& layout, unsigned band)
    : at(layout.bands[band].at),
      width(layout.bands[band].width),
      sketch_at((at + width) % layout.bits),
      sketch_bits(layout.sketch_bits),
      bits(layout.bits),
      mask(layout.sketch_bits == 0 ? 0 : sketch_mask(layout, band)) {}

std::vector<Band> even_bands(unsigned bits, unsigned count) {
  std::vector<Band> bands;
  unsigned at = 0;
  for (unsigned band = 0; band < count; ++band) {
    const unsigned width = bits / count + (band < bits % count ? 1 : 0);
    bands.push_back({static_cast<uint16_t>(at), static_cast<uint16_t>(width)});
    at += width;
  }
  return bands;
}

unsigned design_distance(unsigned bits, int max_distance) {
  if (max_distance >= 0) return static_cast<unsigned>(max_distance);
  return bits == 256 ? 31 : bits / 8;
}

Layout choose_layout(uint64_t n, unsigned bits, unsigned r) {
  // Below this a scan takes a microsecond or two, and no table is worth its memory.
  constexpr uint64_t kScanOnly = 2048;
  Layout best{bits, 0, {}};
  if (n <= kScanOnly) return best;
  if (r == 0) {
    const unsigned width =
        std::clamp<unsigned>(static_cast<unsigned>(std::bit_width(n)) - 2, 8, kMaxBandWidth);
    best.bands = {{0, static_cast<uint16_t>(width)}};
    return best;
  }
  double least = cost::scan_ns(n, bits);
  for (const unsigned sketch : {16U, 32U}) {
    for (unsigned count = 3; count <= kernel::kMaxBands; ++count) {
      if (bits / count < 8 || (bits + count - 1) / count > 24) continue;
      const Layout layout{bits, sketch, even_bands(bits, count)};
      if (bytes_per_code(layout, n) > allowed_bytes_per_code(bits, n)) continue;
      const double cost = query_ns(layout, n, r);
      if (cost < least) {
        least = cost;
        best = layout;
      }
    }
  }
  return best;
}

}  // namespace hashmatch
