#include "index/format.h"

#include <algorithm>
#include <utility>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/packed.h"
#include "index/code.h"
#include "index/plan.h"

namespace hashmatch::format {
namespace {

size_t align_up(size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

[[noreturn]] void fail(const std::string& name, const std::string& what) {
  throw FormatError(name + ": " + what);
}

void require(bool holds, const std::string& name, const char* what) {
  if (!holds) fail(name, std::string(what) + "; the file is damaged, build it again from its list");
}

// The sections that a header with these counts has, in the file's order.
std::vector<std::pair<Kind, uint32_t>> expected_sections(const Header& header) {
  std::vector<std::pair<Kind, uint32_t>> kinds = {{Kind::kCodes, 0}};
  if (header.distinct != header.entries) kinds.push_back({Kind::kStarts, 0});
  kinds.push_back({Kind::kIds, 0});
  kinds.push_back({Kind::kById, 0});
  if (header.clump_count > 0) {
    kinds.push_back({Kind::kCentres, 0});
    kinds.push_back({Kind::kClumps, 0});
  }
  for (uint32_t band = 0; band < header.band_count; ++band) {
    kinds.push_back({Kind::kBuckets, band});
    if (header.sketch_bits != 0) kinds.push_back({Kind::kSketches, band});
    if (posting_bytes(header, band) != 0) kinds.push_back({Kind::kPostings, band});
  }
  return kinds;
}

uint64_t expected_bytes(const Header& header, Kind kind, uint32_t band) {
  switch (kind) {
    case Kind::kCodes:
      return header.distinct * words_of(header.bits) * sizeof(uint64_t);
    case Kind::kStarts:
      return (header.distinct + 1) * header.entry_bytes;
    case Kind::kIds:
      return header.entries * header.id_bytes;
    case Kind::kById:
      return header.entries * header.entry_bytes;
    case Kind::kCentres:
      return uint64_t{header.clump_count} * words_of(header.bits) * sizeof(uint64_t);
    case Kind::kClumps:
      return header.clump_count * sizeof(Clump);
    case Kind::kBuckets:
      return ((uint64_t{1} << header.bands[band].width) + 1) * sizeof(uint32_t);
    case Kind::kSketches:
      return header.banded * (kSketchBits / 8);
    case Kind::kPostings:
      return header.banded * posting_bytes(header, band);
  }
  return 0;
}

void validate_bands(const Header& header, const std::string& name) {
  const uint32_t count = header.band_count;
  require(count <= header.bands.size() && count != 2, name, "the number of bands is impossible");
  require(
      count < 2 ? header.sketch_bits == 0 : header.sketch_bits == 16 || header.sketch_bits == 32,
      name, "the sketch width is impossible");
  unsigned at = 0;
  for (uint32_t band = 0; band < count; ++band) {
    const BandEntry& entry = header.bands[band];
    require(entry.at == at && entry.width >= 1 && entry.width <= kMaxBandWidth &&
                at + entry.width <= header.bits,
            name, "a band is impossible");
    at += entry.width;
  }
  for (uint32_t band = 0; band < count; ++band) {
    require(header.bands[band].width + header.sketch_bits <= at, name, "a band is impossible");
  }
}

bool is_natural(const Header& header) {
  return std::ranges::all_of(header.order, [](uint8_t bit) { return bit == 0; });
}

void validate_order(const Header& header, const std::string& name) {
  if (is_natural(header)) return;
  std::array<bool, 256> taken{};
  bool permutation = true;
  for (uint32_t bit = 0; bit < header.order.size(); ++bit) {
    const uint8_t from = header.order[bit];
    if (bit < header.bits) {
      permutation &= from < header.bits && !taken[from];
      taken[from] = true;
    } else {
      permutation &= from == 0;
    }
  }
  require(permutation, name, "the order of bits is impossible");
}

void validate_counts(const Header& header, const std::string& name) {
  // Rows are numbered in 32 bits, which also keeps every product below from overflowing.
  require(header.distinct <= header.entries && header.entries <= UINT32_MAX &&
              (header.entries == 0) == (header.distinct == 0),
          name, "the number of codes is impossible");
  require(header.banded <= header.distinct &&
              (header.banded == header.distinct) == (header.clump_count == 0) &&
              header.clump_count <= header.distinct &&
              (header.clump_count == 0 || header.band_count > 1),
          name, "the number of clumps is impossible");
  require(header.id_bytes >= 1 && header.id_bytes <= 8 &&
              header.entry_bytes == packed_width(header.entries) &&
              header.position_bytes == packed_width(header.distinct),
          name, "the width of an array is impossible");
}

}  // namespace

uint32_t header_crc(const Header& header) {
  Header copy = header;
  copy.header_crc = 0;
  return crc32c(std::as_bytes(std::span(&copy, 1)));
}

uint32_t prologue_crc(const Prologue& prologue) {
  return crc32c(std::as_bytes(std::span(&prologue, 1)).first(offsetof(Prologue, prologue_crc)));
}

std::string section_name(uint32_t kind, uint32_t band) {
  const std::string of_band = " of band " + std::to_string(band);
  switch (static_cast<Kind>(kind)) {
    case Kind::kCodes:
      return "codes";
    case Kind::kStarts:
      return "starts";
    case Kind::kIds:
      return "ids";
    case Kind::kById:
      return "entries by id";
    case Kind::kCentres:
      return "centres";
    case Kind::kClumps:
      return "clumps";
    case Kind::kBuckets:
      return "buckets" + of_band;
    case Kind::kSketches:
      return "sketches" + of_band;
    case Kind::kPostings:
      return "postings" + of_band;
  }
  return "unknown";
}

void place_sections(Header& header) {
  size_t at = kHeaderBytes;
  header.section_count = 0;
  for (const auto& [kind, band] : expected_sections(header)) {
    const uint64_t size = expected_bytes(header, kind, band);
    at += sizeof(Prologue);
    header.sections[header.section_count++] = {static_cast<uint32_t>(kind), band, at, size, 0, 0};
    at = align_up(at + size + kPadBytes);
  }
  header.file_bytes = at;
}

unsigned posting_bytes(const Header& header, uint32_t band) {
  return (band == 0 ? 0 : header.position_bytes) +
         (header.sketch_bits == 2 * kSketchBits ? kSketchBits / 8 : 0);
}

Layout layout_of(const Header& header) {
  Layout layout{header.bits, header.sketch_bits, {}, {}};
  if (!is_natural(header)) {
    layout.order.assign(header.order.begin(), header.order.begin() + header.bits);
  }
  for (uint32_t band = 0; band < header.band_count; ++band) {
    layout.bands.push_back({header.bands[band].at, header.bands[band].width});
  }
  return layout;
}

void validate(const Header& header, size_t file_bytes, const std::string& name) {
  if (header.magic != kMagic) {
    fail(name,
         "not a hashmatch index (its first 8 bytes are not HASHMTCH); make one with "
         "`hashmatch build LIST -o FILE.hm`");
  }
  if (header.version != kVersion) {
    fail(name, "format version " + std::to_string(header.version) + ", this build reads version " +
                   std::to_string(kVersion) + "; build the index again from its list");
  }
  require(header.header_crc == header_crc(header), name, "the header's checksum is wrong");
  if (header.file_bytes != file_bytes) {
    fail(name, std::to_string(file_bytes) + " bytes long where its header says " +
                   std::to_string(header.file_bytes) + "; copy or build it again");
  }
  require(width_supported(header.bits), name, "the width of a code is not supported");
  require(header.max_distance >= -1 && header.max_distance <= static_cast<int32_t>(header.bits),
          name, "the maximum distance is impossible");
  const auto text_end = std::ranges::find(header.hash_type, '\0');
  require(
      text_end != header.hash_type.end() && std::all_of(header.hash_type.begin(), text_end,
                                                        [](char c) { return c > ' ' && c <= '~'; }),
      name, "the hash type is not a name");
  validate_counts(header, name);
  validate_bands(header, name);
  validate_order(header, name);
  Header expected = header;
  place_sections(expected);
  require(
      expected.file_bytes == header.file_bytes && expected.section_count == header.section_count,
      name, "the sections do not fill the file");
  for (uint32_t i = 0; i < header.section_count; ++i) {
    const Section& have = header.sections[i];
    const Section& want = expected.sections[i];
    require(have.kind == want.kind && have.band == want.band && have.offset == want.offset &&
                have.size_bytes == want.size_bytes,
            name, "a section is not where it must be");
  }
}

}  // namespace hashmatch::format
