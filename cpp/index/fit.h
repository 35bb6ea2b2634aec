// Radii fitted to one query, where its buckets hold much more than random data would.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "index/plan.h"
#include "index/segment.h"

namespace hashmatch {

// Postings met while a query's buckets were listed: shell[band][k] at distance k from its value.
struct BallSizes {
  std::array<std::array<uint64_t, kMaxRadius + 1>, kernel::kMaxBands> shell{};
  std::array<int, kernel::kMaxBands> known{};  // shells of each band
};

struct FittedPlan {
  QueryPlan plan;
  double predicted_postings = 0;
};

// The cheapest radii by the sizes that are known, larger balls being taken for as dense, beside
// random data, as the known part. Empty where a scan is predicted to be cheaper.
std::optional<FittedPlan> fit_radii(const Segment& segment, const QueryPlan& usual,
                                    const BallSizes& sizes, uint32_t max_distance);

}  // namespace hashmatch
