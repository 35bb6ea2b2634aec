#include "search/rows.h"

#include <array>
#include <cstring>

#include "base/error.h"

namespace hashmatch {

FlatRows flatten(const State& state) {
  const size_t row_bytes = code_bytes(state.bits);
  const uint64_t live = state.live();
  FlatRows flat{HugeArray<std::byte>(live * row_bytes), HugeArray<uint64_t>(live)};
  size_t count = 0;
  const auto take = [&](const uint64_t* code, uint64_t id) {
    // Only a damaged file can list an entry under two rows.
    if (count == live) {
      throw FormatError("the index lists more rows than it holds; run `hashmatch check`");
    }
    std::memcpy(flat.codes.data() + count * row_bytes, code, row_bytes);
    flat.ids[count++] = id;
  };
  std::array<uint64_t, 4> code{};
  for (const SegmentPart& part : state.segments) {
    const Segment& segment = *part.segment;
    for (uint32_t row = 0; row < segment.rows(); ++row) {
      const auto [first, last] = segment.entries_of(row);
      segment.read_code(row, code.data());
      for (uint32_t entry = first; entry < last; ++entry) {
        if (part.holds(entry)) take(code.data(), segment.id(entry));
      }
    }
  }
  const unsigned words = words_of(state.bits);
  for (const ChunkPart& part : state.chunks) {
    for (uint32_t row = 0; row < part.rows; ++row) {
      if (part.holds(row)) {
        take(part.chunk->codes.data() + size_t{row} * words, part.chunk->ids[row]);
      }
    }
  }
  return flat;
}

}  // namespace hashmatch
