// Codes that stand for several rows: which rows have the same code as an earlier one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace hashmatch {

struct Distinct {
  std::vector<int64_t> rows;    // the first row of each code, ascending
  std::vector<int64_t> counts;  // how many rows have it
};

// Rows of row_bytes bytes, which are a multiple of 4; those with one number in `groups`, which has
// one for each row, stand beside one another, and only rows of one group are compared.
Distinct distinct(std::span<const std::byte> rows, size_t row_bytes,
                  std::span<const int64_t> groups);

}  // namespace hashmatch
