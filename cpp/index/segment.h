// A segment: an immutable index over codes and their ids, one file or one block of memory.
//
// Codes are stored once each (*rows*), in the order of their first band; the ids of a row are its
// *entries*, consecutive and ascending. Each band lists all rows by its value: bucket v of band t
// holds postings [buckets[v], buckets[v + 1]), each a sketch and, in an array beside, a row number.
// The last rows may be clumps (see clumps.h), which the bands leave out.
//
// Nothing changes after construction but a cache of plans, so any number of threads may search.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/memory.h"
#include "base/packed.h"
#include "index/bit_order.h"
#include "index/format.h"
#include "index/layout.h"
#include "index/plan.h"
#include "kernel/kernel.h"

namespace hashmatch {

// Radii made ready for searching. `scan` when no allocation beats reading every code.
struct QueryPlan {
  bool scan = true;
  std::vector<int> radius;
  kernel::Chain chain{};
  size_t probes = 0;             // of one query
  double expected_postings = 0;  // of one query, were the codes random
  // What a posting costs, and what more if it passes its sketch, and its far sketch.
  double posting_ns = 0, near_ns = 0, far_ns = 0;
  std::vector<PassChance> pass_chance;  // of a posting, by band, likewise; of a segment's own plans
};

class Segment {
 public:
  // Maps a file, or with `memory` copies it into huge pages and verifies every checksum.
  // Throws IoError or FormatError.
  static std::shared_ptr<const Segment> open(const std::string& path, bool memory);

  // A segment in a block that the builder made.
  static std::shared_ptr<const Segment> from_image(Region image);

  ~Segment();
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  // Verifies every checksum, and that all numbers are what FORMAT.md says. Throws FormatError.
  // progress(done, total) in bytes.
  void check(const std::function<void(uint64_t, uint64_t)>& progress) const;

  const format::Header& header() const { return *header_; }
  const Layout& layout() const { return layout_; }
  unsigned bits() const { return layout_.bits; }
  uint32_t rows() const { return static_cast<uint32_t>(header_->distinct); }
  uint32_t entries() const { return static_cast<uint32_t>(header_->entries); }
  uint32_t banded_rows() const { return static_cast<uint32_t>(header_->banded); }
  std::span<const format::Clump> clumps() const { return {clumps_, header_->clump_count}; }
  const uint64_t* centres() const { return centres_; }
  uint32_t largest_radius() const { return largest_radius_; }  // of a clump
  std::span<const std::byte> image() const { return {image_.bytes(), image_.size()}; }

  // Codes, centres and everything cut from them have their bits in this order; so must queries.
  const BitOrder& order() const { return order_; }
  const uint64_t* codes() const { return codes_; }
  const uint64_t* code(uint32_t row) const { return codes_ + size_t{row} * words_; }
  // A row's code as it was given.
  void read_code(uint32_t row, uint64_t* out) const;
  const uint32_t* buckets(unsigned band) const { return bands_[band].buckets; }
  const uint16_t* sketches(unsigned band) const { return bands_[band].sketches; }

  // What stands beside a posting's sketch: its row, which for band 0 is its own number, and its far
  // sketch where the layout has them.
  const std::byte* posting_address(unsigned band, uint32_t posting) const {
    return bands_[band].postings.address(posting);
  }
  uint64_t row_of_posting(unsigned band, uint32_t posting) const {
    return band == 0 ? posting : bands_[band].postings[posting] >> far_bits_;
  }
  uint16_t far_sketch(unsigned band, uint32_t posting) const {
    return static_cast<uint16_t>(bands_[band].postings[posting]);
  }

  // The entries [first, last) of a row. Throws FormatError on a damaged file.
  struct EntryRange {
    uint32_t first, last;
  };
  EntryRange entries_of(uint32_t row) const {
    if (header_->distinct == header_->entries) return {row, row + 1};
    const uint64_t first = starts_[row];
    const uint64_t last = starts_[row + 1];
    if (first > last || last > entries()) damaged("the starts of entries are out of order");
    return {static_cast<uint32_t>(first), static_cast<uint32_t>(last)};
  }
  uint32_t row_of(uint32_t entry) const;
  uint64_t id(uint32_t entry) const { return header_->id_base + ids_[entry]; }

  // The least and the largest id; only of a segment with entries.
  std::pair<uint64_t, uint64_t> id_range() const {
    return {id(entry_by_id_rank(0)), id(entry_by_id_rank(entries() - 1))};
  }
  // The entry at a place in the order of ids, and the entry of an id.
  uint32_t entry_by_id_rank(uint32_t rank) const;
  std::optional<uint32_t> find(uint64_t id) const;

  // Made at the first query at this distance, then kept.
  const QueryPlan& plan(uint32_t max_distance) const;

  [[noreturn]] void damaged(const std::string& what) const;

 private:
  struct BandArrays {
    const uint32_t* buckets = nullptr;
    const uint16_t* sketches = nullptr;
    PackedView postings;
  };

  Segment(Region image, std::string name);
  void map_sections();
  void verify_structure() const;
  void verify_clumps() const;
  void verify_bands() const;
  void verify_checksums(const std::function<void(uint64_t, uint64_t)>& progress) const;
  void verify_numbers() const;
  void verify_header_zeros() const;
  void verify_codes() const;
  void verify_distinct() const;
  void verify_entries() const;
  void verify_clump_rows() const;
  void verify_postings(unsigned band) const;

  Region image_;
  std::string name_;  // for messages
  const format::Header* header_;
  Layout layout_;
  BitOrder order_;
  BitOrder order_back_;
  unsigned words_ = 0;
  unsigned far_bits_ = 0;
  const uint64_t* codes_ = nullptr;
  PackedView starts_, ids_, by_id_;
  const uint64_t* centres_ = nullptr;
  const format::Clump* clumps_ = nullptr;
  uint32_t largest_radius_ = 0;
  std::vector<BandArrays> bands_;
  mutable std::array<std::atomic<const QueryPlan*>, 257> plans_{};
};

// The plan's radii as a kernel reads them.
QueryPlan make_query_plan(const Layout& layout, uint64_t rows, std::vector<int> radius);

}  // namespace hashmatch
