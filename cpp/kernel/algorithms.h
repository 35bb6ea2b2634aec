// The algorithms, written once, for an instruction set given as a type:
//
//   Words, Sketches16, Sketches32   vectors of 64-, 16- and 32-bit lanes, each with
//     V, kLanes, kBitStride; load, splat, differ (a ^ b), either (a | (b ^ c)), count (popcount a
//     lane), min, at_most (<= a lane, as a native mask), any (is a lane of the mask set), bits (the
//     mask as an integer, the one bit of lane k at k * kBitStride); and, where they are used, Lane,
//     store, add, both (a & b), max.  Lanes hold small counts: min, max, at_most may be signed.
//   transpose<W, N>(rows, words)    words 0..N-1 of Words::kLanes rows of W words each
//   popcount(x)                     of one 64-bit word
//
// The type must have internal linkage. Then so has everything instantiated for it, and the linker
// cannot take a function compiled for one instruction set into code that runs on every machine.
#pragma once

#include "scan.h"
#include "sketches.h"
#include "verify.h"

namespace hashmatch::kernel {

template <class Isa>
struct Entry {
  static size_t tile16(const uint16_t* bucket, size_t count, const uint16_t* query_sketches,
                       const Run* runs, size_t run_count, Candidate* out) {
    return Sketches<Isa, typename Isa::Sketches16>::tile(bucket, count, query_sketches, 0, runs,
                                                         run_count, out);
  }

  static constexpr Kernel kernel(const char* name) {
    using Filter16 = Sketches<Isa, typename Isa::Sketches16>;
    using Filter32 = Sketches<Isa, typename Isa::Sketches32>;
    return {name,
            {Scan<Isa, 1>::scan, Scan<Isa, 2>::scan, Scan<Isa, 4>::scan},
            Filter16::filter,
            Filter32::filter,
            tile16,
            Filter32::tile,
            {Verify<Isa, 1>::verify, Verify<Isa, 2>::verify, Verify<Isa, 4>::verify}};
  }
};

}  // namespace hashmatch::kernel
