#include "index/plan.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "index/cost.h"

namespace hashmatch {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();

std::vector<uint32_t> list_masks(unsigned weight) {
  std::vector<uint32_t> masks;
  if (weight == 0) return {0};
  // Gosper's hack: the next larger number with as many bits set.
  for (uint64_t mask = (uint64_t{1} << weight) - 1; mask < uint64_t{1} << kMaxBandWidth;) {
    masks.push_back(static_cast<uint32_t>(mask));
    const uint64_t lowest = mask & (~mask + 1);
    const uint64_t carried = mask + lowest;
    mask = (((carried ^ mask) >> 2) / lowest) | carried;
  }
  return masks;
}

// Chance that `width` random bits differ from a query's in at most `limit` places.
double chance_within(unsigned width, int limit) {
  if (limit < 0) return 0;
  return std::ldexp(static_cast<double>(cost::ball_size(width, limit)), -static_cast<int>(width));
}

}  // namespace

PassChance pass_chance(const Layout& layout, unsigned band, const std::vector<int>& radius) {
  const unsigned count = layout.band_count();
  const BandCutter cut(layout, band);
  const unsigned next = band + 1 == count ? 0 : band + 1;
  const unsigned after = next + 1 == count ? 0 : next + 1;
  const int near_allowed = radius[band] + radius[next] + 1;
  const int far_allowed = near_allowed + radius[after] + 1;
  PassChance sum{0, 0};
  if (radius[band] < 0) return sum;
  for (int k = 0; k <= radius[band]; ++k) {
    const auto values =
        static_cast<double>(cost::ball_size(cut.width, k) - cost::ball_size(cut.width, k - 1));
    for (int d = 0; d <= near_allowed - k && d <= static_cast<int>(cut.near_width); ++d) {
      const double exactly =
          values * (chance_within(cut.near_width, d) - chance_within(cut.near_width, d - 1));
      sum.near += exactly;
      sum.far += exactly * chance_within(cut.far_width, far_allowed - k - d);
    }
  }
  const auto ball = static_cast<double>(cost::ball_size(cut.width, radius[band]));
  return {sum.near / ball, sum.far / ball};
}

const std::vector<uint32_t>& masks_of_weight(unsigned k) {
  static const auto all = [] {
    std::array<std::vector<uint32_t>, kMaxRadius + 1> lists;
    for (unsigned weight = 0; weight <= kMaxRadius; ++weight) lists[weight] = list_masks(weight);
    return lists;
  }();
  return all[k];
}

std::optional<Plan> allocate(unsigned bands, unsigned r,
                             const std::function<double(unsigned, int)>& cost) {
  // best[s]: the least cost of the bands so far with allowances that sum to s.
  const size_t target = r + 1;
  if (target > size_t{bands} * (kMaxRadius + 1)) return std::nullopt;
  std::vector<double> best(target + 1, kInfinite);
  std::vector<std::vector<int8_t>> chosen(bands, std::vector<int8_t>(target + 1, 0));
  best[0] = 0;
  for (unsigned band = 0; band < bands; ++band) {
    std::vector<double> with(target + 1, kInfinite);
    for (int allowance = 0; allowance <= kMaxRadius + 1; ++allowance) {
      const double price = allowance == 0 ? 0 : cost(band, allowance - 1);
      if (price == kInfinite) break;  // a larger ball costs no less
      for (auto sum = static_cast<size_t>(allowance); sum <= target; ++sum) {
        const double total = best[sum - static_cast<size_t>(allowance)] + price;
        if (total < with[sum]) {
          with[sum] = total;
          chosen[band][sum] = static_cast<int8_t>(allowance);
        }
      }
    }
    best = std::move(with);
  }
  if (best[target] == kInfinite) return std::nullopt;
  Plan plan{std::vector<int>(bands), best[target]};
  for (size_t sum = target, band = bands; band-- > 0;) {
    const int allowance = chosen[band][sum];
    plan.radius[band] = allowance - 1;
    sum -= static_cast<size_t>(allowance);
  }
  return plan;
}

std::optional<Plan> plan_radii(const Layout& layout, uint64_t n, unsigned r,
                               std::span<const double> density) {
  if (layout.bands.empty()) return std::nullopt;
  const double scan = cost::scan_ns(n, layout.bits);
  auto plan = allocate(layout.band_count(), r, [&](unsigned band, int radius) {
    const Band& b = layout.bands[band];
    if (radius > b.width) return kInfinite;
    const auto ball = static_cast<double>(cost::ball_size(b.width, radius));
    const double bucket =
        static_cast<double>(n) * std::ldexp(density.empty() ? 1 : density[band], -b.width);
    const double price =
        ball * (cost::probe_ns(n, layout, b) + bucket * cost::posting_ns(n, layout));
    return price > scan ? kInfinite : price;
  });
  if (!plan || plan->cost_ns > scan) return std::nullopt;
  return plan;
}

}  // namespace hashmatch
