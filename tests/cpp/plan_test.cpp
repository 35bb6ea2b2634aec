// What a search relies on before it reads a code: radii, masks, layouts, sketches.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "image.h"
#include "index/bit_order.h"
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
        const auto plan = plan_radii(layout, 100'000, r);
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

TEST_CASE("sketches hold the bits that follow their band") {
  Random random(33);
  for (const unsigned bits : test::kWidths) {
    const test::Rows rows = test::uniform(bits, 20, random);
    for (const Layout& layout : test::layouts_of(bits, random)) {
      if (layout.sketch_bits == 0) continue;
      for (unsigned band = 0; band < layout.band_count(); ++band) {
        const BandCutter cut(layout, band);
        const unsigned next = (band + 1) % layout.band_count();
        const unsigned after = (next + 1) % layout.band_count();
        const unsigned near = std::min<unsigned>(layout.bands[next].width, 16);
        const unsigned rest = layout.bands[next].width - near + layout.bands[after].width;
        const unsigned far = layout.sketch_bits == 32 ? std::min(rest, 16U) : 0;
        for (size_t i = 0; i < rows.size(); ++i) {
          uint64_t code[5] = {};
          std::memcpy(code, rows.row(i), bits / 8);
          const auto cut_out = [&](unsigned from, unsigned width) {
            uint32_t value = 0;
            for (unsigned k = 0; k < width; ++k) {
              const unsigned at = (from + k) % layout.covered();
              value |= static_cast<uint32_t>(code[at / 64] >> (at % 64) & 1) << k;
            }
            return value;
          };
          const unsigned at = layout.bands[band].at;
          CHECK(cut.value(code) == cut_out(at, cut.width));
          CHECK(cut.sketch(code) == cut_out(at + cut.width, near));
          CHECK(cut.far_sketch(code) == cut_out(at + cut.width + near, far));
        }
      }
    }
  }
}

TEST_CASE("bits that hardly vary are left out of the bands") {
  Random random(35);
  for (const unsigned bits : {64U, 128U, 256U}) {
    std::vector<double> entropy(bits, 0.99);
    const Layout natural = choose_layout(10'000'000, bits, bits / 8, entropy);
    CHECK(natural.order.empty());
    CHECK(natural.covered() == bits);
    std::vector<uint8_t> dull(bits);
    std::iota(dull.begin(), dull.end(), uint8_t{0});
    std::ranges::shuffle(dull, random);
    dull.resize(bits / 4);
    for (const uint8_t bit : dull) entropy[bit] = 0.05;
    const Layout layout = choose_layout(10'000'000, bits, bits / 8, entropy);
    CHECK(layout.covered() == bits - bits / 4);
    REQUIRE(layout.order.size() == bits);
    std::vector<uint8_t> last(layout.order.begin() + layout.covered(), layout.order.end());
    std::ranges::sort(dull);
    CHECK(last == dull);
    std::vector<uint8_t> all = layout.order;
    std::ranges::sort(all);
    for (unsigned bit = 0; bit < bits; ++bit) CHECK(all[bit] == bit);
  }
}

TEST_CASE("codes of a few varying bits get a layout or a scan, whichever they are") {
  for (unsigned varying = 0; varying <= 128; ++varying) {
    std::vector<double> entropy(256, 0);
    std::fill_n(entropy.begin() + 50, varying, 1.0);
    const Layout layout = choose_layout(1'000'000, 256, varying / 8, entropy);
    CHECK(layout.covered() <= 256);
    CHECK(layout.band_count() != 2);
    for (const Band& band : layout.bands) {
      CHECK(band.width + layout.sketch_bits <= layout.covered());
    }
  }
}

TEST_CASE("a code's bits are put in order, and back") {
  Random random(37);
  for (const unsigned bits : test::kWidths) {
    std::vector<uint8_t> order(bits);
    std::iota(order.begin(), order.end(), uint8_t{0});
    std::ranges::shuffle(order, random);
    const BitOrder forth(order), back(inverse(order));
    CHECK(BitOrder().is_natural());
    CHECK(!forth.is_natural());
    const unsigned words = words_of(bits);
    for (int round = 0; round < 20; ++round) {
      std::array<uint64_t, 4> code{}, moved{}, again{};
      for (unsigned p = 0; p < bits; ++p) code[p / 64] |= (random() & 1) << (p % 64);
      forth.apply(code.data(), words, moved.data());
      for (unsigned p = 0; p < bits; ++p) {
        CHECK((moved[p / 64] >> (p % 64) & 1) == (code[order[p] / 64U] >> (order[p] % 64U) & 1));
      }
      back.apply(moved.data(), words, again.data());
      CHECK(again == code);
    }
  }
}

TEST_CASE("collision entropy tells fair bits from dull ones") {
  Random random(39);
  std::vector<std::byte> rows(32 * 20'000);
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto fair = static_cast<uint8_t>(random());
    const bool rare = random() % 32 == 0;
    rows[i] = std::byte{i % 32 < 16 ? fair : rare ? uint8_t{0xff} : uint8_t{0}};
  }
  const std::vector<double> entropy = collision_entropy(rows, 256);
  REQUIRE(entropy.size() == 256);
  for (unsigned bit = 0; bit < 128; ++bit) CHECK(entropy[bit] > 0.99);
  // -log2(p^2 + (1 - p)^2) for p = 1 / 32
  for (unsigned bit = 128; bit < 256; ++bit)
    CHECK(entropy[bit] == doctest::Approx(0.09).epsilon(0.3));
  CHECK(collision_entropy(std::vector<std::byte>(64), 256) == std::vector<double>(256, 0.0));
}

TEST_SUITE_END();
