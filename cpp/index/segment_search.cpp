// One query. The plan for random data is tried first; where this query's buckets hold much more
// than random data would, the radii are chosen again from the buckets' true sizes, and where even
// that costs more than a scan, or turns out to, the segment is scanned.
#include "index/segment_search.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "index/active_kernel.h"
#include "index/code.h"
#include "index/cost.h"
#include "index/fit.h"
#include "index/plan.h"

namespace hashmatch {
namespace {

using kernel::Candidate;
using kernel::Hit;
using kernel::Probe;

// Candidates filtered before they are verified: bounds the scratch memory.
constexpr uint32_t kSlice = 1 << 15;

// Share of a scan that may be spent before giving up and scanning.
constexpr double kPatience = 0.4;

// Measured: candidates side by side (a cluster) are read in sequence, others are cache misses.
constexpr double kDenseCandidateNs = 2.5;

class OneQuery {
 public:
  OneQuery(const Segment& segment, const uint64_t* query, uint32_t number, uint32_t max_distance,
           Scratch& scratch, std::vector<Hit>& out)
      : segment_(segment),
        layout_(segment.layout()),
        kernel_(active_kernel()),
        words_(words_of(segment.bits())),
        query_(query),
        number_(number),
        r_(max_distance),
        scratch_(scratch),
        out_(out) {}

  void run() {
    const QueryPlan& usual = segment_.plan(r_);
    if (usual.scan) return scan();
    if (!segment_.clumps().empty()) {
      search_clumps(segment_, query_, 1, number_, r_, scratch_, out_);
    }
    if (!search_bands(usual)) {
      scan_rows(query_, 1, number_, segment_.codes(), segment_.banded_rows(), 0, words_, r_,
                scratch_, out_);
    }
  }

 private:
  // False, with nothing reported, where a scan is the better way.
  bool search_bands(const QueryPlan& usual) {
    constexpr double kExcess = 2;
    constexpr double kUnremarkable = 4096;
    constexpr int kMostFits = 3;
    BallSizes sizes;
    FittedPlan fitted;
    const QueryPlan* plan = &usual;
    double expected = usual.expected_postings;
    for (int fits = 0; collect(*plan, sizes) > kExcess * expected + kUnremarkable; ++fits) {
      if (fits == kMostFits) break;
      auto better = fit_radii(segment_, usual, sizes, r_);
      if (!better) return false;
      if (better->plan.radius == plan->radius) break;
      fitted = std::move(*better);
      plan = &fitted.plan;
      expected = fitted.predicted_postings;
    }
    return probe(*plan);
  }

  void scan() {
    scan_rows(query_, 1, number_, segment_.codes(), segment_.rows(), 0, words_, r_, scratch_, out_);
  }

  // A band's bounds lie all over its table, and the loop that lists buckets waits for each.
  void prefetch_bounds(const QueryPlan& plan, unsigned band) const {
    const Band& b = layout_.bands[band];
    const uint32_t value = bits_at(query_, b.at, b.width);
    const uint32_t* buckets = segment_.buckets(band);
    for (int k = 0; k <= plan.radius[band]; ++k) {
      const uint32_t* masks = masks_of_weight(static_cast<unsigned>(k)).data();
      const size_t count = cost::ball_size(b.width, k) - cost::ball_size(b.width, k - 1);
      for (size_t i = 0; i < count; ++i) __builtin_prefetch(buckets + (value ^ masks[i]));
    }
  }

  // Lists the buckets to look at, and returns how many postings they hold.
  double collect(const QueryPlan& plan, BallSizes& sizes) {
    Probe* const first = scratch_.probes.at_least(plan.probes);
    Probe* next = first;
    uint64_t postings = 0;
    prefetch_bounds(plan, 0);
    for (unsigned band = 0; band < layout_.band_count(); ++band) {
      if (band + 1 < layout_.band_count()) prefetch_bounds(plan, band + 1);
      if (plan.radius[band] < 0) continue;
      const Band& b = layout_.bands[band];
      const uint32_t value = bits_at(query_, b.at, b.width);
      const uint32_t* buckets = segment_.buckets(band);
      const uint16_t* sketches = segment_.sketches(band);
      Probe probe{};
      if (sketches != nullptr) cut_sketches(plan, band, probe);
      for (int k = 0; k <= plan.radius[band]; ++k, --probe.limit) {
        probe.tag = tag_of(band, static_cast<unsigned>(k));
        const uint32_t* masks = masks_of_weight(static_cast<unsigned>(k)).data();
        const size_t count = cost::ball_size(b.width, k) - cost::ball_size(b.width, k - 1);
        const uint64_t before = postings;
        for (size_t i = 0; i < count; ++i) {
          const uint32_t* bounds = buckets + (value ^ masks[i]);
          probe.posting = bounds[0];
          probe.count = bounds[1] - bounds[0];
          probe.sketches = sketches == nullptr ? nullptr : sketches + probe.posting;
          postings += probe.count;
          *next = probe;
          next += probe.count != 0 ? 1 : 0;  // no branch: which buckets are empty is unpredictable
        }
        sizes.shell[band][static_cast<size_t>(k)] = postings - before;
      }
      sizes.known[band] = std::max(sizes.known[band], plan.radius[band] + 1);
    }
    probes_ = {first, next};
    return static_cast<double>(postings);
  }

  // The chain filter (Qin and Xiao, Pigeonring, VLDB 2018): from the canonical band on, every sum
  // of distances stays below the sum of the allowances.
  void cut_sketches(const QueryPlan& plan, unsigned band, Probe& probe) {
    const unsigned next = band + 1 == layout_.band_count() ? 0 : band + 1;
    const unsigned after = next + 1 == layout_.band_count() ? 0 : next + 1;
    const auto& allowance = plan.chain.allowance;
    const unsigned near = allowance[band] + allowance[next] - 1U;
    const BandCutter cut(layout_, band);
    probe.sketch = cut.sketch(query_);
    probe.limit = static_cast<uint16_t>(std::min(near, r_));
    around_[band] = {probe.sketch, cut.far_sketch(query_), std::min(near + allowance[after], r_)};
  }

  // A candidate's tag: its band, and the distance of its bucket from the query's.
  static uint32_t tag_of(unsigned band, unsigned distance) { return band << 3 | distance; }
  static unsigned band_of(const Candidate& c) { return c.tag >> 3; }
  static unsigned distance_of(const Candidate& c) { return c.tag & 7; }
  static_assert(kMaxRadius < 8);

  // Filters and verifies the listed buckets, some at a time. False, with nothing reported, once
  // that has cost so much that a scan is the better end.
  bool probe(const QueryPlan& plan) {
    const double budget = kPatience * cost::scan_ns(segment_.banded_rows(), layout_.bits);
    const size_t before = out_.size();
    double spent = 0;
    const auto probes = probes_;
    for (size_t first = 0; first < probes.size();) {
      uint32_t postings = 0;
      size_t last = first;
      while (last < probes.size() && postings + probes[last].count <= kSlice) {
        postings += probes[last++].count;
      }
      Probe rest{};
      if (last == first) {  // one bucket larger than a slice: take part of it
        rest = probes[first];
        probes[first].count = kSlice;
        rest.count -= kSlice;
        rest.posting += kSlice;
        rest.sketches = rest.sketches == nullptr ? nullptr : rest.sketches + kSlice;
        postings = kSlice;
        ++last;
      }
      spent += filter(plan, {&probes[first], last - first}, postings);
      if (spent > budget) {
        out_.resize(before);
        return false;
      }
      first = last;
      if (rest.count != 0) probes[--first] = rest;
    }
    return true;
  }

  // Returns what that has cost, in nanoseconds.
  double filter(const QueryPlan& plan, std::span<const Probe> probes, uint32_t postings) {
    double spent = postings * plan.posting_ns;
    if (layout_.sketch_bits == 0) {
      // With one band a bucket's postings are rows that follow one another.
      for (const Probe& p : probes) {
        scan_rows(query_, 1, number_, segment_.code(p.posting), p.count, p.posting, words_, r_,
                  scratch_, out_);
      }
      return spent;
    }
    Candidate* candidates = scratch_.candidates.at_least(postings);
    size_t count = kernel_.filter(probes.data(), probes.size(), candidates);
    const bool dense = count > postings / 8;
    spent += static_cast<double>(count) * (dense ? kDenseCandidateNs / 2 : plan.near_ns);
    for (const Candidate& c : std::span(candidates, count)) {
      __builtin_prefetch(segment_.posting_address(band_of(c), c.posting));
    }
    if (layout_.has_far_sketches()) count = keep_near_far({candidates, count});
    spent += static_cast<double>(count) * (dense ? kDenseCandidateNs / 2 : plan.far_ns);
    verify(plan, {candidates, count});
    return spent;
  }

  // Moves the candidates that pass the test of their far sketches to the front.
  size_t keep_near_far(std::span<Candidate> candidates) {
    uint64_t* differences = scratch_.differences.at_least(candidates.size());
    uint32_t* limits = scratch_.limits.at_least(candidates.size());
    uint32_t* kept = scratch_.kept.at_least(candidates.size());
    for (size_t i = 0; i < candidates.size(); ++i) {
      const Candidate& c = candidates[i];
      const Around& around = around_[band_of(c)];
      differences[i] =
          sketch_difference(segment_, band_of(c), c.posting, around.sketch, around.far_sketch);
      limits[i] = around.limit - distance_of(c);
    }
    const size_t count = kernel_.within(differences, limits, candidates.size(), kept);
    for (size_t i = 0; i < count; ++i) candidates[i] = candidates[kept[i]];
    return count;
  }

  void verify(const QueryPlan& plan, std::span<const Candidate> candidates) {
    auto& pairs = scratch_.pairs;
    pairs.clear();
    for (const Candidate& c : candidates) {
      const uint64_t row = segment_.row_of_posting(band_of(c), c.posting);
      if (row >= segment_.banded_rows()) {
        segment_.damaged("a posting names a row that is not there");
      }
      __builtin_prefetch(segment_.code(static_cast<uint32_t>(row)));
      pairs.push_back({0, static_cast<uint32_t>(row), band_of(c)});
    }
    Hit* hits = scratch_.hits.at_least(pairs.size());
    const auto verify = kernel_.verify[kernel::width_class(words_)];
    const size_t count =
        verify(pairs.data(), pairs.size(), query_, segment_.codes(), r_, plan.chain, hits);
    for (size_t i = 0; i < count; ++i) {
      out_.push_back({number_, hits[i].row, hits[i].distance});
    }
  }

  const Segment& segment_;
  const Layout& layout_;
  const kernel::Kernel& kernel_;
  const unsigned words_;
  const uint64_t* query_;
  const uint32_t number_;
  const uint32_t r_;
  Scratch& scratch_;
  std::vector<Hit>& out_;
  std::span<Probe> probes_;

  // The query's sketches, and how far a posting may be in band, sketch and far sketch together.
  struct Around {
    uint16_t sketch;
    uint16_t far_sketch;
    uint32_t limit;
  };
  std::array<Around, kernel::kMaxBands> around_;
};

}  // namespace

void scan_rows(const uint64_t* queries, size_t query_count, uint32_t first_query,
               const uint64_t* rows, size_t row_count, uint32_t first_row, unsigned words,
               uint32_t max_distance, Scratch& scratch, std::vector<Hit>& out) {
  constexpr size_t kTile = size_t{1} << 15;  // hits at most
  const auto scan = active_kernel().scan[kernel::width_class(words)];
  const size_t query_step = std::min<size_t>(std::max<size_t>(query_count, 1), 64);
  const size_t row_step = std::min<size_t>(kTile / query_step, 4096);
  Hit* hits = scratch.hits.at_least(query_step * std::min(row_step, row_count));
  for (size_t row = 0; row < row_count; row += row_step) {
    const size_t row_end = std::min(row + row_step, row_count);
    for (size_t query = 0; query < query_count; query += query_step) {
      const size_t query_end = std::min(query + query_step, query_count);
      const size_t found = scan(queries + query * words, query_end - query, rows + row * words,
                                row_end - row, max_distance, hits);
      for (size_t i = 0; i < found; ++i) {
        hits[i].query += static_cast<uint32_t>(query) + first_query;
        hits[i].row += static_cast<uint32_t>(row) + first_row;
      }
      out.insert(out.end(), hits, hits + found);
    }
  }
}

void search_clumps(const Segment& segment, const uint64_t* queries, size_t count,
                   uint32_t first_query, uint32_t max_distance, Scratch& scratch,
                   std::vector<Hit>& out) {
  const unsigned words = words_of(segment.bits());
  const auto clumps = segment.clumps();
  auto& near = scratch.near_centres;
  near.clear();
  scan_rows(queries, count, 0, segment.centres(), clumps.size(), 0, words,
            std::min(max_distance + segment.largest_radius(), segment.bits()), scratch, near);
  for (const Hit& hit : near) {
    const format::Clump& clump = clumps[hit.row];
    if (hit.distance > max_distance + clump.radius) continue;
    scan_rows(queries + size_t{hit.query} * words, 1, first_query + hit.query,
              segment.code(clump.first_row), clump.rows, clump.first_row, words, max_distance,
              scratch, out);
  }
}

void search_one(const Segment& segment, const uint64_t* query, uint32_t number,
                uint32_t max_distance, Scratch& scratch, std::vector<Hit>& out) {
  OneQuery(segment, query, number, max_distance, scratch, out).run();
}

}  // namespace hashmatch
