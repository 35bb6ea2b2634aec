#include "image.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <map>
#include <numeric>

#include "base/crc32c.h"
#include "base/packed.h"
#include "index/code.h"
#include "index/format.h"

namespace hashmatch::test {
namespace {

using format::Header;
using format::Kind;
using format::Section;
using Code = std::array<uint64_t, 5>;  // a word more, as bits_at reads past the end

unsigned distance(unsigned bits, const Code& a, const Code& b) {
  return test::distance(bits, reinterpret_cast<const std::byte*>(a.data()),
                        reinterpret_cast<const std::byte*>(b.data()));
}

// Bit p of the result is bit order[p] of the code.
Code reordered(const Code& code, const std::vector<uint8_t>& order) {
  Code result{};
  for (size_t p = 0; p < order.size(); ++p) {
    result[p / 64] |= (code[order[p] / 64U] >> (order[p] % 64U) & 1U) << (p % 64);
  }
  return result;
}

// Codes in the builder's order, which turns the first word so that band 0 is its highest bits.
struct TurnedOrder {
  int turn;
  bool operator()(const Code& a, const Code& b) const {
    Code x = a, y = b;
    x[0] = std::rotr(x[0], turn);
    y[0] = std::rotr(y[0], turn);
    return x < y;
  }
};

class Writer {
 public:
  explicit Writer(Header& header) : header_(header) {
    format::place_sections(header_);
    image_ = Region::anonymous(header_.file_bytes);
  }

  void put(Kind kind, unsigned band, unsigned width, const std::vector<uint64_t>& values) {
    for (size_t i = 0; i < values.size(); ++i) packed_store(at(kind, band), width, i, values[i]);
  }

  Region finish() {
    std::memcpy(image_.bytes(), &header_, sizeof header_);
    reseal({image_.bytes(), image_.size()});
    return std::move(image_);
  }

 private:
  std::byte* at(Kind kind, unsigned band) {
    for (const Section& section : header_.sections) {
      if (section.kind == static_cast<uint32_t>(kind) && section.band == band) {
        return image_.bytes() + section.offset;
      }
    }
    std::abort();
  }

  Header& header_;
  Region image_;
};

}  // namespace

Region naive_image(const Layout& layout, const Rows& rows, std::span<const uint64_t> ids,
                   size_t clumps) {
  const unsigned words = words_of(layout.bits);
  std::map<Code, std::vector<uint64_t>, TurnedOrder> ids_of(
      TurnedOrder{layout.bands.empty() ? 16 : layout.bands[0].width});
  for (size_t i = 0; i < ids.size(); ++i) {
    Code code{};
    std::memcpy(code.data(), rows.row(i), rows.bits() / 8);
    if (!layout.order.empty()) code = reordered(code, layout.order);
    ids_of[code].push_back(ids[i]);
  }
  // Rows in bands, then those of each clump.
  if (layout.band_count() < 2 || ids_of.size() < 3) clumps = 0;
  std::vector<Code> centres, ordered;
  std::vector<std::vector<Code>> members(clumps);
  size_t number = 0;
  for (const auto& [code, own] : ids_of) {
    if (number % 3 != 0 || clumps == 0) {
      ordered.push_back(code);
    } else if (centres.size() < clumps) {
      members[centres.size()].push_back(code);
      centres.push_back(code);
    } else {
      const auto nearer = [&](const Code& a, const Code& b) {
        return distance(layout.bits, code, a) < distance(layout.bits, code, b);
      };
      const auto nearest = std::ranges::min_element(centres, nearer);
      members[static_cast<size_t>(nearest - centres.begin())].push_back(code);
    }
    ++number;
  }
  const size_t banded = ordered.size();
  std::vector<uint64_t> clump_words, centre_words;
  for (size_t clump = 0; clump < centres.size(); ++clump) {
    unsigned radius = 0;
    for (const Code& code : members[clump]) {
      radius = std::max(radius, distance(layout.bits, code, centres[clump]));
    }
    clump_words.push_back(ordered.size() | members[clump].size() << 32);
    clump_words.push_back(radius);
    centre_words.insert(centre_words.end(), centres[clump].begin(), centres[clump].begin() + words);
    ordered.insert(ordered.end(), members[clump].begin(), members[clump].end());
  }

  Header header{};
  header.magic = format::kMagic;
  header.version = format::kVersion;
  header.bits = layout.bits;
  header.max_distance = -1;
  header.entries = ids.size();
  header.distinct = ordered.size();
  header.banded = banded;
  header.clump_count = static_cast<uint32_t>(centres.size());
  header.id_base = ids.empty() ? 0 : *std::ranges::min_element(ids);
  header.id_bytes = static_cast<uint8_t>(
      ids.empty() ? 1 : packed_width(*std::ranges::max_element(ids) - header.id_base));
  header.entry_bytes = static_cast<uint8_t>(packed_width(header.entries));
  header.position_bytes = static_cast<uint8_t>(packed_width(header.distinct));
  header.sketch_bits = static_cast<uint8_t>(layout.sketch_bits);
  header.band_count = layout.band_count();
  for (size_t band = 0; band < layout.bands.size(); ++band) {
    header.bands[band] = {layout.bands[band].at, layout.bands[band].width};
  }
  std::ranges::copy(layout.order, header.order.begin());
  Writer writer(header);

  std::vector<uint64_t> codes, starts, offsets;
  std::vector<std::pair<uint64_t, uint64_t>> entry_of;
  for (const Code& code : ordered) {
    auto& own = ids_of[code];
    codes.insert(codes.end(), code.begin(), code.begin() + words);
    starts.push_back(offsets.size());
    std::ranges::sort(own);
    for (const uint64_t id : own) {
      entry_of.emplace_back(id, offsets.size());
      offsets.push_back(id - header.id_base);
    }
  }
  starts.push_back(offsets.size());
  std::ranges::sort(entry_of);
  std::vector<uint64_t> by_id;
  for (const auto& [id, entry] : entry_of) by_id.push_back(entry);
  writer.put(Kind::kCodes, 0, 8, codes);
  if (header.distinct != header.entries) writer.put(Kind::kStarts, 0, header.entry_bytes, starts);
  writer.put(Kind::kIds, 0, header.id_bytes, offsets);
  writer.put(Kind::kById, 0, header.entry_bytes, by_id);
  if (!centres.empty()) {
    writer.put(Kind::kCentres, 0, 8, centre_words);
    writer.put(Kind::kClumps, 0, 8, clump_words);
  }

  for (unsigned band = 0; band < layout.band_count(); ++band) {
    const BandCutter cut(layout, band);
    std::vector<std::vector<uint64_t>> rows_by_value(size_t{1} << cut.width);
    for (size_t row = 0; row < banded; ++row) {
      rows_by_value[cut.value(ordered[row].data())].push_back(row);
    }
    std::vector<uint64_t> buckets, sketches, numbers;
    size_t listed = 0;
    for (const auto& bucket : rows_by_value) {
      buckets.push_back(listed);
      for (const uint64_t row : bucket) {
        const uint64_t* code = ordered[row].data();
        sketches.push_back(cut.sketch(code));
        const uint64_t beside = band == 0 ? 0 : row;
        numbers.push_back(layout.has_far_sketches() ? beside << 16 | cut.far_sketch(code) : beside);
        ++listed;
      }
    }
    buckets.push_back(listed);
    writer.put(Kind::kBuckets, band, 4, buckets);
    if (layout.sketch_bits != 0) writer.put(Kind::kSketches, band, 2, sketches);
    const unsigned width = format::posting_bytes(header, band);
    if (width != 0) writer.put(Kind::kPostings, band, width, numbers);
  }
  return writer.finish();
}

std::shared_ptr<const Segment> naive_segment(const Layout& layout, const Rows& rows,
                                             std::span<const uint64_t> ids, size_t clumps) {
  return Segment::from_image(naive_image(layout, rows, ids, clumps));
}

void reseal(std::span<std::byte> image) {
  Header header;
  std::memcpy(&header, image.data(), sizeof header);
  for (uint32_t i = 0; i < header.section_count; ++i) {
    Section& section = header.sections[i];
    section.crc = crc32c(image.subspan(section.offset, section.size_bytes));
  }
  header.file_id = crc32c(std::as_bytes(std::span(header.sections)));
  for (uint32_t i = 0; i < header.section_count; ++i) {
    format::Prologue prologue{format::kMagic, header.file_id, header.sections[i], 0, {}};
    prologue.prologue_crc = format::prologue_crc(prologue);
    std::memcpy(image.data() + header.sections[i].offset - sizeof prologue, &prologue,
                sizeof prologue);
  }
  header.header_crc = format::header_crc(header);
  std::memcpy(image.data(), &header, sizeof header);
}

State state_of(std::shared_ptr<const Segment> segment) {
  State state;
  state.bits = segment->bits();
  state.segments.push_back({std::move(segment), nullptr});
  return state;
}

Layout layout_with(unsigned bits, unsigned sketch_bits, const std::vector<unsigned>& widths) {
  Layout layout{bits, sketch_bits, {}};
  unsigned at = 0;
  for (const unsigned width : widths) {
    layout.bands.push_back({static_cast<uint16_t>(at), static_cast<uint16_t>(width)});
    at += width;
  }
  return layout;
}

std::vector<Layout> layouts_of(unsigned bits, Random& random) {
  std::vector<Layout> layouts = {{bits, 0, {}}};
  for (const unsigned width : {1U, 9U, 14U}) layouts.push_back(layout_with(bits, 0, {width}));
  for (const unsigned sketch : {16U, 32U}) {
    const unsigned fewest = (bits + 12) / 13;
    for (const unsigned count : {fewest, fewest + 3, 32U}) {
      layouts.push_back({bits, sketch, even_bands(bits, count)});
    }
    // Uneven: a band may be as narrow as a bit, so that a sketch reaches past the next two.
    std::vector<unsigned> widths(32, bits / 32);
    for (unsigned i = 0; i < 300; ++i) {
      unsigned &from = widths[random() % 32], &to = widths[random() % 32];
      if (from > 1 && to < 13) --from, ++to;
    }
    layouts.push_back(layout_with(bits, sketch, widths));
    // Bits in any order, the last of them in no band.
    Layout shuffled{bits, sketch, even_bands(bits - 11, fewest)};
    shuffled.order.resize(bits);
    std::iota(shuffled.order.begin(), shuffled.order.end(), uint8_t{0});
    std::ranges::shuffle(shuffled.order, random);
    layouts.push_back(shuffled);
  }
  return layouts;
}

std::string name_of(const Layout& layout) {
  std::string name = std::to_string(layout.bits) + " bits, sketch " +
                     std::to_string(layout.sketch_bits) + ", bands";
  if (!layout.order.empty()) name.append(", reordered");
  for (const Band& band : layout.bands) name.append(" ").append(std::to_string(band.width));
  return name;
}

}  // namespace hashmatch::test
