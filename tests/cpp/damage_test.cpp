// Damaged images: everything that reads one ends well or in one of our errors. Whether it also
// never reads outside the image is for the sanitizers to see.
#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "exercise.h"
#include "image.h"
#include "index/format.h"
#include "rows.h"

using namespace hashmatch;
using namespace hashmatch::test;

namespace {

using Bytes = std::vector<std::byte>;

Bytes image_of(const Layout& layout, DataKind kind, size_t count, size_t clumps, Random& random) {
  const Rows rows = rows_of_kind(kind, layout.bits, count, random);
  const Region image = naive_image(layout, rows, scattered(count, random), clumps);
  return {image.bytes(), image.bytes() + image.size()};
}

std::vector<Bytes> images(Random& random) {
  return {
      image_of({64, 0, {}}, DataKind::kDuplicates, 60, 0, random),
      image_of(layout_with(128, 0, {6}), DataKind::kUniform, 200, 0, random),
      image_of({64, 16, even_bands(64, 8)}, DataKind::kUniform, 900, 0, random),
      image_of({160, 32, even_bands(160, 20)}, DataKind::kDuplicates, 700, 3, random),
      image_of({256, 16, even_bands(256, 32)}, DataKind::kClusters, 600, 4, random),
      image_of({256, 0, {}}, DataKind::kUniform, 0, 0, random),
  };
}

}  // namespace

TEST_SUITE_BEGIN("damage");

TEST_CASE("sound images are not refused") {
  Random random(61);
  for (const Bytes& image : images(random)) CHECK(exercise(image) == "");
}

TEST_CASE("every byte of a header") {
  Random random(62);
  const auto sound = images(random);
  // Past the fields come section entries and zeros, many alike.
  for (size_t at = 0; at < format::kHeaderBytes; at += at < 400 ? 1 : 7) {
    Bytes image = sound[at % sound.size()];
    const std::byte old = image[at];
    constexpr std::byte kNew[] = {std::byte{0}, std::byte{0xFF}};
    image[at] = at % 3 == 2 ? ~old : kNew[at % 3];
    if (image[at] == old) image[at] = old ^ std::byte{1};
    CHECK(exercise(image) != "");
    reseal_header(image);
    exercise(image);
    if (has_sound_header(image)) {
      reseal(image);
      exercise(image);
    }
  }
}

TEST_CASE("bytes flipped anywhere, with checksums that are right or wrong") {
  Random random(63);
  const auto sound = images(random);
  for (int round = 0; round < 1500; ++round) {
    Bytes image = sound[random() % sound.size()];
    for (size_t flips = 1 + random() % 4; flips-- > 0;) {
      image[format::kHeaderBytes + random() % (image.size() - format::kHeaderBytes)] ^=
          static_cast<std::byte>(1 + random() % 255);
    }
    exercise(image);
    reseal(image);
    exercise(image);
  }
}

TEST_CASE("numbers of every section, small, large and shuffled") {
  Random random(64);
  for (const Bytes& sound : images(random)) {
    format::Header header;
    std::memcpy(&header, sound.data(), sizeof header);
    for (uint32_t i = 0; i < header.section_count; ++i) {
      const auto& section = header.sections[i];
      if (section.size_bytes == 0) continue;
      for (const int fill : {0, 0x01, 0x7F, 0xFF, -1}) {
        Bytes image = sound;
        for (size_t at = 0; at < section.size_bytes; ++at) {
          const auto byte =
              static_cast<std::byte>(fill < 0 ? random() : static_cast<uint64_t>(fill));
          if (at % 8 < 4 || fill != 1) image[section.offset + at] = byte;
        }
        exercise(image);
        reseal(image);
        exercise(image);
      }
    }
  }
}

TEST_CASE("images cut short or grown") {
  Random random(65);
  for (const Bytes& sound : images(random)) {
    for (int round = 0; round < 60; ++round) {
      Bytes image = sound;
      image.resize(random() % (2 * sound.size()));
      if (image.size() == sound.size()) continue;
      CHECK(exercise(image) != "");
      reseal_header(image);
      CHECK(exercise(image) != "");
    }
  }
}

TEST_SUITE_END();
