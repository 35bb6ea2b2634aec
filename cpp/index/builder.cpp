// Naive version: sort (code, id), then for each band sort the rows by the band's value.
//
// The first sort splits the rows by the first 16 bits of their key (a counting pass on all cores),
// and sorts each part with std::sort. The bands are counting sorts, one task each.
#include "index/builder.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/packed.h"
#include "base/parallel.h"
#include "index/bit_order.h"
#include "index/clumps.h"
#include "index/code.h"
#include "index/format.h"
#include "index/layout.h"

namespace hashmatch {
namespace {

using format::Header;
using format::Kind;
using format::Section;

constexpr unsigned kPartBits = 16;
constexpr size_t kParts = size_t{1} << kPartBits;

// The rank of each row's id among all ids. Empty when the rows are in order of id already.
std::vector<uint32_t> ranks_of(std::span<const uint64_t> ids) {
  if (std::ranges::is_sorted(ids)) return {};
  std::vector<std::pair<uint64_t, uint32_t>> order(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) order[i] = {ids[i], static_cast<uint32_t>(i)};
  std::ranges::sort(order);
  std::vector<uint32_t> ranks(ids.size());
  for (size_t rank = 0; rank < order.size(); ++rank) {
    ranks[order[rank].second] = static_cast<uint32_t>(rank);
  }
  return ranks;
}

// A row on its way: its code, the first word turned so that the first band's bits are the highest,
// and the rank of its id. Turned words compare in order of the first band.
template <unsigned Words>
struct Row {
  uint64_t word[Words];
  uint32_t rank;

  bool same_code(const Row& other) const { return std::equal(word, word + Words, other.word); }
  bool operator<(const Row& other) const {
    for (unsigned w = 0; w < Words; ++w) {
      if (word[w] != other.word[w]) return word[w] < other.word[w];
    }
    return rank < other.rank;
  }
};

template <unsigned Words>
class Builder {
 public:
  explicit Builder(const BuildInput& input)
      : in_(input),
        n_(input.ids.size()),
        threads_(resolve_threads(input.threads)),
        layout_(choose_layout(
            n_, input.bits, design_distance(input.bits, input.max_distance),
            n_ == 0 ? std::vector<double>{} : collision_entropy(input.codes, input.bits))),
        codes_(input.codes),
        turn_(layout_.bands.empty() ? kPartBits : layout_.bands[0].width) {}

  Region build() {
    order_bits();
    sort_rows();
    ordered_ = {};
    fold_repeats();
    clumps_ = find_clumps(
        layout_, static_cast<uint32_t>(firsts_.size()),
        [&](uint32_t row, uint64_t* out) { copy_code(rows_[firsts_[row]], out); }, threads_);
    lay_out();
    write_rows();
    rows_ = {};  // the bands read the codes from the image: give the memory back first
    firsts_ = {};
    clumps_.of_row = {};
    parallel_for(layout_.bands.size(), threads_,
                 [&](size_t band, unsigned) { write_band(static_cast<unsigned>(band)); });
    seal();
    return std::move(image_);
  }

 private:
  // Codes with their bits in the layout's order, where that is not the order they have.
  void order_bits() {
    const BitOrder order(layout_.order);
    if (order.is_natural()) return;
    const size_t size = code_bytes(in_.bits);
    ordered_ = HugeArray<std::byte>(in_.codes.size());
    constexpr size_t kStep = 4096;
    parallel_for((n_ + kStep - 1) / kStep, threads_, [&](size_t task, unsigned) {
      std::array<uint64_t, Words> code{};
      std::array<uint64_t, Words> moved{};
      for (size_t i = task * kStep; i < std::min((task + 1) * kStep, n_); ++i) {
        std::memcpy(code.data(), in_.codes.data() + i * size, size);
        order.apply(code.data(), Words, moved.data());
        std::memcpy(ordered_.data() + i * size, moved.data(), size);
      }
    });
    codes_ = ordered_.span();
  }

  Row<Words> read(size_t i, const std::vector<uint32_t>& ranks) const {
    Row<Words> row{};
    const size_t size = code_bytes(in_.bits);
    std::memcpy(row.word, codes_.data() + i * size, size);
    row.word[0] = std::rotr(row.word[0], static_cast<int>(turn_));
    row.rank = ranks.empty() ? static_cast<uint32_t>(i) : ranks[i];
    return row;
  }

  size_t part_of(const std::byte* code) const {
    return std::rotr(load64(code), static_cast<int>(turn_)) >> (64 - kPartBits);
  }

  // Rows in slices, one a thread: count the parts of each slice, sum up, then copy each row to its
  // place. A slice's rows keep their order, but nothing depends on it: the sort is total.
  void sort_rows() {
    const std::vector<uint32_t> ranks = ranks_of(in_.ids);
    rows_ = HugeArray<Row<Words>>(n_);
    const size_t slices = n_ < kParts ? 1 : threads_;
    std::vector<std::vector<uint32_t>> next(slices, std::vector<uint32_t>(kParts));
    const auto bound = [&](size_t slice) { return n_ * slice / slices; };
    const size_t size = code_bytes(in_.bits);
    parallel_for(slices, threads_, [&](size_t slice, unsigned) {
      for (size_t i = bound(slice); i < bound(slice + 1); ++i) {
        ++next[slice][part_of(codes_.data() + i * size)];
      }
    });
    std::vector<uint32_t> start(kParts + 1);
    for (size_t part = 0, at = 0; part < kParts; ++part) {
      start[part] = static_cast<uint32_t>(at);
      for (auto& of_slice : next) {
        const uint32_t count = of_slice[part];
        of_slice[part] = static_cast<uint32_t>(at);
        at += count;
      }
    }
    start[kParts] = static_cast<uint32_t>(n_);
    parallel_for(slices, threads_, [&](size_t slice, unsigned) {
      for (size_t i = bound(slice); i < bound(slice + 1); ++i) {
        rows_[next[slice][part_of(codes_.data() + i * size)]++] = read(i, ranks);
      }
    });
    constexpr size_t kTask = 256;
    parallel_for(kParts / kTask, threads_, [&](size_t task, unsigned) {
      for (size_t part = task * kTask; part < (task + 1) * kTask; ++part) {
        std::sort(rows_.data() + start[part], rows_.data() + start[part + 1]);
      }
    });
  }

  void fold_repeats() {
    firsts_.reserve(n_);
    for (size_t i = 0; i < n_; ++i) {
      if (i == 0 || !rows_[i].same_code(rows_[i - 1])) firsts_.push_back(static_cast<uint32_t>(i));
    }
    distinct_ = firsts_.size();
  }

  void copy_code(const Row<Words>& row, uint64_t* out) const {
    std::memcpy(out, row.word, sizeof row.word);
    out[0] = std::rotl(row.word[0], static_cast<int>(turn_));
  }

  void lay_out() {
    Header& header = header_;
    header.magic = format::kMagic;
    header.version = format::kVersion;
    header.bits = in_.bits;
    header.max_distance = in_.max_distance;
    std::ranges::copy(in_.hash_type.substr(0, header.hash_type.size() - 1),
                      header.hash_type.begin());
    header.entries = n_;
    header.distinct = distinct_;
    header.clump_count = static_cast<uint32_t>(clumps_.count());
    header.banded =
        distinct_ - std::accumulate(clumps_.rows.begin(), clumps_.rows.end(), uint64_t{0});
    const auto [least, largest] = n_ == 0 ? std::pair<uint64_t, uint64_t>{0, 0} : id_range();
    header.id_base = least;
    header.id_bytes = static_cast<uint8_t>(packed_width(largest - least));
    header.entry_bytes = static_cast<uint8_t>(packed_width(n_));
    header.position_bytes = static_cast<uint8_t>(packed_width(distinct_));
    header.sketch_bits = static_cast<uint8_t>(layout_.sketch_bits);
    header.band_count = layout_.band_count();
    for (unsigned band = 0; band < layout_.band_count(); ++band) {
      header.bands[band] = {layout_.bands[band].at, layout_.bands[band].width};
    }
    std::ranges::copy(layout_.order, header.order.begin());
    format::place_sections(header);
    image_ = Region::anonymous(header.file_bytes);
  }

  std::pair<uint64_t, uint64_t> id_range() const {
    const auto [least, largest] = std::ranges::minmax(in_.ids);
    return {least, largest};
  }

  std::byte* section(Kind kind, unsigned band = 0) {
    for (uint32_t i = 0; i < header_.section_count; ++i) {
      const Section& s = header_.sections[i];
      if (s.kind == static_cast<uint32_t>(kind) && s.band == band) return image_.bytes() + s.offset;
    }
    return nullptr;
  }

  // Codes, starts, ids and the entries by id. Rows of bands come first, in sorted order, then those
  // of each clump.
  void write_rows() {
    auto* codes = reinterpret_cast<uint64_t*>(section(Kind::kCodes));
    std::byte* starts = section(Kind::kStarts);
    const std::vector<uint64_t> sorted_ids = ascending_ids();
    const std::span<const uint64_t> id_of_rank = sorted_ids.empty() ? in_.ids : sorted_ids;
    std::byte* ids = section(Kind::kIds);
    std::byte* by_id = section(Kind::kById);
    size_t row = 0;
    size_t entry = 0;
    const auto write_row = [&](size_t from) {
      const size_t first = firsts_[from];
      const size_t last = from + 1 < distinct_ ? firsts_[from + 1] : n_;
      copy_code(rows_[first], codes + row * Words);
      if (starts != nullptr) packed_store(starts, header_.entry_bytes, row, entry);
      ++row;
      for (size_t i = first; i < last; ++i, ++entry) {
        const uint32_t rank = rows_[i].rank;
        packed_store(ids, header_.id_bytes, entry, id_of_rank[rank] - header_.id_base);
        packed_store(by_id, header_.entry_bytes, rank, entry);
      }
    };
    std::vector<std::vector<uint32_t>> members(clumps_.count());
    for (size_t from = 0; from < distinct_; ++from) {
      const uint16_t clump = clumps_.of_row.empty() ? kNoClump : clumps_.of_row[from];
      if (clump == kNoClump) {
        write_row(from);
      } else {
        members[clump].push_back(static_cast<uint32_t>(from));
      }
    }
    write_clumps(static_cast<uint32_t>(row));
    for (auto& rows : members) {
      // In order of id, rows with several behind the others, so that a search's matches come out
      // almost sorted.
      std::ranges::sort(rows, {}, [&](uint32_t from) {
        const size_t last = from + 1 < distinct_ ? firsts_[from + 1] : n_;
        return std::pair(last - firsts_[from] > 1, rows_[firsts_[from]].rank);
      });
      std::ranges::for_each(rows, write_row);
    }
    if (starts != nullptr) packed_store(starts, header_.entry_bytes, row, n_);
  }

  // Empty when the ids given are in order.
  std::vector<uint64_t> ascending_ids() const {
    if (std::ranges::is_sorted(in_.ids)) return {};
    std::vector<uint64_t> sorted(in_.ids.begin(), in_.ids.end());
    std::ranges::sort(sorted);
    return sorted;
  }

  void write_clumps(uint32_t first_row) {
    if (clumps_.count() == 0) return;
    std::memcpy(section(Kind::kCentres), clumps_.centres.data(),
                clumps_.centres.size() * sizeof(uint64_t));
    auto* out = reinterpret_cast<format::Clump*>(section(Kind::kClumps));
    for (size_t clump = 0; clump < clumps_.count(); ++clump) {
      out[clump] = {first_row, clumps_.rows[clump], clumps_.radius[clump], 0};
      first_row += clumps_.rows[clump];
    }
  }

  void write_band(unsigned band) {
    const auto* codes = reinterpret_cast<const uint64_t*>(section(Kind::kCodes));
    auto* buckets = reinterpret_cast<uint32_t*>(section(Kind::kBuckets, band));
    const BandCutter cut(layout_, band);
    const size_t count = size_t{1} << cut.width;
    for (size_t row = 0; row < header_.banded; ++row) ++buckets[cut.value(codes + row * Words) + 1];
    for (size_t bucket = 0; bucket < count; ++bucket) buckets[bucket + 1] += buckets[bucket];
    if (layout_.sketch_bits != 0) write_postings(band, cut, buckets);
  }

  // A posting on its way to its bucket.
  struct Posting {
    uint32_t value;
    uint16_t sketch;
    uint16_t far_sketch;
    uint32_t row;
  };

  // Rows go to their buckets in two steps, a chunk of them at a time: first to the part of the
  // table that their value's high bits name, then, part by part, to their places. Written in one
  // step they would touch far more lines than the caches hold.
  void write_postings(unsigned band, const BandCutter& cut, const uint32_t* buckets) {
    constexpr size_t kChunk = size_t{1} << 22;
    const auto* codes = reinterpret_cast<const uint64_t*>(section(Kind::kCodes));
    auto* sketches = reinterpret_cast<uint16_t*>(section(Kind::kSketches, band));
    std::byte* beside = section(Kind::kPostings, band);
    const unsigned beside_bytes = format::posting_bytes(header_, band);
    const unsigned far_bits = layout_.has_far_sketches() ? kSketchBits : 0;
    const unsigned low_bits = cut.width / 2;
    std::vector<uint32_t> next(buckets, buckets + (size_t{1} << cut.width));
    std::vector<uint32_t> part(size_t{1} << (cut.width - low_bits));
    HugeArray<Posting> postings(std::min<size_t>(kChunk, header_.banded));
    for (size_t first = 0; first < header_.banded; first += kChunk) {
      const size_t last = std::min<size_t>(first + kChunk, header_.banded);
      std::ranges::fill(part, 0);
      for (size_t row = first; row < last; ++row) {
        ++part[cut.value(codes + row * Words) >> low_bits];
      }
      std::exclusive_scan(part.begin(), part.end(), part.begin(), uint32_t{0});
      for (size_t row = first; row < last; ++row) {
        const uint64_t* code = codes + row * Words;
        const uint32_t value = cut.value(code);
        postings[part[value >> low_bits]++] = {value, cut.sketch(code), cut.far_sketch(code),
                                               static_cast<uint32_t>(row)};
      }
      for (const Posting& posting : postings.span().first(last - first)) {
        const size_t at = next[posting.value]++;
        sketches[at] = posting.sketch;
        if (beside != nullptr) {
          const uint64_t row = band == 0 ? 0 : uint64_t{posting.row} << far_bits;
          packed_store(beside, beside_bytes, at, row | posting.far_sketch);
        }
      }
    }
  }

  // Checksums, prologues, and the header last.
  void seal() {
    parallel_for(header_.section_count, threads_, [&](size_t i, unsigned) {
      Section& s = header_.sections[i];
      s.crc = crc32c({image_.bytes() + s.offset, s.size_bytes});
    });
    // Files with the same contents are the same file; any difference shows in a section's checksum.
    header_.file_id = crc32c(std::as_bytes(std::span(header_.sections))) |
                      uint64_t{crc32c(std::as_bytes(std::span(&header_.entries, 3)))} << 32;
    for (uint32_t i = 0; i < header_.section_count; ++i) {
      format::Prologue prologue{format::kMagic, header_.file_id, header_.sections[i], 0, {}};
      prologue.prologue_crc = format::prologue_crc(prologue);
      std::memcpy(image_.bytes() + header_.sections[i].offset - sizeof prologue, &prologue,
                  sizeof prologue);
    }
    header_.header_crc = format::header_crc(header_);
    std::memcpy(image_.bytes(), &header_, sizeof header_);
  }

  const BuildInput& in_;
  size_t n_;
  unsigned threads_;
  Layout layout_;
  std::span<const std::byte> codes_;  // with their bits in the layout's order
  HugeArray<std::byte> ordered_;      // the same, where it is not the order they were given in
  unsigned turn_;
  HugeArray<Row<Words>> rows_;    // sorted by code, then by id
  std::vector<uint32_t> firsts_;  // where in rows_ each distinct code begins
  size_t distinct_ = 0;
  ClumpPlan clumps_;
  Header header_{};
  Region image_;
};

}  // namespace

Region build_image(const BuildInput& input) {
  if (input.ids.size() >= UINT32_MAX) {
    throw InvalidArgument("a segment takes up to 4,294,967,294 codes; split the list");
  }
  switch (words_of(input.bits)) {
    case 1:
      return Builder<1>(input).build();
    case 2:
      return Builder<2>(input).build();
    default:
      return Builder<4>(input).build();
  }
}

}  // namespace hashmatch
