// Radii for a query: the general pigeonhole principle (Qin et al., GPH, ICDE 2018). With band i
// probed to radius r[i] >= -1 and sum(r[i] + 1) = r + 1, a code within r is within r[i] in some
// band i; r[i] = -1 leaves a band out.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "index/layout.h"

namespace hashmatch {

struct Plan {
  std::vector<int> radius;  // one a band; -1: not probed
  double cost_ns = 0;
};

// Radii past this probe more than any scan is worth at the band widths in use.
inline constexpr int kMaxRadius = 4;

// The cheapest radii for distance r, where cost(band, radius) >= 0 says what a band costs and may
// be infinite. Empty if no allocation of finite cost reaches r.
std::optional<Plan> allocate(unsigned bands, unsigned r,
                             const std::function<double(unsigned band, int radius)>& cost);

// The cheapest radii for n codes whose buckets in each band hold `density` times what they would of
// random codes (none: random codes). Empty where a scan is predicted to be cheaper.
std::optional<Plan> plan_radii(const Layout& layout, uint64_t n, unsigned r,
                               std::span<const double> density = {});

// Chance that a random posting in the probed buckets of a band passes the test of its sketch, and
// that it passes that of its far sketch too.
struct PassChance {
  double near = 1;
  double far = 1;
};
PassChance pass_chance(const Layout& layout, unsigned band, const std::vector<int>& radius);

// Masks with exactly k <= kMaxRadius bits set, ascending: those below 2^width come first, and there
// are choose(width, k) of them.
const std::vector<uint32_t>& masks_of_weight(unsigned k);

// Widest band whose masks are all listed.
inline constexpr unsigned kMaxBandWidth = 28;

}  // namespace hashmatch
