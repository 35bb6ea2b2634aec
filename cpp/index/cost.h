// What things cost, in nanoseconds of one core. Measured on one machine (see DESIGN.md); elsewhere
// the ratios matter, and a wrong one costs time, never an answer.
#pragma once

#include <cstdint>

#include "index/layout.h"
#include "index/plan.h"

namespace hashmatch::cost {

// Reading one random cache line of an array this large, several of them in flight.
double line_ns(double array_bytes);

// One probe: a bucket's bounds, the start of its sketches, and the turn of the loop.
double probe_ns(uint64_t n, const Layout& layout, const Band& band);

// One posting's sketch in a bucket of usual size, or a code of a layout without sketches.
double posting_ns(uint64_t n, const Layout& layout);

// What follows a posting that passes the test of its sketch with a chance of pass.near: its row
// number and far sketch, and with a chance of pass.far its code.
double candidate_ns(uint64_t n, const Layout& layout, const PassChance& pass);

// Reading n codes in order.
double scan_ns(uint64_t n, unsigned bits);

// Values within `radius` of a value of `width` bits.
uint64_t ball_size(unsigned width, int radius);

}  // namespace hashmatch::cost
