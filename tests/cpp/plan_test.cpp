// What a search relies on before it reads a code: radii, masks, layouts, sketches.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "image.h"
#include "index/cost.h"
#include "index/layout.h"
#include "index/plan.h"
#include "rows.h"

using namespace hashmatch;
using test::Random;

namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();

// prices[band][radius]; tries every allocation.
double cheapest(const std::vector<std::vector<double>>& prices, size_t band, int left) {
  if (band == prices.size()) return left == 0 ? 0 : kInfinite;
  double best = cheapest(prices, band + 1, left);
  for (int allowance = 1; allowance <= std::min(left, kMaxRadius + 1); ++allowance) {
    best = std::min(best, prices[band][static_cast<size_t>(allowance - 1)] +
                              cheapest(prices, band + 1, left - allowance));
  }
  return best;
}

uint64_t choose(unsigned n, unsigned k) {
  if (k > n) return 0;
  uint64_t result = 1;
  for (unsigned i = 0; i < k; ++i) result = result * (n - i) / (i + 1);
  return result;
}

}  // namespace

TEST_SUITE_BEGIN("base");

TEST_CASE("allocations sum to r + 1 and are the cheapest") {
  Random random(31);
  for (int round = 0; round < 3000; ++round) {
    const size_t bands = 1 + random() % 5;
    const unsigned r = static_cast<unsigned>(random() % 14);
    std::vector<std::vector<double>> prices(bands);
    for (auto& of_band : prices) {
      double price = 0;  // a larger ball costs no less
      for (int radius = 0; radius <= kMaxRadius; ++radius) {
        price += static_cast<double>(random() % 40);
        if (random() % 12 == 0) price = kInfinite;
        of_band.push_back(price);
      }
    }
    const auto plan = allocate(static_cast<unsigned>(bands), r, [&](unsigned band, int radius) {
      return prices[band][static_cast<size_t>(radius)];
    });
    const double best = cheapest(prices, 0, static_cast<int>(r) + 1);
    REQUIRE(plan.has_value() == (best < kInfinite));
    if (!plan) continue;
    int sum = 0;
    double cost = 0;
    for (size_t band = 0; band < bands; ++band) {
      const int radius = plan->radius[band];
      REQUIRE(radius >= -1);
      REQUIRE(radius <= kMaxRadius);
      sum += radius + 1;
      if (radius >= 0) cost += prices[band][static_cast<size_t>(radius)];
    }
    CHECK(sum == static_cast<int>(r) + 1);
    CHECK(cost == best);
    CHECK(plan->cost_ns == best);
  }
}

TEST_CASE("a distance no allocation reaches has no plan") {
  const auto free = [](unsigned, int) { return 0.0; };
  CHECK(allocate(3, 14, free).has_value());
  CHECK(!allocate(3, 15, free).has_value());
  CHECK(!allocate(0, 0, free).has_value());
}

TEST_CASE("plans for random codes stay within the bands") {
  Random random(32);
  for (const unsigned bits : test::kWidths) {
    for (const Layout& layout : test::layouts_of(bits, random)) {
      for (unsigned r = 0; r <= bits; ++r) {
        const auto plan = plan_uniform(layout, 100'000, r);
        if (!plan) continue;
        int sum = 0;
        for (unsigned band = 0; band < layout.band_count(); ++band) {
          CHECK(plan->radius[band] <= layout.bands[band].width);
          sum += plan->radius[band] + 1;
        }
        CHECK(sum == static_cast<int>(r) + 1);
      }
    }
  }
}

TEST_CASE("masks of a weight are all of them, ascending") {
  for (unsigned k = 0; k <= kMaxRadius; ++k) {
    const auto& masks = masks_of_weight(k);
    CHECK(masks.size() == choose(kMaxBandWidth, k));
    CHECK(std::ranges::adjacent_find(masks, std::greater_equal<>()) == masks.end());
    CHECK(std::ranges::all_of(masks, [&](uint32_t mask) {
      return static_cast<unsigned>(std::popcount(mask)) == k && mask < 1U << kMaxBandWidth;
    }));
    for (unsigned width = 1; width <= kMaxBandWidth; ++width) {
      const auto below = std::ranges::lower_bound(masks, uint32_t{1} << width) - masks.begin();
      CHECK(static_cast<uint64_t>(below) == choose(width, k));
    }
  }
}

TEST_CASE("the size of a ball") {
  for (unsigned width = 1; width <= 32; ++width) {
    uint64_t total = 0;
    CHECK(cost::ball_size(width, -1) == 0);
    for (unsigned radius = 0; radius <= width + 2; ++radius) {
      total += choose(width, radius);
      CHECK(cost::ball_size(width, static_cast<int>(radius)) == total);
    }
  }
}

TEST_CASE("chosen layouts cover the code with bands that files may have") {
  for (const unsigned bits : test::kWidths) {
    for (const uint64_t n : {uint64_t{0}, uint64_t{2048}, uint64_t{2049}, uint64_t{100'000},
                             uint64_t{10'000'000}, uint64_t{4'000'000'000}}) {
      for (const unsigned r : {0U, 1U, 3U, 8U, 10U, 16U, 31U, 64U, bits}) {
        if (r > bits) continue;
        const Layout layout = choose_layout(n, bits, r);
        CHECK(layout.bits == bits);
        CHECK(layout.band_count() <= kernel::kMaxBands);
        CHECK(layout.band_count() != 2);
        unsigned at = 0;
        for (const Band& band : layout.bands) {
          CHECK(band.at == at);
          CHECK(band.width >= 1);
          CHECK(band.width <= kMaxBandWidth);
          at += band.width;
        }
        if (layout.band_count() > 1) CHECK(at == bits);
        if (layout.band_count() <= 1) CHECK(layout.sketch_bits == 0);
      }
    }
  }
}

TEST_CASE("a sketch holds the bits that follow its band") {
  Random random(33);
  for (const unsigned bits : test::kWidths) {
    const test::Rows rows = test::uniform(bits, 20, random);
    for (const Layout& layout : test::layouts_of(bits, random)) {
      if (layout.sketch_bits == 0) continue;
      for (unsigned band = 0; band < layout.band_count(); ++band) {
        const BandCutter cut(layout, band);
        const unsigned next = (band + 1) % layout.band_count();
        const unsigned after = (next + 1) % layout.band_count();
        const unsigned near = layout.bands[next].width;
        const unsigned wanted = layout.sketch_bits == 16 ? near : near + layout.bands[after].width;
        CHECK(near_mask(layout, band) == (uint64_t{1} << std::min(near, layout.sketch_bits)) - 1);
        for (size_t i = 0; i < rows.size(); ++i) {
          uint64_t code[5] = {};
          std::memcpy(code, rows.row(i), bits / 8);
          const auto bit = [&](unsigned at) { return uint32_t(code[at / 64] >> (at % 64) & 1); };
          uint32_t value = 0, sketch = 0;
          for (unsigned k = 0; k < cut.width; ++k) value |= bit(layout.bands[band].at + k) << k;
          for (unsigned k = 0; k < std::min(wanted, layout.sketch_bits); ++k) {
            sketch |= bit((layout.bands[band].at + cut.width + k) % bits) << k;
          }
          CHECK(cut.value(code) == value);
          CHECK(cut.sketch(code) == sketch);
        }
      }
    }
  }
}

TEST_SUITE_END();
