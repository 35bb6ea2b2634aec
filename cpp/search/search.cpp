#include "search/search.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/parallel.h"
#include "index/cost.h"
#include "index/segment_search.h"
#include "search/order.h"

namespace hashmatch {
namespace {

using kernel::Hit;

// Queries searched together: enough that a bucket meets several, few enough to report progress, and
// as few as make some kMatchesAtOnce matches, which the caches hold until they are in order. The
// first block is small, for how many a query has is not known yet.
constexpr size_t kBlock = size_t{1} << 17;
constexpr size_t kFirstBlock = 64;
constexpr size_t kMatchesAtOnce = size_t{1} << 18;

// Fewer queries than this are searched one after the other on the caller's thread.
constexpr size_t kFewQueries = 8;

void add_segment_hits(const SegmentPart& part, std::span<const Hit> hits, const IdLimits& limits,
                      std::vector<Found>& out) {
  const Segment& segment = *part.segment;
  for (const Hit& hit : hits) {
    const auto [first, last] = segment.entries_of(hit.row);
    for (uint32_t entry = first; entry < last; ++entry) {
      if (!part.holds(entry)) continue;
      const uint64_t id = segment.id(entry);
      if (limits.pass(id, hit.distance)) out.push_back({id, hit.query, hit.distance});
    }
  }
}

void add_chunk_hits(const ChunkPart& part, std::span<const Hit> hits, const IdLimits& limits,
                    std::vector<Found>& out) {
  for (const Hit& hit : hits) {
    if (!part.holds(hit.row)) continue;
    const uint64_t id = part.chunk->ids[hit.row];
    if (limits.pass(id, hit.distance)) out.push_back({id, hit.query, hit.distance});
  }
}

// One thread's arrays. They outlive a call, so that a single query allocates nothing.
struct Workspace {
  Scratch scratch;
  std::vector<Hit> hits;
  std::vector<Found> found;
  std::vector<Found> spare;  // for sorting
};

Workspace& workspace() {
  thread_local Workspace space;
  return space;
}

// Those of the workers of one call. Only the caller's thread has its own: for the others, glibc
// would end the process if there were no memory for it.
class Workspaces {
 public:
  explicit Workspaces(unsigned threads) : others_(threads - 1) {}
  Workspace& of(unsigned worker) { return worker == 0 ? workspace() : others_[worker - 1]; }

 private:
  std::vector<Workspace> others_;
};

// Everything within max_distance of one query, unsorted, in space.found.
void find_one(const State& state, const uint64_t* query, uint32_t max_distance,
              const IdLimits& limits, Workspace& space) {
  space.found.clear();
  for (const SegmentPart& part : state.segments) {
    space.hits.clear();
    const Segment& segment = *part.segment;
    const OrderedCodes ordered(segment.order(), query, 1, words_of(state.bits));
    search_one(segment, ordered.data(), 0, max_distance, space.scratch, space.hits);
    add_segment_hits(part, space.hits, limits, space.found);
  }
  for (const ChunkPart& part : state.chunks) {
    space.hits.clear();
    scan_rows(query, 1, 0, part.chunk->codes.data(), part.rows, 0, words_of(state.bits),
              max_distance, space.scratch, space.hits);
    add_chunk_hits(part, space.hits, limits, space.found);
  }
}

// What blocks of queries use one after another.
struct BlockSpace {
  explicit BlockSpace(unsigned threads) : spaces(threads), hits(threads), found(threads) {}
  Workspaces spaces;
  std::vector<std::vector<Hit>> hits;     // one list a worker, empty between blocks
  std::vector<std::vector<Found>> found;  // likewise
  std::vector<size_t> starts;
  std::vector<size_t> next;
  std::vector<Found> grouped;
};

// Everything within max_distance of each of many queries, unsorted, in space.found.
void find_many(const State& state, const uint64_t* queries, size_t count, uint32_t max_distance,
               const IdLimits& limits, BlockSpace& space) {
  auto& [spaces, hits, found, starts, next, grouped] = space;
  const auto threads = static_cast<unsigned>(hits.size());
  const unsigned words = words_of(state.bits);
  for (const SegmentPart& part : state.segments) {
    const OrderedCodes ordered(part.segment->order(), queries, count, words);
    search_many(*part.segment, ordered.data(), count, max_distance, hits);
    parallel_for(threads, threads, [&](size_t worker, unsigned) {
      add_segment_hits(part, hits[worker], limits, found[worker]);
      hits[worker].clear();
    });
  }
  constexpr size_t kStep = 256;
  for (const ChunkPart& part : state.chunks) {
    parallel_for((count + kStep - 1) / kStep, threads, [&](size_t task, unsigned worker) {
      const size_t first = task * kStep;
      const size_t last = std::min(first + kStep, count);
      scan_rows(queries + first * words, last - first, static_cast<uint32_t>(first),
                part.chunk->codes.data(), part.rows, 0, words, max_distance,
                spaces.of(worker).scratch, hits[worker]);
      add_chunk_hits(part, hits[worker], limits, found[worker]);
      hits[worker].clear();
    });
  }
}

void append(std::span<const Found> sorted, uint64_t limit, Results& out) {
  const size_t kept = limit == 0 ? sorted.size() : std::min<uint64_t>(limit, sorted.size());
  const size_t before = out.id.size();
  out.id.resize(before + kept);
  out.distance.resize(before + kept);
  for (size_t i = 0; i < kept; ++i) {
    out.id[before + i] = sorted[i].id;
    out.distance[before + i] = static_cast<uint16_t>(sorted[i].distance);
  }
  out.offsets.push_back(static_cast<int64_t>(before + kept));
}

// Groups what was found by query with a counting sort, sorts each group, and appends. Returns how
// many were found.
size_t gather(BlockSpace& space, size_t count, uint64_t limit, Results& out) {
  auto& [spaces, hits, found, starts, next, grouped] = space;
  starts.assign(count + 1, 0);
  for (const auto& list : found) {
    for (const Found& f : list) ++starts[f.query + 1];
  }
  for (size_t i = 0; i < count; ++i) starts[i + 1] += starts[i];
  const size_t total = starts[count];
  if (grouped.size() < total) grouped.resize(total);
  next.assign(starts.begin(), starts.end() - 1);
  for (auto& list : found) {
    for (const Found& f : list) grouped[next[f.query]++] = f;
    list.clear();
  }
  constexpr size_t kStep = 64;
  parallel_for((count + kStep - 1) / kStep,
               total < 100'000 ? 1 : static_cast<unsigned>(found.size()),
               [&](size_t task, unsigned worker) {
                 auto& spare = spaces.of(worker).spare;
                 for (size_t i = task * kStep; i < std::min((task + 1) * kStep, count); ++i) {
                   sort_found({grouped.data() + starts[i], starts[i + 1] - starts[i]}, spare);
                 }
               });
  for (size_t i = 0; i < count; ++i) {
    append({grouped.data() + starts[i], starts[i + 1] - starts[i]}, limit, out);
  }
  return total;
}

// Codes as aligned words, followed by bytes that a kernel may read.
class Codes {
 public:
  Codes(const std::byte* rows, size_t count, unsigned bits) {
    const size_t words = count * words_of(bits) + kernel::kOverreadBytes / 8;
    if (words > inline_.size()) {
      large_.resize(words);
      words_ = large_.data();
    }
    widen(rows, count, bits, words_);
  }
  Codes(const Codes&) = delete;
  Codes& operator=(const Codes&) = delete;
  const uint64_t* data() const { return words_; }

 private:
  std::array<uint64_t, 48> inline_{};
  std::vector<uint64_t> large_;
  uint64_t* words_ = inline_.data();
};

// search_block(first, count) says how many queries the next block may have.
template <class SearchBlock>
void in_blocks(size_t count, size_t block, const SearchOptions& options,
               const SearchBlock& search_block) {
  for (size_t first = 0; first < count;) {
    const size_t size = std::min(block, count - first);
    block = search_block(first, size);
    first += size;
    if (options.progress) options.progress(first, count);
  }
}

// Keeps the k first in order. Returns the distance that a further one must not exceed.
uint32_t keep_nearest(std::vector<Found>& found, uint64_t k, uint32_t max_distance) {
  if (found.size() < k) return max_distance;
  const auto kth = found.begin() + static_cast<std::ptrdiff_t>(k - 1);
  std::nth_element(found.begin(), kth, found.end());
  found.resize(k);
  return found[k - 1].distance;
}

// The k nearest by scanning everything, the distance shrinking to the k-th best so far.
void scan_nearest(const State& state, const uint64_t* query, uint64_t k, uint32_t max_distance,
                  Workspace& space) {
  constexpr uint32_t kStep = 4096;
  const unsigned words = words_of(state.bits);
  space.found.clear();
  const auto scan = [&](const uint64_t* wanted, const uint64_t* codes, uint32_t rows,
                        const auto& add_hits) {
    for (uint32_t first = 0; first < rows; first += std::min(kStep, rows - first)) {
      space.hits.clear();
      scan_rows(wanted, 1, 0, codes + size_t{first} * words, std::min(kStep, rows - first), first,
                words, max_distance, space.scratch, space.hits);
      if (space.hits.empty()) continue;
      add_hits();
      max_distance = keep_nearest(space.found, k, max_distance);
    }
  };
  for (const SegmentPart& part : state.segments) {
    const OrderedCodes ordered(part.segment->order(), query, 1, words);
    scan(ordered.data(), part.segment->codes(), part.segment->rows(),
         [&] { add_segment_hits(part, space.hits, {}, space.found); });
  }
  for (const ChunkPart& part : state.chunks) {
    scan(query, part.chunk->codes.data(), part.rows,
         [&] { add_chunk_hits(part, space.hits, {}, space.found); });
  }
}

bool all_scanned(const State& state, uint32_t distance) {
  return std::ranges::all_of(
      state.segments, [&](const SegmentPart& part) { return part.segment->plan(distance).scan; });
}

// The k nearest of one query, in space.found: the search widens from cheap distances until it has
// found k, or would read everything anyway.
void nearest_one(const State& state, const uint64_t* query, uint64_t k, uint32_t max_distance,
                 Workspace& space) {
  for (uint32_t distance = std::min(state.bits / 32, max_distance);;
       distance = std::min(distance * 3 / 2 + 1, max_distance)) {
    if (all_scanned(state, distance)) {
      scan_nearest(state, query, k, max_distance, space);
      break;
    }
    find_one(state, query, distance, {}, space);
    if (distance == max_distance || space.found.size() >= k) break;
  }
  keep_nearest(space.found, k, max_distance);
  sort_found(space.found, space.spare);
}

}  // namespace

std::vector<int64_t> Results::query() const {
  std::vector<int64_t> column(id.size());
  for (size_t i = 0; i + 1 < offsets.size(); ++i) {
    std::fill(column.begin() + offsets[i], column.begin() + offsets[i + 1],
              static_cast<int64_t>(i));
  }
  return column;
}

Results search(const State& state, const std::byte* queries, size_t count,
               const SearchOptions& options) {
  Results results;
  results.offsets.reserve(count + 1);
  const size_t row_bytes = code_bytes(state.bits);
  std::optional<BlockSpace> many;
  in_blocks(count, kFirstBlock, options, [&](size_t first, size_t block) {
    const Codes rows(queries + first * row_bytes, block, state.bits);
    if (count > kFewQueries) {
      if (!many) many.emplace(resolve_threads(options.threads));
      find_many(state, rows.data(), block, options.max_distance, options.limits, *many);
      const size_t found = gather(*many, block, options.limit, results);
      return std::clamp(kMatchesAtOnce * block / (found + 1), kFewQueries, kBlock);
    }
    Workspace& space = workspace();
    for (size_t i = 0; i < block; ++i) {
      find_one(state, rows.data() + i * words_of(state.bits), options.max_distance, options.limits,
               space);
      sort_found(space.found, space.spare);
      append(space.found, options.limit, results);
    }
    return block;
  });
  return results;
}

Results nearest(const State& state, const std::byte* queries, size_t count, uint64_t k,
                const SearchOptions& options) {
  constexpr size_t kNearestBlock = 1024;
  constexpr size_t kStep = 16;
  Results results;
  const unsigned words = words_of(state.bits);
  const size_t row_bytes = code_bytes(state.bits);
  const unsigned threads = resolve_threads(options.threads);
  Workspaces spaces(threads);
  in_blocks(count, kNearestBlock, options, [&](size_t first, size_t block) {
    const Codes rows(queries + first * row_bytes, block, state.bits);
    std::vector<std::vector<Found>> found(block);
    parallel_for((block + kStep - 1) / kStep, threads, [&](size_t task, unsigned worker) {
      Workspace& space = spaces.of(worker);
      for (size_t i = task * kStep; i < std::min((task + 1) * kStep, block); ++i) {
        nearest_one(state, rows.data() + i * words, k, options.max_distance, space);
        found[i] = space.found;
      }
    });
    for (const auto& list : found) append(list, 0, results);
    return kNearestBlock;
  });
  return results;
}

Results scan(std::span<const std::byte> rows, unsigned bits, const std::byte* queries, size_t count,
             const SearchOptions& options) {
  const unsigned words = words_of(bits);
  const size_t row_count = rows.size() / code_bytes(bits);
  // The caller's array has no padding: its last rows are read from a copy. So are all of them when
  // they are not words, or not where words may be.
  const bool words_already = words * sizeof(uint64_t) == code_bytes(bits) &&
                             reinterpret_cast<uintptr_t>(rows.data()) % sizeof(uint64_t) == 0;
  const size_t in_place = words_already ? row_count - std::min<size_t>(row_count, 8) : 0;
  const Codes rest(rows.data() + in_place * code_bytes(bits), row_count - in_place, bits);
  const Codes wanted(queries, count, bits);
  const auto* words_in_place = reinterpret_cast<const uint64_t*>(rows.data());
  constexpr size_t kStep = 64;
  BlockSpace all(resolve_threads(options.threads));
  parallel_for((count + kStep - 1) / kStep, options.threads, [&](size_t task, unsigned worker) {
    const size_t first = task * kStep;
    const size_t queries_here = std::min(kStep, count - first);
    Workspace& space = all.spaces.of(worker);
    space.hits.clear();
    const auto take = [&](const uint64_t* codes, size_t n, size_t first_row) {
      scan_rows(wanted.data() + first * words, queries_here, static_cast<uint32_t>(first), codes, n,
                static_cast<uint32_t>(first_row), words, options.max_distance, space.scratch,
                space.hits);
    };
    take(words_in_place, in_place, 0);
    take(rest.data(), row_count - in_place, in_place);
    for (const Hit& hit : space.hits) {
      all.found[worker].push_back({hit.row, hit.query, hit.distance});
    }
  });
  Results results;
  gather(all, count, 0, results);
  return results;
}

}  // namespace hashmatch
