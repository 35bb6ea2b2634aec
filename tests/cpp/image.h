// Segments of any layout, made the naive way. The builder chooses its layouts; this takes one. It
// may be given clumps as well: a third of the rows, shared out among so many centres.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "base/memory.h"
#include "index/layout.h"
#include "index/segment.h"
#include "rows.h"
#include "search/state.h"

namespace hashmatch::test {

Region naive_image(const Layout& layout, const Rows& rows, std::span<const uint64_t> ids,
                   size_t clumps = 0);

std::shared_ptr<const Segment> naive_segment(const Layout& layout, const Rows& rows,
                                             std::span<const uint64_t> ids, size_t clumps = 0);

// Checksums and prologues made right again, after a change to the header or a section.
void reseal(std::span<std::byte> image);

State state_of(std::shared_ptr<const Segment> segment);

// Bands of these widths from bit 0.
Layout layout_with(unsigned bits, unsigned sketch_bits, const std::vector<unsigned>& widths);

// Layouts of every shape: none, one band, even and uneven bands, both sketches.
std::vector<Layout> layouts_of(unsigned bits, Random& random);
std::string name_of(const Layout& layout);

}  // namespace hashmatch::test
