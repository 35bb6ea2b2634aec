// The order of results: by distance, then by id.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace hashmatch {

struct Found {
  uint64_t id;
  uint32_t query;
  uint32_t distance;
  bool operator<(const Found& other) const {
    return distance != other.distance ? distance < other.distance : id < other.id;
  }
};

// Sorts by distance, then id. `spare` is room that calls may share.
void sort_found(std::span<Found> found, std::vector<Found>& spare);

}  // namespace hashmatch
