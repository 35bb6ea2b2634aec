// Many queries at once. The queries of a block are sorted by their value in each band; then each
// bucket, in order, meets the queries whose ball holds it: those with the bucket's own value and
// its near neighbours. A bucket's sketches are so read once for all of them, and no list of probes
// is ever made or sorted.
//
// Buckets far larger than random data would fill are accounted to their queries; a query that meets
// too much of them leaves the block and is searched alone, where radii are chosen for it.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <span>

#include "base/parallel.h"
#include "index/active_kernel.h"
#include "index/code.h"
#include "index/cost.h"
#include "index/plan.h"
#include "index/segment_search.h"

namespace hashmatch {
namespace {

using kernel::Candidate;
using kernel::Hit;
using kernel::Run;

// Queries of one block in the order of one band's value.
struct BandOrder {
  std::vector<uint32_t> starts;  // by value, and the end
  // By slot, that is, place in this order.
  std::vector<uint32_t> queries;
  HugeArray<uint16_t> sketches;
  std::vector<uint32_t> values;        // with far sketches only
  std::vector<uint16_t> far_sketches;  // likewise
};

class Block {
 public:
  Block(const Segment& segment, const uint64_t* queries, size_t count, uint32_t max_distance,
        const QueryPlan& plan, std::vector<std::vector<Hit>>& out)
      : segment_(segment),
        layout_(segment.layout()),
        kernel_(active_kernel()),
        words_(words_of(segment.bits())),
        queries_(queries),
        count_(count),
        r_(max_distance),
        plan_(plan),
        out_(out),
        scratch_(out.size()),
        orders_(layout_.band_count()),
        load_(count),
        budget_(static_cast<uint64_t>(4 * plan.expected_postings) + 4096) {}

  void run() {
    const auto threads = static_cast<unsigned>(out_.size());
    std::vector<size_t> before(out_.size());
    for (size_t worker = 0; worker < out_.size(); ++worker) before[worker] = out_[worker].size();
    const unsigned bands = layout_.band_count();
    parallel_for(bands, threads, [&](size_t band, unsigned) {
      if (plan_.radius[band] >= 0) sort_queries(static_cast<unsigned>(band));
    });
    parallel_for(bands * kStretches, threads, [&](size_t task, unsigned worker) {
      const auto band = static_cast<unsigned>(task / kStretches);
      if (plan_.radius[band] >= 0) walk(band, task % kStretches, worker);
    });
    search_clumps_in_steps();
    search_the_rest_alone(before);
  }

 private:
  // What the bands leave out.
  void search_clumps_in_steps() {
    constexpr size_t kStep = 64;
    if (segment_.clumps().empty()) return;
    parallel_for((count_ + kStep - 1) / kStep, static_cast<unsigned>(out_.size()),
                 [&](size_t task, unsigned worker) {
                   const size_t first = task * kStep;
                   search_clumps(segment_, queries_ + first * words_,
                                 std::min(kStep, count_ - first), static_cast<uint32_t>(first), r_,
                                 scratch_[worker], out_[worker]);
                 });
  }

  static constexpr size_t kStretches = 32;  // a band's buckets are shared out in so many parts
  static constexpr size_t kVerifyAt = 1024;
  static constexpr size_t kTile = size_t{1} << 15;  // candidates of one kernel call at most

  void sort_queries(unsigned band) {
    const BandCutter cut(layout_, band);
    BandOrder& order = orders_[band];
    order.starts.assign((size_t{1} << cut.width) + 1, 0);
    order.queries.resize(count_);
    if (layout_.has_far_sketches()) {
      order.values.resize(count_);
      order.far_sketches.resize(count_);
    }
    order.sketches = HugeArray<uint16_t>(count_);
    for (size_t i = 0; i < count_; ++i) ++order.starts[cut.value(queries_ + i * words_) + 1];
    for (size_t v = 0; v + 1 < order.starts.size(); ++v) order.starts[v + 1] += order.starts[v];
    std::vector<uint32_t> next(order.starts.begin(), order.starts.end() - 1);
    for (size_t i = 0; i < count_; ++i) {
      const uint64_t* query = queries_ + i * words_;
      const uint32_t value = cut.value(query);
      const uint32_t slot = next[value]++;
      order.queries[slot] = static_cast<uint32_t>(i);
      order.sketches[slot] = cut.sketch(query);
      if (layout_.has_far_sketches()) {
        order.values[slot] = value;
        order.far_sketches[slot] = cut.far_sketch(query);
      }
    }
  }

  // A neighbour of a bucket, and the limit for queries of its value.
  struct Step {
    uint32_t mask;
    uint32_t limit;
  };

  // How far a match of the band may be in it and the next, and in the one after too.
  struct Limits {
    unsigned near;
    unsigned far;
  };

  Limits limits_of(unsigned band) const {
    const unsigned next = band + 1 == layout_.band_count() ? 0 : band + 1;
    const unsigned after = next + 1 == layout_.band_count() ? 0 : next + 1;
    const auto& allowance = plan_.chain.allowance;
    const unsigned near = allowance[band] + allowance[next] - 1U;
    return {std::min(near, r_), std::min(near + allowance[after], r_)};
  }

  std::vector<Step> steps_of(unsigned band) const {
    const Band& b = layout_.bands[band];
    Step step{0, limits_of(band).near};
    std::vector<Step> steps;
    for (int k = 0; k <= plan_.radius[band]; ++k, --step.limit) {
      const auto& masks = masks_of_weight(static_cast<unsigned>(k));
      const size_t count = cost::ball_size(b.width, k) - cost::ball_size(b.width, k - 1);
      for (size_t i = 0; i < count; ++i) {
        step.mask = masks[i];
        steps.push_back(step);
      }
    }
    return steps;
  }

  void walk(unsigned band, size_t stretch, unsigned worker) {
    const size_t buckets = size_t{1} << layout_.bands[band].width;
    const uint32_t* bounds = segment_.buckets(band);
    const double usual =
        std::ldexp(static_cast<double>(segment_.banded_rows()), -layout_.bands[band].width);
    const double heavy = 16 * usual + 64;
    const std::vector<Step> steps = steps_of(band);
    Run* const runs = scratch_[worker].runs.at_least(steps.size());
    std::vector<Run> bearable;
    for (size_t bucket = buckets * stretch / kStretches;
         bucket < buckets * (stretch + 1) / kStretches; ++bucket) {
      const uint32_t size = bounds[bucket + 1] - bounds[bucket];
      // The next buckets' sketches follow this one's.
      __builtin_prefetch(segment_.sketches(band) + bounds[bucket + 1] + 512);
      if (size == 0) continue;
      std::span<Run> met = {runs,
                            list_runs(orders_[band], static_cast<uint32_t>(bucket), steps, runs)};
      if (size > heavy) {
        keep_bearable(band, size, met, bearable);
        met = bearable;
      }
      if (!met.empty()) meet(band, static_cast<uint32_t>(bucket), met, worker);
    }
    verify(band, worker);
  }

  static size_t list_runs(const BandOrder& order, uint32_t bucket, std::span<const Step> steps,
                          Run* out) {
    size_t count = 0;
    for (const Step& step : steps) {
      const uint32_t* starts = order.starts.data() + (bucket ^ step.mask);
      out[count] = {starts[0], starts[1] - starts[0], step.limit};
      count += out[count].count != 0 ? 1 : 0;  // no branch: it would be a coin toss
    }
    return count;
  }

  // Charges a heavy bucket to its queries, and lists those that can still bear it.
  void keep_bearable(unsigned band, uint32_t size, std::span<const Run> runs,
                     std::vector<Run>& kept) {
    kept.clear();
    for (const Run& run : runs) {
      for (uint32_t slot = run.begin; slot < run.begin + run.count; ++slot) {
        auto& load = load_[orders_[band].queries[slot]];
        if (load.load(std::memory_order_relaxed) > budget_) continue;
        if (load.fetch_add(size, std::memory_order_relaxed) + size > budget_) continue;
        kept.push_back({slot, 1, run.limit});
      }
    }
  }

  // One bucket against its runs, in tiles of a bounded number of candidates.
  void meet(unsigned band, uint32_t bucket, std::span<Run> runs, unsigned worker) {
    const uint32_t* bounds = segment_.buckets(band) + bucket;
    const uint32_t size = bounds[1] - bounds[0];
    const auto most_queries = static_cast<uint32_t>(std::max<size_t>(1, kTile / size));
    for (size_t first = 0; first < runs.size();) {
      uint32_t queries = 0;
      size_t last = first;
      while (last < runs.size() && queries + runs[last].count <= most_queries) {
        queries += runs[last++].count;
      }
      Run rest{};
      if (last == first) {
        rest = runs[first];
        runs[first].count = most_queries;
        rest.begin += most_queries;
        rest.count -= most_queries;
        queries = most_queries;
        ++last;
      }
      for (uint32_t from = 0; from < size; from += kTile) {
        const auto part = static_cast<uint32_t>(std::min<size_t>(kTile, size - from));
        tile({band, bucket, bounds[0] + from, part}, {&runs[first], last - first}, queries, worker);
      }
      first = last;
      if (rest.count != 0) runs[--first] = rest;
    }
  }

  // Some postings of one bucket.
  struct Part {
    unsigned band;
    uint32_t bucket;
    uint32_t posting;
    uint32_t size;
  };

  void tile(const Part& part, std::span<const Run> runs, uint32_t queries, unsigned worker) {
    Scratch& scratch = scratch_[worker];
    const BandOrder& order = orders_[part.band];
    Candidate* found = scratch.candidates.at_least(size_t{part.size} * queries);
    size_t count = kernel_.tile(segment_.sketches(part.band) + part.posting, part.size,
                                order.sketches.data(), runs.data(), runs.size(), found);
    if (layout_.has_far_sketches()) count = keep_near_far(part, {found, count}, worker);
    for (const Candidate& c : std::span(found, count)) {
      const uint32_t at = part.posting + c.posting;
      if (part.band != 0) __builtin_prefetch(segment_.posting_address(part.band, at));
      scratch.pairs.push_back({order.queries[c.tag], at, part.band});
    }
    if (scratch.pairs.size() >= kVerifyAt) verify(part.band, worker);
  }

  // Moves the candidates that pass the test of their far sketches to the front.
  size_t keep_near_far(const Part& part, std::span<Candidate> found, unsigned worker) {
    Scratch& scratch = scratch_[worker];
    const BandOrder& order = orders_[part.band];
    uint64_t* differences = scratch.differences.at_least(found.size());
    uint32_t* limits = scratch.limits.at_least(found.size());
    uint32_t* kept = scratch.kept.at_least(found.size());
    std::fill_n(limits, found.size(), limits_of(part.band).far);
    for (size_t i = 0; i < found.size(); ++i) {
      const uint32_t slot = found[i].tag;
      const uint64_t in_band = order.values[slot] ^ part.bucket;
      differences[i] =
          in_band << 32 | sketch_difference(segment_, part.band, part.posting + found[i].posting,
                                            order.sketches[slot], order.far_sketches[slot]);
    }
    const size_t count = kernel_.within(differences, limits, found.size(), kept);
    for (size_t i = 0; i < count; ++i) found[i] = found[kept[i]];
    return count;
  }

  // Pairs of one band that name postings become pairs that name rows, and then hits.
  void verify(unsigned band, unsigned worker) {
    Scratch& scratch = scratch_[worker];
    for (kernel::Pair& pair : scratch.pairs) {
      const uint64_t row = segment_.row_of_posting(band, pair.row);
      if (row >= segment_.banded_rows()) {
        segment_.damaged("a posting names a row that is not there");
      }
      pair.row = static_cast<uint32_t>(row);
      __builtin_prefetch(segment_.code(pair.row));
      __builtin_prefetch(queries_ + size_t{pair.query} * words_);
    }
    Hit* hits = scratch.hits.at_least(scratch.pairs.size());
    const size_t count = kernel_.verify[kernel::width_class(words_)](
        scratch.pairs.data(), scratch.pairs.size(), queries_, segment_.codes(), r_, plan_.chain,
        hits);
    out_[worker].insert(out_[worker].end(), hits, hits + count);
    scratch.pairs.clear();
  }

  // Queries that left the block are missing buckets: what they have found is dropped.
  void search_the_rest_alone(const std::vector<size_t>& before) {
    const auto left = [&](size_t query) {
      return load_[query].load(std::memory_order_relaxed) > budget_;
    };
    std::vector<uint32_t> rest;
    for (size_t i = 0; i < count_; ++i) {
      if (left(i)) rest.push_back(static_cast<uint32_t>(i));
    }
    if (rest.empty()) return;
    for (size_t worker = 0; worker < out_.size(); ++worker) {
      auto& hits = out_[worker];
      hits.erase(std::remove_if(hits.begin() + static_cast<std::ptrdiff_t>(before[worker]),
                                hits.end(), [&](const Hit& hit) { return left(hit.query); }),
                 hits.end());
    }
    parallel_for(rest.size(), static_cast<unsigned>(out_.size()), [&](size_t i, unsigned worker) {
      search_one(segment_, queries_ + size_t{rest[i]} * words_, rest[i], r_, scratch_[worker],
                 out_[worker]);
    });
  }

  const Segment& segment_;
  const Layout& layout_;
  const kernel::Kernel& kernel_;
  const unsigned words_;
  const uint64_t* queries_;
  const size_t count_;
  const uint32_t r_;
  const QueryPlan& plan_;
  std::vector<std::vector<Hit>>& out_;
  std::vector<Scratch> scratch_;
  std::vector<BandOrder> orders_;
  std::vector<std::atomic<uint64_t>> load_;  // postings of heavy buckets, by query
  const uint64_t budget_;                    // of them, before a query leaves the block
};

// Whether walking all buckets costs less than the queries' own probes.
bool block_pays(const Segment& segment, const QueryPlan& plan, size_t queries) {
  constexpr double kLookUpNs = 1.0;
  if (segment.layout().sketch_bits == 0) return false;
  double walk = 0;
  double probes = 0;
  for (unsigned band = 0; band < segment.layout().band_count(); ++band) {
    const Band& b = segment.layout().bands[band];
    const auto ball = static_cast<double>(cost::ball_size(b.width, plan.radius[band]));
    walk += std::ldexp(ball, b.width) * kLookUpNs;
    probes += ball * cost::probe_ns(segment.banded_rows(), segment.layout(), b);
  }
  return walk < 0.8 * probes * static_cast<double>(queries);
}

}  // namespace

void search_many(const Segment& segment, const uint64_t* queries, size_t count,
                 uint32_t max_distance, std::vector<std::vector<Hit>>& out) {
  const unsigned words = words_of(segment.bits());
  const auto threads = static_cast<unsigned>(out.size());
  const QueryPlan& plan = segment.plan(max_distance);
  if (!plan.scan && block_pays(segment, plan, count)) {
    Block(segment, queries, count, max_distance, plan, out).run();
    return;
  }
  std::vector<Scratch> scratch(threads);
  const size_t step = plan.scan ? 64 : 16;
  parallel_for((count + step - 1) / step, threads, [&](size_t task, unsigned worker) {
    const size_t first = task * step;
    const size_t last = std::min(first + step, count);
    if (plan.scan) {
      scan_rows(queries + first * words, last - first, static_cast<uint32_t>(first),
                segment.codes(), segment.rows(), 0, words, max_distance, scratch[worker],
                out[worker]);
      return;
    }
    for (size_t i = first; i < last; ++i) {
      search_one(segment, queries + i * words, static_cast<uint32_t>(i), max_distance,
                 scratch[worker], out[worker]);
    }
  });
}

}  // namespace hashmatch
