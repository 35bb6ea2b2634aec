// The builder against the naive one, and every refusal of a file.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/packed.h"
#include "image.h"
#include "index/builder.h"
#include "index/format.h"
#include "index/segment.h"
#include "rows.h"
#include "scratch_folder.h"

using namespace hashmatch;
using namespace hashmatch::test;
using format::Header;

namespace {

std::span<const std::byte> bytes_of(const Region& region) {
  return {region.bytes(), region.size()};
}

// An image that has sections of every kind, and the file it is put in.
class Sample {
 public:
  explicit Sample(unsigned bits = 64) {
    Random random(81);
    const Rows rows = rows_of_kind(DataKind::kDuplicates, bits, 900, random);
    const Layout layout = layout_with(bits, 16, std::vector<unsigned>(bits / 8, 8));
    image_ = naive_image(layout, rows, scattered(900, random), 3);
    std::memcpy(&header_, image_.bytes(), sizeof header_);
  }

  // What Segment::open, or check, says of the file that `change` makes of the image.
  std::string refusal(const std::function<void(std::vector<std::byte>&)>& change,
                      bool check) const {
    std::vector<std::byte> bytes(image_.bytes(), image_.bytes() + image_.size());
    change(bytes);
    publish_file(path_, bytes);
    try {
      check ? Segment::open(path_, false)->check({}) : void(Segment::open(path_, false));
    } catch (const FormatError& error) {
      return error.what();
    }
    return "accepted";
  }

  // The same for a change to the header, whose own checksum is made right.
  std::string header_refusal(const std::function<void(Header&)>& change) const {
    return refusal(
        [&](std::vector<std::byte>& bytes) {
          Header header = header_;
          change(header);
          header.header_crc = format::header_crc(header);
          std::memcpy(bytes.data(), &header, sizeof header);
        },
        false);
  }

  // What check says once `change` has been made, and all checksums made right.
  std::string resealed_refusal(
      const std::function<void(std::vector<std::byte>& bytes, Header& header)>& change) const {
    return refusal(
        [&](std::vector<std::byte>& bytes) {
          Header header = header_;
          change(bytes, header);
          std::memcpy(bytes.data(), &header, sizeof header);
          reseal(bytes);
        },
        true);
  }

  const Header& header() const { return header_; }
  const std::string& path() const { return path_; }

  const format::Section& section(format::Kind kind) const {
    return *std::ranges::find(header_.sections, static_cast<uint32_t>(kind),
                              &format::Section::kind);
  }

 private:
  ScratchFolder folder_;
  std::string path_ = folder_ / "index.hm";
  Region image_;
  Header header_;
};

bool says(const std::string& message, const std::string& wanted) {
  return message.find(wanted) != std::string::npos;
}

}  // namespace

TEST_SUITE_BEGIN("base");

TEST_CASE("the builder makes what the naive one makes, whatever the threads") {
  Random random(82);
  for (const unsigned bits : kWidths) {
    for (const DataKind kind : kKinds) {
      for (const size_t count : {0U, 1U, 2U, 2049U, 7000U, 70'000U}) {
        for (const int made_for : {0, 4, 31}) {
          if (count == 70'000 && (made_for != 4 || kind != DataKind::kClusters)) continue;
          CAPTURE(bits);
          CAPTURE(count);
          CAPTURE(name_of(kind));
          const Rows rows = rows_of_kind(kind, bits, count, random);
          const auto ids = count % 2 == 0 ? scattered(count, random) : consecutive(count, 5);
          BuildInput input{bits, made_for, "pdq", rows.bytes(), ids, 1};
          const Region one = build_image(input);
          input.threads = 2;
          const Region two = build_image(input);
          CHECK(std::ranges::equal(bytes_of(one), bytes_of(two)));
          Header header;
          std::memcpy(&header, one.bytes(), sizeof header);
          format::validate(header, one.size(), "built");
          CHECK(header.max_distance == made_for);
          CHECK(std::string(header.hash_type.data()) == "pdq");
          if (header.clump_count != 0) continue;  // which clumps there are is the builder's to say
          const Region naive = naive_image(format::layout_of(header), rows, ids);
          Header expected;
          std::memcpy(&expected, naive.bytes(), sizeof expected);
          REQUIRE(header.section_count == expected.section_count);
          REQUIRE(one.size() == naive.size());
          for (uint32_t i = 0; i < header.section_count; ++i) {
            CAPTURE(i);
            CHECK(std::memcmp(&header.sections[i], &expected.sections[i],
                              sizeof header.sections[i]) == 0);
          }
        }
      }
    }
  }
}

TEST_CASE("a header that is wrong says in what") {
  const Sample sample;
  struct Wrong {
    const char* message;
    std::function<void(Header&)> change;
  };
  const std::vector<Wrong> all = {
      {"not a hashmatch index", [](Header& h) { h.magic[0] = 'X'; }},
      {"format version 2, this build reads version 1", [](Header& h) { h.version = 2; }},
      {"bytes long where its header says", [](Header& h) { h.file_bytes += 64; }},
      {"width of a code is not supported", [](Header& h) { h.bits = 96; }},
      {"maximum distance is impossible", [](Header& h) { h.max_distance = -2; }},
      {"maximum distance is impossible", [](Header& h) { h.max_distance = 65; }},
      {"hash type", [](Header& h) { h.hash_type.fill('x'); }},
      {"hash type", [](Header& h) { h.hash_type[0] = '\xFF'; }},
      {"number of codes is impossible", [](Header& h) { h.entries = uint64_t{1} << 40; }},
      {"number of codes is impossible", [](Header& h) { h.distinct = h.entries + 1; }},
      {"number of clumps is impossible", [](Header& h) { h.banded = h.distinct + 1; }},
      {"number of clumps is impossible", [](Header& h) { h.clump_count = 0; }},
      {"width of an array is impossible", [](Header& h) { h.id_bytes = 0; }},
      {"width of an array is impossible", [](Header& h) { h.id_bytes = 9; }},
      {"width of an array is impossible", [](Header& h) { h.entry_bytes = 8; }},
      {"width of an array is impossible", [](Header& h) { h.position_bytes = 1; }},
      {"number of bands is impossible", [](Header& h) { h.band_count = 33; }},
      {"number of bands is impossible", [](Header& h) { h.band_count = 2; }},
      {"sketch width is impossible", [](Header& h) { h.sketch_bits = 24; }},
      {"sketch width is impossible", [](Header& h) { h.sketch_bits = 0; }},
      {"a band is impossible", [](Header& h) { h.bands[3].width = 0; }},
      {"a band is impossible", [](Header& h) { h.bands[3].width = 60000; }},
      {"a band is impossible", [](Header& h) { h.bands[3].at += 1; }},
      {"sections do not fill the file", [](Header& h) { h.band_count = 7; }},
      {"a band is impossible", [](Header& h) { h.bands[h.band_count - 1].width += 1; }},
      {"order of bits is impossible", [](Header& h) { h.order[3] = 3; }},
      {"order of bits is impossible",
       [](Header& h) {
         std::iota(h.order.begin(), h.order.end(), uint8_t{0});
         h.order[9] = 8;
       }},
      {"sections do not fill the file", [](Header& h) { h.section_count -= 1; }},
      {"sections do not fill the file", [](Header& h) { h.section_count = 1'000'000; }},
      {"a section is not where it must be", [](Header& h) { h.sections[2].offset += 64; }},
      {"a section is not where it must be", [](Header& h) { h.sections[2].size_bytes -= 1; }},
      {"a section is not where it must be", [](Header& h) { h.sections[2].kind = 99; }},
      {"a section is not where it must be",
       [](Header& h) { std::swap(h.sections[6], h.sections[9]); }},
      {"section is not the one its header lists", [](Header& h) { h.sections[2].crc ^= 1; }},
      {"section is not the one its header lists", [](Header& h) { h.file_id ^= 1; }},
  };
  for (const Wrong& wrong : all) {
    const std::string message = sample.header_refusal(wrong.change);
    CAPTURE(std::string(wrong.message));
    CAPTURE(message);
    CHECK(says(message, wrong.message));
    CHECK(says(message, sample.path()));
  }
  const auto flip = [](std::vector<std::byte>& bytes) { bytes[4000] ^= std::byte{1}; };
  CHECK(says(sample.refusal(flip, false), "header's checksum is wrong"));
  const auto shorten = [](std::vector<std::byte>& bytes) { bytes.resize(4095); };
  CHECK(says(sample.refusal(shorten, false), "4095 bytes are too few"));
}

TEST_CASE("check finds a changed byte in every section and between them") {
  const Sample sample;
  CHECK(sample.refusal([](auto&) {}, true) == "accepted");
  for (uint32_t i = 0; i < sample.header().section_count; ++i) {
    const format::Section& section = sample.header().sections[i];
    const std::string name = format::section_name(section.kind, section.band);
    CAPTURE(name);
    for (const uint64_t at : {uint64_t{0}, section.size_bytes / 2, section.size_bytes - 1}) {
      const auto flip = [&](auto& bytes) { bytes[section.offset + at] ^= std::byte{0x10}; };
      CHECK(says(sample.refusal(flip, true), "run `hashmatch check`"));
    }
    const auto pad = [&](auto& bytes) {
      bytes[section.offset + section.size_bytes] = std::byte{1};
    };
    CHECK(says(sample.refusal(pad, true), "padding"));
    const auto prologue = [&](auto& bytes) { bytes[section.offset - 40] ^= std::byte{1}; };
    CHECK(says(sample.refusal(prologue, false), "the " + name + " section is not the one"));
  }
}

TEST_CASE("check finds numbers that are wrong behind checksums that are right") {
  const Sample sample;
  struct Wrong {
    format::Kind kind;
    uint32_t band;
    const char* message;
  };
  const std::vector<Wrong> all = {
      {format::Kind::kCodes, 0, "wrong"},
      {format::Kind::kStarts, 0, "starts of entries are out of order"},
      {format::Kind::kById, 0, "by id"},
      {format::Kind::kCentres, 0, "too far from its clump's centre"},
      {format::Kind::kClumps, 0, "clumps are out of order"},
      {format::Kind::kBuckets, 2, "buckets of band 2 are out of order"},
      {format::Kind::kSketches, 3, "a sketch of band 3 is wrong"},
      {format::Kind::kPostings, 4, "a posting of band 4 is in the wrong bucket"},
  };
  for (const Wrong& wrong : all) {
    CAPTURE(std::string(wrong.message));
    for (const auto& section : sample.header().sections) {
      if (section.kind != static_cast<uint32_t>(wrong.kind) || section.band != wrong.band) continue;
      const std::string message = sample.refusal(
          [&](auto& bytes) {
            for (size_t at = 0; at < 8; ++at) bytes[section.offset + at] ^= std::byte{0x5A};
            reseal(bytes);
          },
          true);
      CAPTURE(message);
      CHECK(says(message, wrong.message));
    }
  }
}

TEST_CASE("check finds a row that a band lists twice") {
  const Sample sample;
  for (const auto& section : sample.header().sections) {
    if (section.kind != static_cast<uint32_t>(format::Kind::kPostings)) continue;
    // Two postings of one bucket: the second made a copy of the first, sketch and all.
    const auto twice = [&](auto& bytes) {
      const auto segment_of = [&](format::Kind kind) {
        for (const auto& s : sample.header().sections) {
          if (s.kind == static_cast<uint32_t>(kind) && s.band == section.band) return s.offset;
        }
        return uint64_t{0};
      };
      const auto* buckets = reinterpret_cast<uint32_t*>(&bytes[segment_of(format::Kind::kBuckets)]);
      size_t bucket = 0;
      while (buckets[bucket + 1] - buckets[bucket] < 2) ++bucket;
      const uint64_t posting = buckets[bucket];
      std::byte* sketch = &bytes[segment_of(format::Kind::kSketches) + posting * 2];
      std::memcpy(sketch + 2, sketch, 2);
      const size_t width = sample.header().position_bytes;
      std::byte* position = &bytes[section.offset + posting * width];
      std::memcpy(position + width, position, width);
      reseal(bytes);
    };
    CHECK(says(sample.refusal(twice, true), "lists"));
  }
}

TEST_CASE("check finds bytes past the end of a code or centre that are not 0") {
  const Sample sample(160);
  const auto refused_with = [&](format::Kind kind, uint64_t row, uint64_t byte) {
    return sample.resealed_refusal([&](auto& bytes, Header&) {
      bytes[sample.section(kind).offset + row * 32 + byte] = std::byte{0x80};
    });
  };
  const uint64_t in_clumps = sample.header().banded;
  REQUIRE(in_clumps < sample.header().distinct);
  for (uint64_t byte = 20; byte < 32; ++byte) {
    for (const uint64_t row : {uint64_t{0}, in_clumps, sample.header().distinct - 1}) {
      CHECK(says(refused_with(format::Kind::kCodes, row, byte), "past the end of a code"));
    }
    CHECK(says(refused_with(format::Kind::kCentres, 2, byte), "past the end of a centre"));
  }
}

TEST_CASE("check finds unused bytes of the header or a clump that are not 0") {
  const Sample sample;
  const std::vector<std::function<void(Header&)>> changes = {
      [](Header& h) { h.zeros[0] = 1; },
      [](Header& h) { h.zeros.back() = 1; },
      [](Header& h) { h.bands[h.band_count].width = 1; },
      [](Header& h) { h.bands.back().at = 1; },
      [](Header& h) { h.sections[h.section_count].crc = 1; },
      [](Header& h) { h.sections.back().reserved = 1; },
      [](Header& h) { h.sections[0].reserved = 1; },
      [](Header& h) { h.sections[h.section_count - 1].reserved = 1; },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    CAPTURE(i);
    const auto message =
        sample.resealed_refusal([&](auto&, Header& header) { changes[i](header); });
    CHECK(says(message, "bytes of the header that are not used"));
  }
  const auto message = sample.resealed_refusal([&](auto& bytes, Header&) {
    bytes[sample.section(format::Kind::kClumps).offset + 2 * sizeof(format::Clump) + 15] =
        std::byte{1};
  });
  CHECK(says(message, "bytes of a clump that are not used"));
}

TEST_CASE("check finds a code that has two rows") {
  const Sample sample;
  // A clump has neither bands nor an order that could tell.
  const auto message = sample.resealed_refusal([&](auto& bytes, Header& header) {
    auto* codes = reinterpret_cast<uint64_t*>(&bytes[sample.section(format::Kind::kCodes).offset]);
    codes[header.banded + 1] = codes[header.banded];
  });
  CHECK(says(message, "a code has two rows"));
}

TEST_CASE("check finds ids of a row that are out of order, behind entries by id that are not") {
  const Sample sample;
  const auto message = sample.resealed_refusal([&](auto& bytes, Header& header) {
    const auto at = [&](format::Kind kind) { return &bytes[sample.section(kind).offset]; };
    const PackedView starts(at(format::Kind::kStarts), header.entry_bytes);
    size_t row = 0;
    while (starts[row + 1] - starts[row] < 2) ++row;
    const uint64_t entry = starts[row];
    std::byte* id = at(format::Kind::kIds) + entry * header.id_bytes;
    std::swap_ranges(id, id + header.id_bytes, id + header.id_bytes);
    const PackedView by_id(at(format::Kind::kById), header.entry_bytes);
    for (size_t rank = 0; rank < header.entries; ++rank) {
      const uint64_t old = by_id[rank];
      if (old != entry && old != entry + 1) continue;
      packed_store(at(format::Kind::kById), header.entry_bytes, rank, 2 * entry + 1 - old);
    }
  });
  CHECK(says(message, "the ids of a row are out of order"));
}

TEST_CASE("check finds a least id that no entry has") {
  const Sample sample;
  REQUIRE(sample.header().id_base > 0);
  const auto message = sample.resealed_refusal([&](auto& bytes, Header& header) {
    --header.id_base;
    std::byte* ids = &bytes[sample.section(format::Kind::kIds).offset];
    const PackedView old(ids, header.id_bytes);
    for (size_t entry = 0; entry < header.entries; ++entry) {
      packed_store(ids, header.id_bytes, entry, old[entry] + 1);
    }
  });
  CHECK(says(message, "least id"));
}

TEST_SUITE_END();
