// Searching one segment: which rows lie within max_distance of each query.
//
// Queries have their bits in the segment's order (Segment::order).
//
// Naive version: Kernel::scan over all rows. Everything else here only skips rows that cannot
// match, and no query costs much more than that scan, whatever the data.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "index/segment.h"
#include "kernel/kernel.h"

namespace hashmatch {

// Room for values that a kernel writes: grows as asked, and is never cleared.
template <class T>
class Room {
 public:
  T* at_least(size_t count) {
    if (count > size_) {
      const size_t size = std::max(count, 2 * size_);
      values_ = std::make_unique_for_overwrite<T[]>(size);  // throws before size_ says otherwise
      size_ = size;
    }
    return values_.get();
  }

 private:
  std::unique_ptr<T[]> values_;
  size_t size_ = 0;
};

// Arrays that searches reuse; one a thread.
struct Scratch {
  std::vector<kernel::Pair> pairs;
  Room<kernel::Probe> probes;
  Room<kernel::Run> runs;
  Room<kernel::Candidate> candidates;
  Room<uint64_t> differences;
  Room<uint32_t> limits;
  Room<uint32_t> kept;
  Room<kernel::Hit> hits;
  std::vector<kernel::Hit> near_centres;
};

// The bits in which a posting and a query differ in sketch and far sketch.
inline uint64_t sketch_difference(const Segment& segment, unsigned band, uint32_t posting,
                                  uint16_t sketch, uint16_t far_sketch) {
  const auto near = static_cast<uint32_t>(segment.sketches(band)[posting] ^ sketch);
  const auto far = static_cast<uint32_t>(segment.far_sketch(band, posting) ^ far_sketch);
  return near | far << kSketchBits;
}

// Appends a hit for each row within max_distance, each once, in no order; hits name the query as
// `number`. The query is followed by 64 readable bytes.
void search_one(const Segment& segment, const uint64_t* query, uint32_t number,
                uint32_t max_distance, Scratch& scratch, std::vector<kernel::Hit>& out);

// The same for many queries at once, `out` being one list a worker thread. Queries are rows of
// words followed by 64 readable bytes.
void search_many(const Segment& segment, const uint64_t* queries, size_t count,
                 uint32_t max_distance, std::vector<std::vector<kernel::Hit>>& out);

// The clumps' part of a search of queries [first_query, first_query + count): appends hits in the
// same way.
void search_clumps(const Segment& segment, const uint64_t* queries, size_t count,
                   uint32_t first_query, uint32_t max_distance, Scratch& scratch,
                   std::vector<kernel::Hit>& out);

// Every query against every row, in tiles: appends hits as search_one does, numbering queries from
// `first_query` and rows from `first_row`.
void scan_rows(const uint64_t* queries, size_t query_count, uint32_t first_query,
               const uint64_t* rows, size_t row_count, uint32_t first_row, unsigned words,
               uint32_t max_distance, Scratch& scratch, std::vector<kernel::Hit>& out);

}  // namespace hashmatch
