// The segment file's structs; FORMAT.md beside this file gives every byte. All numbers are
// little-endian. A file is header, then sections, each behind a prologue of its own.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "index/layout.h"

namespace hashmatch::format {

inline constexpr std::array<char, 8> kMagic = {'H', 'A', 'S', 'H', 'M', 'T', 'C', 'H'};
inline constexpr uint32_t kVersion = 1;
inline constexpr size_t kAlign = 64;
inline constexpr size_t kPadBytes = 64;  // zeros after each section, for kernels that read past it
inline constexpr size_t kHeaderBytes = 4096;
inline constexpr uint32_t kMaxSections = 104;

enum class Kind : uint32_t {
  kCodes = 1,     // distinct codes: those in bands, in order of band 0, then clump by clump
  kStarts = 2,    // first entry of each code, and the end; absent where each code has one id
  kIds = 3,       // id of each entry, less id_base
  kById = 4,      // entries in order of id
  kCentres = 8,   // centre of each clump; absent without clumps, as is kClumps
  kClumps = 9,    // a Clump each
  kBuckets = 5,   // first posting of each bucket of a band, and the end
  kSketches = 6,  // sketch of each posting of a band
  kPostings = 7,  // far sketch and row of each posting of a band; for band 0 no row: it is k
};

struct Section {
  uint32_t kind;
  uint32_t band;
  uint64_t offset;      // of the section's first byte, from the start of the file
  uint64_t size_bytes;  // without padding
  uint32_t crc;
  uint32_t reserved;
};
static_assert(sizeof(Section) == 32);

struct Clump {
  uint32_t first_row;
  uint32_t rows;
  uint32_t radius;  // no row of it is farther from the centre
  uint32_t reserved;
};
static_assert(sizeof(Clump) == 16);

struct BandEntry {
  uint16_t at;
  uint16_t width;
};

struct Header {
  std::array<char, 8> magic;
  uint32_t version;
  uint32_t header_crc;  // of the 4096 header bytes with this field 0
  uint64_t file_bytes;
  uint64_t file_id;  // differs between files, to tell sections of another file apart
  uint32_t bits;
  int32_t max_distance;  // -1: none
  std::array<char, 16> hash_type;
  uint64_t entries;
  uint64_t distinct;
  uint64_t id_base;
  uint8_t id_bytes;
  uint8_t entry_bytes;     // in kStarts and kById
  uint8_t position_bytes;  // of a row in kPostings
  uint8_t sketch_bits;
  uint32_t band_count;
  uint32_t section_count;
  uint32_t clump_count;
  uint64_t banded;  // rows that the bands list: the first ones
  std::array<BandEntry, 32> bands;
  std::array<Section, kMaxSections> sections;
  std::array<uint8_t, 256> order;  // bit p is bit order[p] of the code as given; all 0: bit p
  std::array<uint8_t, 280> zeros;
};
static_assert(std::is_trivially_copyable_v<Header>);
static_assert(offsetof(Header, bits) == 32 && offsetof(Header, entries) == 56);
static_assert(offsetof(Header, bands) == 104 && offsetof(Header, sections) == 232);
static_assert(offsetof(Header, order) == 3560 && sizeof(Header) == kHeaderBytes);

// Stands in the 64 bytes before each section, so that a section in another's place is noticed
// without reading it.
struct Prologue {
  std::array<char, 8> magic;
  uint64_t file_id;
  Section section;
  uint32_t prologue_crc;  // of the bytes before
  std::array<uint32_t, 3> reserved;
};
static_assert(sizeof(Prologue) == kAlign);

uint32_t header_crc(const Header& header);
uint32_t prologue_crc(const Prologue& prologue);

// What a section is called in messages: "sketches of band 3".
std::string section_name(uint32_t kind, uint32_t band);

// Lists the sections that the header's counts and bands call for, places them, and sets file_bytes.
void place_sections(Header& header);

Layout layout_of(const Header& header);

// Of each number in the band's kPostings; 0: it has none.
unsigned posting_bytes(const Header& header, uint32_t band);

// Everything about a header that can be wrong, but for the sections' own bytes. Throws FormatError.
void validate(const Header& header, size_t file_bytes, const std::string& name);

}  // namespace hashmatch::format
