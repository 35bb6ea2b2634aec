// Building a segment's image: sort by code, fold repeated codes, then list the rows by each band.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/memory.h"

namespace hashmatch {

// What a segment is built from. Rows of bits / 8 bytes each, and one id a row.
struct BuildInput {
  unsigned bits;
  int max_distance;       // -1: none
  std::string hash_type;  // up to 15 bytes
  std::span<const std::byte> codes;
  std::span<const uint64_t> ids;  // all different
  unsigned threads = 0;           // 0: all cores
};

// The image, byte for byte a segment file. Depends on the input alone, not on the threads.
// Throws InvalidArgument on more than 2^32 - 1 rows.
Region build_image(const BuildInput& input);

}  // namespace hashmatch
