// The algorithms, written once, for an instruction set given as a type:
//
//   Words, Sketches                 vectors of 64- and 16-bit lanes, each with
//     V, kLanes, kBitStride; load, splat, differ (a ^ b), either (a | (b ^ c)), count (popcount a
//     lane), min, at_most (<= a lane, as a native mask), any (is a lane of the mask set), bits (the
//     mask as an integer, the one bit of lane k at k * kBitStride); Words also store and add. Lanes
//     hold small counts: min and at_most may be signed.
//   transpose<W, N>(rows, words)    words 0..N-1 of Words::kLanes rows of W words each
//   distances<W>(rows, query)       of Words::kLanes rows; only where it beats transpose and count
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
  static constexpr Kernel kernel(const char* name) {
    return {name,
            {Scan<Isa, 1>::scan, Scan<Isa, 2>::scan, Scan<Isa, 4>::scan},
            ChainFilter<Isa>::filter,
            ChainFilter<Isa>::tile,
            ChainFilter<Isa>::within,
            {Verify<Isa, 1>::verify, Verify<Isa, 2>::verify, Verify<Isa, 4>::verify}};
  }
};

}  // namespace hashmatch::kernel
