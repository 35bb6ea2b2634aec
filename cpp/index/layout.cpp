#include "index/layout.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "base/packed.h"
#include "index/code.h"
#include "index/cost.h"
#include "index/plan.h"

namespace hashmatch {
namespace {

// What a band's buckets hold beside those of random codes.
std::vector<double> densities(const Layout& layout, std::span<const double> entropy) {
  std::vector<double> density;
  for (const Band& band : layout.bands) {
    double lost = 0;
    for (unsigned bit = band.at; bit < band.at + band.width; ++bit) {
      lost += 1 - entropy[layout.order.empty() ? bit : layout.order[bit]];
    }
    density.push_back(std::exp2(lost));
  }
  return density;
}

double query_ns(const Layout& layout, uint64_t n, unsigned r, std::span<const double> entropy) {
  const std::vector<double> density = densities(layout, entropy);
  const auto plan = plan_radii(layout, n, r, density);
  if (!plan) return cost::scan_ns(n, layout.bits);
  double cost = plan->cost_ns;
  for (unsigned band = 0; band < layout.band_count(); ++band) {
    if (plan->radius[band] < 0) continue;
    const auto width = static_cast<int>(layout.bands[band].width);
    const auto ball =
        static_cast<double>(cost::ball_size(layout.bands[band].width, plan->radius[band]));
    const double postings = ball * std::ldexp(static_cast<double>(n) * density[band], -width);
    // The denser the next band is, the likelier a posting is near there.
    PassChance pass = pass_chance(layout, band, plan->radius);
    const double next_density = density[band + 1 == layout.band_count() ? 0 : band + 1];
    pass.near = std::min(1.0, pass.near * next_density);
    pass.far = std::min(1.0, pass.far * next_density);
    cost += postings * cost::candidate_ns(n, layout, pass);
  }
  return cost;
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

struct Candidate {
  Layout layout;
  double cost_ns;
};

// The cheapest even cut of the first `covered` bits, or none where a scan is cheaper.
Candidate cheapest_bands(const Layout& uncut, unsigned covered, uint64_t n, unsigned r,
                         std::span<const double> entropy) {
  Candidate best{{uncut.bits, 0, {}}, cost::scan_ns(n, uncut.bits)};
  for (const unsigned sketch : {16U, 32U}) {
    for (unsigned count = 3; count <= kernel::kMaxBands; ++count) {
      const unsigned widest = (covered + count - 1) / count;
      if (covered / count < 8 || widest > 24 || widest + sketch > covered) continue;
      const Layout layout{uncut.bits, sketch, even_bands(covered, count), uncut.order};
      if (bytes_per_code(layout, n) > allowed_bytes_per_code(layout.bits, n)) continue;
      const double cost = query_ns(layout, n, r, entropy);
      if (cost < best.cost_ns) best = {layout, cost};
    }
  }
  return best;
}

struct Reordering {
  std::vector<uint8_t> order;
  unsigned lively;  // bits that are not dull, which come first
};

Reordering dull_bits_last(std::span<const double> entropy, double dull) {
  std::vector<uint8_t> order(entropy.size());
  std::iota(order.begin(), order.end(), uint8_t{0});
  const auto first_dull = std::stable_partition(order.begin(), order.end(),
                                                [&](uint8_t bit) { return entropy[bit] >= dull; });
  const auto lively = static_cast<unsigned>(first_dull - order.begin());
  return {std::move(order), lively};
}

}  // namespace

BandCutter::BandCutter(const Layout& layout, unsigned band)
    : covered(layout.covered()), at(layout.bands[band].at), width(layout.bands[band].width) {
  const unsigned next = band + 1 == layout.band_count() ? 0 : band + 1;
  const unsigned next_width = layout.bands[next].width;
  near_at = (at + width) % covered;
  near_width = std::min(next_width, layout.sketch_bits == 0 ? 0U : kSketchBits);
  far_at = (near_at + near_width) % covered;
  far_width = layout.has_far_sketches()
                  ? std::min(next_width - near_width + layout.next(next).width, kSketchBits)
                  : 0;
}

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

Layout choose_layout(uint64_t n, unsigned bits, unsigned r, std::span<const double> entropy) {
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
  const std::vector<double> fair(bits, 1);
  if (entropy.empty()) entropy = fair;
  // How uneven bits depend on each other is not known: where they stay, bands are cut as for random
  // codes, and a query's radii are fitted to what its buckets hold.
  Candidate natural = cheapest_bands({bits, 0, {}}, bits, n, r, fair);
  natural.cost_ns = query_ns(natural.layout, n, r, entropy);
  Candidate chosen = natural;
  for (const double dull : {0.5, 0.25}) {
    const auto [order, covered] = dull_bits_last(entropy, dull);
    if (covered == bits) continue;
    Candidate reordered = cheapest_bands({bits, 0, {}, order}, covered, n, r, entropy);
    // Another order is worth having only where it gains more than the prediction may err.
    if (reordered.cost_ns < std::min(0.8 * natural.cost_ns, chosen.cost_ns)) {
      chosen = std::move(reordered);
    }
  }
  return chosen.layout;
}

}  // namespace hashmatch
