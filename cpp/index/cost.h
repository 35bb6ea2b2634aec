// What things cost, in nanoseconds of one core. Measured on one machine (see DESIGN.md); elsewhere
// the ratios matter, and a wrong one costs time, never an answer.
#pragma once

#include <cstdint>

#include "index/layout.h"

namespace hashmatch::cost {

// Reading one random cache line of an array this large, several of them in flight.
double line_ns(double array_bytes);

// One probe: a bucket's bounds, the start of its sketches, and the turn of the loop.
double probe_ns(uint64_t n, const Layout& layout, const Band& band);

// One posting's sketch, read in sequence.
double posting_ns(const Layout& layout);

// One candidate: its row number, its code.
double candidate_ns(uint64_t n, unsigned bits);

// Reading n codes in order.
double scan_ns(uint64_t n, unsigned bits);

// Values within `radius` of a value of `width` bits.
uint64_t ball_size(unsigned width, int radius);

}  // namespace hashmatch::cost
