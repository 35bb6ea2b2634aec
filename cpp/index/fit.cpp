#include "index/fit.h"

#include <algorithm>
#include <cmath>

#include "index/cost.h"

namespace hashmatch {
namespace {

// One band around one query's value.
struct Ball {
  std::array<double, kMaxRadius + 1> probes;    // within each radius
  std::array<double, kMaxRadius + 1> postings;  // known or predicted
  double density;                               // of the known part, beside random data; 1 at least
};

Ball measure(const Segment& segment, const BallSizes& sizes, unsigned band) {
  const unsigned width = segment.layout().bands[band].width;
  const double mean =
      std::ldexp(static_cast<double>(segment.banded_rows()), -static_cast<int>(width));
  Ball ball{};
  double known = 0;
  for (int k = 0; k < sizes.known[band]; ++k) {
    known += static_cast<double>(sizes.shell[band][static_cast<size_t>(k)]);
  }
  const auto known_buckets = static_cast<double>(cost::ball_size(width, sizes.known[band] - 1));
  ball.density = known_buckets == 0 ? 1 : std::max(1.0, known / (known_buckets * mean));
  double postings = 0;
  for (int k = 0; k <= kMaxRadius; ++k) {
    const auto at = static_cast<size_t>(k);
    ball.probes[at] = static_cast<double>(cost::ball_size(width, k));
    const double values = ball.probes[at] - (k == 0 ? 0 : ball.probes[at - 1]);
    postings += k < sizes.known[band] ? static_cast<double>(sizes.shell[band][at])
                                      : values * mean * ball.density;
    ball.postings[at] = postings;
  }
  return ball;
}

}  // namespace

std::optional<FittedPlan> fit_radii(const Segment& segment, const QueryPlan& usual,
                                    const BallSizes& sizes, uint32_t max_distance) {
  const Layout& layout = segment.layout();
  const unsigned bands = layout.band_count();
  std::vector<Ball> balls;
  for (unsigned band = 0; band < bands; ++band) balls.push_back(measure(segment, sizes, band));
  const uint32_t rows = segment.banded_rows();
  auto plan = allocate(bands, max_distance, [&](unsigned band, int radius) {
    // A posting is a candidate where the next band is near too: the likelier, the denser that is.
    const double next_density = balls[band + 1 == bands ? 0 : band + 1].density;
    const PassChance& usually = usual.pass_chance[band];
    const PassChance pass{std::min(1.0, usually.near * next_density),
                          std::min(1.0, usually.far * next_density)};
    const auto k = static_cast<size_t>(radius);
    return balls[band].probes[k] * cost::probe_ns(rows, layout, layout.bands[band]) +
           balls[band].postings[k] *
               (cost::posting_ns(rows, layout) + cost::candidate_ns(rows, layout, pass));
  });
  if (!plan || plan->cost_ns > cost::scan_ns(segment.banded_rows(), layout.bits)) {
    return std::nullopt;
  }
  FittedPlan fitted;
  for (unsigned band = 0; band < bands; ++band) {
    const int radius = plan->radius[band];
    if (radius >= 0) fitted.predicted_postings += balls[band].postings[static_cast<size_t>(radius)];
  }
  fitted.plan = make_query_plan(layout, segment.banded_rows(), std::move(plan->radius));
  return fitted;
}

}  // namespace hashmatch
