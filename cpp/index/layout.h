// How a segment is cut: its bands, and the sketch beside each posting. Chosen once, when a segment
// is built, and recorded in its file.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "index/code.h"
#include "kernel/kernel.h"

namespace hashmatch {

struct Band {
  uint16_t at;     // first bit
  uint16_t width;  // bits; 2^width buckets
  bool operator==(const Band&) const = default;
};

// No bands: the segment is scanned. One band: the codes themselves are its postings and there is
// no sketch. Three or more: they follow one another from bit 0 on, in a ring. Bits past the last
// band are in none: what holds for the distance in the others holds for the whole.
struct Layout {
  unsigned bits = 0;
  unsigned sketch_bits = 0;  // 0; 16; or 32, of which 16 are the far sketch
  std::vector<Band> bands;
  std::vector<uint8_t> order = {};  // bit p is bit order[p] of the code as given; empty: bit p

  unsigned band_count() const { return static_cast<unsigned>(bands.size()); }
  bool has_far_sketches() const { return sketch_bits == 32; }
  // Bits in bands.
  unsigned covered() const { return bands.empty() ? 0 : bands.back().at + bands.back().width; }
  const Band& next(unsigned band) const { return bands[band + 1 == bands.size() ? 0 : band + 1]; }
};

// Cuts what one band needs out of codes: the value that names the bucket, and the sketches of a
// posting, each up to 16 bits that follow, round the ring. The *sketch* is of the next band; the
// *far sketch* goes on from there, to the end of the band after the next.
struct BandCutter {
  BandCutter(const Layout& layout, unsigned band);
  uint32_t value(const uint64_t* code) const { return bits_at(code, at, width); }
  uint16_t sketch(const uint64_t* code) const {
    return static_cast<uint16_t>(bits_around(code, near_at, near_width, covered));
  }
  uint16_t far_sketch(const uint64_t* code) const {
    return static_cast<uint16_t>(bits_around(code, far_at, far_width, covered));
  }

  unsigned covered;
  unsigned at, width;
  unsigned near_at, near_width;
  unsigned far_at, far_width;  // no bits where the layout has no far sketches
};

inline constexpr unsigned kSketchBits = 16;

// `count` bands of nearly equal width over `bits` bits.
std::vector<Band> even_bands(unsigned bits, unsigned count);

// The layout with the least predicted cost of a query at `design_distance` among n codes whose bits
// have the given collision entropy (see bit_order.h; none: random codes), within the memory that
// DESIGN.md allows a code.
Layout choose_layout(uint64_t n, unsigned bits, unsigned design_distance,
                     std::span<const double> entropy = {});

// The distance a layout is made for: the index's own, or the usual one of its width.
unsigned design_distance(unsigned bits, int max_distance);

}  // namespace hashmatch
