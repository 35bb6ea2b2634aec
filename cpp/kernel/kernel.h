// The batch contract that every instruction set implements, and the choice among them.
//
// A kernel is a table of functions over plain arrays. Each has one meaning, stated here and tested
// against brute force for every kernel the machine has; implementations differ in speed only.
// Kernels take batches, never pairs; allocate nothing, throw nothing, keep no state, and are safe
// to call from any number of threads.
//
// A *code* of b bits is `words` 64-bit words (64 bits: 1, 128: 2, 160 and 256: 4, unused bits 0);
// bit p of a code is bit p % 8 of its byte p / 8, so a little-endian load reads bits in order.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hashmatch::kernel {

// A kernel may read (never write) this many bytes past the end of any array of rows or sketches it
// is given. Whoever owns such an array pads it.
inline constexpr size_t kOverreadBytes = 64;

inline constexpr unsigned kMaxBands = 32;

// A query and a row within max_distance of each other. Indexes into the arrays of the call.
struct Hit {
  uint32_t query;
  uint32_t row;
  uint32_t distance;
};

// One bucket to filter for one query. A posting passes when popcount(its sketch ^ sketch) <= limit.
struct Probe {
  const uint16_t* sketches;  // of the bucket
  uint32_t posting;          // number of the bucket's first posting; candidates report posting + k
  uint32_t count;            // postings in the bucket
  uint16_t sketch;           // the query's
  uint16_t limit;
  uint32_t tag;  // handed back in the candidate
};

struct Candidate {
  uint32_t tag;
  uint32_t posting;
};

// Consecutive queries [begin, begin + count) that all look at one bucket with the same limit.
struct Run {
  uint32_t begin;
  uint32_t count;
  uint32_t limit;
};

// A candidate to verify: query and row are indexes, band is the band that found it.
struct Pair {
  uint32_t query;
  uint32_t row;
  uint32_t band;
};

// The bands of a layout and what the plan allows each: allowance = radius + 1, 0 = not probed.
struct Chain {
  uint32_t bands;
  uint16_t at[kMaxBands];     // first bit
  uint16_t width[kMaxBands];  // bits, 1..32; bands follow one another and cover the code
  uint16_t allowance[kMaxBands];
};

// Index of the functions for a number of words: 1 -> 0, 2 -> 1, 4 -> 2.
constexpr unsigned width_class(unsigned words) { return words >> 1; }

struct Kernel {
  const char* name;

  // Every query against every row: writes each pair within max_distance, in any order, and returns
  // how many. `out` has room for query_count * row_count hits.
  using Scan = size_t (*)(const uint64_t* queries, size_t query_count, const uint64_t* rows,
                          size_t row_count, uint32_t max_distance, Hit* out);
  Scan scan[3];

  // The postings that pass, probe by probe in the order given, ascending within a probe. `out` has
  // room for the sum of the counts. Prefetches the buckets of later probes while it works.
  using Filter = size_t (*)(const Probe* probes, size_t probe_count, Candidate* out);
  Filter filter;

  // One bucket against runs of queries (their sketches are query_sketches[begin...]). Writes, in
  // any order, tag = index into query_sketches, posting = index into the bucket. `out` has room for
  // count * (sum of the runs' counts).
  using Tile = size_t (*)(const uint16_t* bucket, size_t count, const uint16_t* query_sketches,
                          const Run* runs, size_t run_count, Candidate* out);
  Tile tile;

  // The indexes i, ascending, for which popcount(differences[i]) <= limits[i]. `kept` has room for
  // count of them.
  using Within = size_t (*)(const uint64_t* differences, const uint32_t* limits, size_t count,
                            uint32_t* kept);
  Within within;

  // The pairs that match and whose band is the canonical one, in the order given. With d[i] the
  // distance in band i and P[k] = sum over i < k of (d[i] - allowance[i]), the canonical band is
  // the last k < bands at which P is largest: of all bands that find a match exactly one reports
  // it. `out` has room for pair_count hits. Rows are in cache or prefetched by the caller.
  using Verify = size_t (*)(const Pair* pairs, size_t pair_count, const uint64_t* queries,
                            const uint64_t* rows, uint32_t max_distance, const Chain& chain,
                            Hit* out);
  Verify verify[3];
};

// The kernels this machine can run, fastest first; "portable" is always last.
struct KernelList {
  const Kernel* const* begin_;
  size_t size_;
  const Kernel* const* begin() const { return begin_; }
  const Kernel* const* end() const { return begin_ + size_; }
  size_t size() const { return size_; }
};
KernelList usable();

// The usable kernel of that name, or nullptr.
const Kernel* find(const char* name);

}  // namespace hashmatch::kernel
