// How a segment is cut: its bands, and the sketch beside each posting. Chosen once, when a segment
// is built, and recorded in its file.
#pragma once

#include <cstdint>
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
// no sketch. Three or more: they follow one another and cover the code.
struct Layout {
  unsigned bits = 0;
  unsigned sketch_bits = 0;  // 0, 16 or 32
  std::vector<Band> bands;

  unsigned band_count() const { return static_cast<unsigned>(bands.size()); }
  const Band& next(unsigned band) const { return bands[band + 1 == bands.size() ? 0 : band + 1]; }
};

// The sketch of a posting is the bits that follow its band, round the ring: of the next band with
// 16 bits, of the next two with 32. Bits past those are 0, for no filter could test them.
uint32_t sketch_mask(const Layout& layout, unsigned band);
// The part of the sketch that belongs to the next band.
uint32_t near_mask(const Layout& layout, unsigned band);

// Cuts the values and sketches of one band out of codes.
struct BandCutter {
  BandCutter(const Layout& layout, unsigned band);
  uint32_t value(const uint64_t* code) const { return bits_at(code, at, width); }
  uint32_t sketch(const uint64_t* code) const {
    return bits_around(code, sketch_at, sketch_bits, bits) & mask;
  }

  unsigned at, width, sketch_at, sketch_bits, bits;
  uint32_t mask;
};

// `count` bands of nearly equal width over `bits` bits.
std::vector<Band> even_bands(unsigned bits, unsigned count);

// The layout with the least predicted cost of a query at `design_distance` among n random codes,
// within the memory that DESIGN.md allows a code.
Layout choose_layout(uint64_t n, unsigned bits, unsigned design_distance);

// The distance a layout is made for: the index's own, or the usual one of its width.
unsigned design_distance(unsigned bits, int max_distance);

}  // namespace hashmatch
