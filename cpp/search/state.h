// One consistent state of an index: what a search pins when it begins. Immutable but for chunks,
// of which a state sees only the rows that were there when it was made.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/memory.h"
#include "index/code.h"
#include "index/segment.h"
#include "search/tombstones.h"

namespace hashmatch {

// Rows added lately, searched by scanning. Written only past the rows that any state sees, by one
// writer at a time.
struct Chunk {
  Chunk(size_t rows, unsigned words) : capacity(rows), codes(rows * words), ids(rows) {}
  size_t capacity;
  HugeArray<uint64_t> codes;
  HugeArray<uint64_t> ids;
};

struct SegmentPart {
  std::shared_ptr<const Segment> segment;
  std::shared_ptr<const Tombstones> removed;  // by entry; null: none

  bool holds(uint32_t entry) const { return removed == nullptr || !removed->contains(entry); }
  uint64_t live() const { return segment->entries() - (removed == nullptr ? 0 : removed->count()); }
};

struct ChunkPart {
  std::shared_ptr<Chunk> chunk;
  uint32_t rows = 0;
  std::shared_ptr<const Tombstones> removed;  // by row; null: none

  bool holds(uint32_t row) const { return removed == nullptr || !removed->contains(row); }
  uint64_t live() const { return rows - (removed == nullptr ? 0 : removed->count()); }
};

struct State {
  unsigned bits = 0;
  uint64_t generation = 0;
  std::vector<SegmentPart> segments;
  std::vector<ChunkPart> chunks;

  // Ids held.
  uint64_t live() const {
    uint64_t total = 0;
    for (const SegmentPart& part : segments) total += part.live();
    for (const ChunkPart& part : chunks) total += part.live();
    return total;
  }

  uint64_t chunk_rows() const {
    uint64_t total = 0;
    for (const ChunkPart& part : chunks) total += part.rows;
    return total;
  }

  // Nothing to fold.
  bool is_one_clean_segment() const {
    return segments.size() == 1 && segments[0].removed == nullptr && chunk_rows() == 0;
  }
};

using StatePtr = std::shared_ptr<const State>;

}  // namespace hashmatch
