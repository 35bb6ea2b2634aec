// The chain filter: for (k < count) if (popcount(bucket[k] ^ sketch) <= limit) report k.
//
// `filter` is given one bucket a probe, at random addresses: it prefetches well ahead and goes
// through each bucket once. `tile` is given one bucket and many queries: it keeps a block of the
// bucket in registers and takes, for each query, the minimum of the counts over the block.
#pragma once

#include "kernel.h"

namespace hashmatch::kernel {

template <class Isa>
struct ChainFilter {
  using Lanes = typename Isa::Sketches;
  using V = typename Lanes::V;
  using Lane = uint16_t;

  static constexpr size_t kLanes = Lanes::kLanes;
  static constexpr size_t kBlock = 6;  // vectors of a bucket kept in registers
  static constexpr size_t kBatch = 256;
  static constexpr size_t kFound = 64;
  static constexpr size_t kCopy = 4;  // queries of a run copied at once
  static constexpr size_t kProbesAhead = 12;
  static constexpr uintptr_t kLinesAhead = 8;

  struct Test {
    V sketch;
    V limit;
  };

  // No count exceeds 16, and a clamped limit suits signed comparisons.
  static Lane clamped(uint32_t limit) { return limit < 16 ? static_cast<Lane>(limit) : Lane{16}; }

  static uint64_t first_lanes(size_t lanes) {
    return lanes >= kLanes ? ~uint64_t{0} : (uint64_t{1} << (lanes * Lanes::kBitStride)) - 1;
  }

  static Candidate* filter_bucket(const Lane* bucket, size_t count, const Test& test, uint32_t tag,
                                  uint32_t posting, Candidate* out) {
    for (size_t k = 0; k < count; k += kLanes) {
      const V differences = Lanes::differ(Lanes::load(bucket + k), test.sketch);
      const auto pass = Lanes::at_most(Lanes::count(differences), test.limit);
      if (!Lanes::any(pass)) continue;
      for (uint64_t bits = Lanes::bits(pass) & first_lanes(count - k); bits != 0;
           bits &= bits - 1) {
        const auto lane = static_cast<uint32_t>(__builtin_ctzll(bits)) / Lanes::kBitStride;
        *out++ = {tag, posting + static_cast<uint32_t>(k) + lane};
      }
    }
    return out;
  }

  static void prefetch(const Probe& probe) {
    const auto begin = reinterpret_cast<uintptr_t>(probe.sketches);
    const uintptr_t end = begin + probe.count * sizeof(Lane);
    const uintptr_t first = begin & ~uintptr_t{63};
    const uintptr_t last = end < first + kLinesAhead * 64 ? end : first + kLinesAhead * 64;
    for (uintptr_t line = first; line < last; line += 64) {
      __builtin_prefetch(reinterpret_cast<const void*>(line));
    }
  }

  static size_t filter(const Probe* probes, size_t probe_count, Candidate* out) {
    Candidate* const start = out;
    for (size_t p = 0; p < probe_count && p < kProbesAhead; ++p) prefetch(probes[p]);
    for (size_t p = 0; p < probe_count; ++p) {
      if (p + kProbesAhead < probe_count) prefetch(probes[p + kProbesAhead]);
      const Probe& probe = probes[p];
      const Test test{Lanes::splat(probe.sketch), Lanes::splat(clamped(probe.limit))};
      out = filter_bucket(probe.sketches, probe.count, test, probe.tag, probe.posting, out);
    }
    return static_cast<size_t>(out - start);
  }

  // Runs are short and of unpredictable length. Laid end to end, their queries make one long loop.
  struct Batch {
    alignas(64) Lane sketch[kBatch + kCopy];
    Lane limit[kBatch + kCopy];
    uint32_t index[kBatch + kCopy];
    size_t size;

    Test test(size_t i) const { return {Lanes::splat(sketch[i]), Lanes::splat(limit[i])}; }

    // Takes up to kCopy queries of a run, from its query `from` on, without a branch.
    void take(const Lane* query_sketches, const Run& run, uint32_t from) {
      const Lane all = clamped(run.limit);
      const uint32_t left = run.count - from;
      const uint32_t first = run.begin + from;
      __builtin_memcpy(sketch + size, query_sketches + first, kCopy * sizeof(Lane));
      for (uint32_t j = 0; j < kCopy; ++j) {
        limit[size + j] = all;
        index[size + j] = first + j;
      }
      size += left < kCopy ? left : kCopy;
    }
  };

  // lanes_from(n): all ones in the lanes from n on.
  struct Ramp {
    Lane lane[2 * kLanes]{};
    constexpr Ramp() {
      for (size_t i = kLanes; i < 2 * kLanes; ++i) lane[i] = static_cast<Lane>(~Lane{0});
    }
  };
  static constexpr Ramp kRamp{};
  static V lanes_from(size_t n) { return Lanes::load(kRamp.lane + kLanes - n); }

  // Postings of one vector that pass for one query.
  struct Found {
    uint64_t bits;
    uint32_t query;
    uint32_t posting;
  };

  static Candidate* report(const Found* found, size_t count, Candidate* out) {
    for (size_t i = 0; i < count; ++i) {
      uint64_t bits = found[i].bits;
      do {
        const auto lane = static_cast<uint32_t>(__builtin_ctzll(bits)) / Lanes::kBitStride;
        *out++ = {found[i].query, found[i].posting + lane};
        bits &= bits - 1;
      } while (bits != 0);
    }
    return out;
  }

  // A batch against N vectors of a bucket. Whether a query has a candidate is a coin toss that no
  // branch predictor wins, so every step keeps what it finds without branching: first the queries
  // with a candidate, then their vectors with one, then the candidates.
  template <size_t N>
  static Candidate* sweep(const Lane* bucket, size_t count, uint32_t posting, const Batch& batch,
                          Candidate* out) {
    V block[N];
    for (size_t j = 0; j < N; ++j) block[j] = Lanes::load(bucket + j * kLanes);
    // Lanes past the bucket are set to differ in every bit: they rarely cause a second look.
    const size_t last = count - (N - 1) * kLanes;
    const V past = lanes_from(last);
    uint32_t queries[kBatch];
    size_t query_count = 0;
    for (uint32_t i = 0; i < batch.size; ++i) {
      const Test test = batch.test(i);
      V least = Lanes::count(Lanes::either(past, block[N - 1], test.sketch));
      for (size_t j = 0; j + 1 < N; ++j) {
        least = Lanes::min(least, Lanes::count(Lanes::differ(block[j], test.sketch)));
      }
      queries[query_count] = i;
      query_count += Lanes::any(Lanes::at_most(least, test.limit));
    }

    Found found[kFound];
    size_t found_count = 0;
    for (size_t i = 0; i < query_count; ++i) {
      const Test test = batch.test(queries[i]);
      for (size_t j = 0; j < N; ++j) {
        const auto pass =
            Lanes::at_most(Lanes::count(Lanes::differ(block[j], test.sketch)), test.limit);
        const uint64_t bits = Lanes::bits(pass) & (j + 1 < N ? ~uint64_t{0} : first_lanes(last));
        found[found_count] = {bits, batch.index[queries[i]],
                              posting + static_cast<uint32_t>(j * kLanes)};
        found_count += bits != 0;
      }
      if (found_count > kFound - kBlock) {
        out = report(found, found_count, out);
        found_count = 0;
      }
    }
    return report(found, found_count, out);
  }

  static Candidate* sweep_bucket(const Lane* bucket, size_t count, const Batch& batch,
                                 Candidate* out) {
    for (size_t k = 0; k < count; k += kBlock * kLanes) {
      const size_t left = count - k;
      const auto posting = static_cast<uint32_t>(k);
      switch ((left + kLanes - 1) / kLanes) {
        case 1:
          out = sweep<1>(bucket + k, left, posting, batch, out);
          break;
        case 2:
          out = sweep<2>(bucket + k, left, posting, batch, out);
          break;
        case 3:
          out = sweep<3>(bucket + k, left, posting, batch, out);
          break;
        case 4:
          out = sweep<4>(bucket + k, left, posting, batch, out);
          break;
        case 5:
          out = sweep<5>(bucket + k, left, posting, batch, out);
          break;
        case 6:
          out = sweep<6>(bucket + k, left, posting, batch, out);
          break;
        default:
          out = sweep<kBlock>(bucket + k, kBlock * kLanes, posting, batch, out);
      }
    }
    return out;
  }

  static size_t tile(const Lane* bucket, size_t count, const Lane* query_sketches, const Run* runs,
                     size_t run_count, Candidate* out) {
    if (count == 0) return 0;
    Candidate* const start = out;
    Batch batch;
    batch.size = 0;
    for (size_t r = 0; r < run_count; ++r) {
      uint32_t from = 0;
      do {
        batch.take(query_sketches, runs[r], from);
        from += kCopy;
        if (batch.size > kBatch - kCopy) {
          out = sweep_bucket(bucket, count, batch, out);
          batch.size = 0;
        }
      } while (from < runs[r].count);
    }
    out = sweep_bucket(bucket, count, batch, out);
    return static_cast<size_t>(out - start);
  }

  static size_t within(const uint64_t* differences, const uint32_t* limits, size_t count,
                       uint32_t* kept) {
    size_t left = 0;
    for (uint32_t i = 0; i < count; ++i) {
      kept[left] = i;
      left += Isa::popcount(differences[i]) <= limits[i];
    }
    return left;
  }
};

}  // namespace hashmatch::kernel
