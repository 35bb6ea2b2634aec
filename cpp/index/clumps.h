// Clumps: near-identical codes, such as the frames of a still video, stored side by side.
//
// In the bands a clump's rows would share their buckets in almost every band, and be candidates of
// each. Kept apart they are scanned in sequence, and only by queries near their centre: a row
// within r of a query and within `radius` of the centre implies dist(query, centre) <= r + radius.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "index/layout.h"

namespace hashmatch {

inline constexpr uint16_t kNoClump = UINT16_MAX;

// Which clump each row belongs to. Clumps are numbered from 0; centres are codes one after another.
struct ClumpPlan {
  std::vector<uint64_t> centres;
  std::vector<uint32_t> radius;  // largest distance of a row from its centre
  std::vector<uint32_t> rows;    // rows of each clump
  std::vector<uint16_t> of_row;  // empty when there are no clumps

  size_t count() const { return radius.size(); }
};

// Finds the largest clumps among rows, read by `read(row, out)`, which writes one code. Looks at a
// sample for buckets much fuller than random data would make them, and for a centre that many of
// such a bucket's codes are near; then assigns every row to the nearest centre in reach, if any.
// What it overlooks stays in the bands, where it costs time but no match.
ClumpPlan find_clumps(const Layout& layout, uint32_t rows,
                      const std::function<void(uint32_t row, uint64_t* out)>& read,
                      unsigned threads);

}  // namespace hashmatch
