// Checksums only show that a file is as it was written. This shows that it was written right:
// everything that FORMAT.md says of the numbers is so.
#include <algorithm>
#include <bit>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "index/code.h"
#include "index/segment.h"

namespace hashmatch {
namespace {

bool all_zero(std::span<const std::byte> bytes) {
  return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

bool ends_in_zeros(const uint64_t* code, unsigned bits) {
  return all_zero(std::as_bytes(std::span(code, words_of(bits))).subspan(code_bytes(bits)));
}

}  // namespace

void Segment::verify_numbers() const {
  verify_header_zeros();
  verify_codes();
  verify_distinct();
  verify_entries();
  verify_clump_rows();
  parallel_for(layout_.band_count(), 0,
               [&](size_t band, unsigned) { verify_postings(static_cast<unsigned>(band)); });
}

void Segment::verify_header_zeros() const {
  const std::span sections(header_->sections);
  const auto bands = std::span(header_->bands).subspan(header_->band_count);
  bool zero = all_zero(std::as_bytes(bands)) &&
              all_zero(std::as_bytes(sections.subspan(header_->section_count))) &&
              all_zero(std::as_bytes(std::span(header_->zeros)));
  for (const format::Section& section : sections.first(header_->section_count)) {
    zero &= section.reserved == 0;
  }
  if (!zero) damaged("bytes of the header that are not used are not 0");
}

void Segment::verify_codes() const {
  for (uint32_t row = 0; row < rows(); ++row) {
    if (!ends_in_zeros(code(row), bits())) damaged("the bytes past the end of a code are not 0");
  }
  for (size_t clump = 0; clump < clumps().size(); ++clump) {
    if (!ends_in_zeros(centres_ + clump * words_, bits())) {
      damaged("the bytes past the end of a centre are not 0");
    }
  }
}

// Sorts the rows by code. A builder need not have done that within a bucket of the first band, but
// ours has, and then there is nothing to sort unless there are clumps.
void Segment::verify_distinct() const {
  const int turn = layout_.bands.empty() ? 0 : layout_.bands[0].width;
  const auto before = [&](uint32_t a, uint32_t b) {
    const uint64_t* x = code(a);
    const uint64_t* y = code(b);
    const uint64_t x0 = std::rotr(x[0], turn);
    const uint64_t y0 = std::rotr(y[0], turn);
    return x0 != y0 ? x0 < y0 : std::lexicographical_compare(x + 1, x + words_, y + 1, y + words_);
  };
  std::vector<uint32_t> order(rows());
  std::iota(order.begin(), order.end(), 0U);
  if (!std::ranges::is_sorted(order, before)) std::ranges::sort(order, before);
  const auto same = [&](uint32_t a, uint32_t b) { return !before(a, b); };
  if (std::ranges::adjacent_find(order, same) != order.end()) damaged("a code has two rows");
}

void Segment::verify_entries() const {
  uint32_t expected = 0;
  for (uint32_t row = 0; row < rows(); ++row) {
    const auto [first, last] = entries_of(row);
    if (first != expected || last <= first) damaged("the starts of entries are out of order");
    for (uint32_t entry = first + 1; entry < last; ++entry) {
      if (ids_[entry] <= ids_[entry - 1]) damaged("the ids of a row are out of order");
    }
    expected = last;
  }
  if (expected != entries()) damaged("the starts of entries are out of order");
  for (uint32_t rank = 1; rank < entries(); ++rank) {
    if (id(entry_by_id_rank(rank)) <= id(entry_by_id_rank(rank - 1))) {
      damaged("the entries by id are out of order");
    }
  }
  if (header_->id_base != (entries() == 0 ? 0 : id(entry_by_id_rank(0)))) {
    damaged("the header's least id is not that of the entries");
  }
}

void Segment::verify_clump_rows() const {
  for (size_t c = 0; c < clumps().size(); ++c) {
    if (clumps_[c].reserved != 0) damaged("the bytes of a clump that are not used are not 0");
    for (uint32_t k = 0; k < clumps_[c].rows; ++k) {
      const uint64_t* member = code(clumps_[c].first_row + k);
      int distance = 0;
      for (unsigned w = 0; w < words_; ++w) {
        distance += std::popcount(member[w] ^ centres_[c * words_ + w]);
      }
      if (distance > static_cast<int>(clumps_[c].radius)) {
        damaged("a row is too far from its clump's centre");
      }
    }
  }
}

void Segment::verify_postings(unsigned band) const {
  const std::string of_band = " of band " + std::to_string(band);
  const BandCutter cut(layout_, band);
  const uint32_t* buckets = bands_[band].buckets;
  for (uint32_t value = 0; value < uint32_t{1} << cut.width; ++value) {
    for (uint32_t k = buckets[value]; k < buckets[value + 1]; ++k) {
      const uint64_t row = row_of_posting(band, k);
      if (row >= banded_rows() || cut.value(code(static_cast<uint32_t>(row))) != value) {
        damaged("a posting" + of_band + " is in the wrong bucket");
      }
      // As many postings as rows, and none twice: each row is listed.
      if (k > buckets[value] && row <= row_of_posting(band, k - 1)) {
        damaged("band " + std::to_string(band) + " lists its rows out of order");
      }
      if (layout_.sketch_bits == 0) continue;
      const uint64_t* listed = code(static_cast<uint32_t>(row));
      if (sketches(band)[k] != cut.sketch(listed)) damaged("a sketch" + of_band + " is wrong");
      if (layout_.has_far_sketches() && far_sketch(band, k) != cut.far_sketch(listed)) {
        damaged("a far sketch" + of_band + " is wrong");
      }
    }
  }
}

}  // namespace hashmatch
