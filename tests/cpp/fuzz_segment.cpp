// A libFuzzer target: bytes as a segment file, opened, checked, searched and changed.
//
// The first byte says which checksums are made right before, so that inputs get past them. With
// HASHMATCH_SEEDS=FOLDER the target writes sound images of several shapes there to begin with.
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "exercise.h"
#include "image.h"
#include "rows.h"

using namespace hashmatch;
using namespace hashmatch::test;

namespace {

void write_seed(const std::string& path, const Region& image) {
  std::ofstream file(path, std::ios::binary);
  file.put(3);
  file.write(reinterpret_cast<const char*>(image.bytes()),
             static_cast<std::streamsize>(image.size()));
}

void write_seeds(const std::string& folder) {
  Random random(1);
  int number = 0;
  for (const unsigned bits : kWidths) {
    const std::vector<Layout> layouts = {{bits, 0, {}},
                                         layout_with(bits, 0, {5}),
                                         {bits, 16, even_bands(bits, bits / 8)},
                                         {bits, 32, even_bands(bits, 32)}};
    for (const Layout& layout : layouts) {
      for (const size_t count : {0U, 3U, 150U}) {
        const Rows rows = rows_of_kind(DataKind::kDuplicates, bits, count, random);
        write_seed(folder + "/" + std::to_string(number++),
                   naive_image(layout, rows, scattered(count, random), count > 3 ? 2 : 0));
      }
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  if (const char* folder = std::getenv("HASHMATCH_SEEDS")) write_seeds(folder);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  if (size == 0) return 0;
  const auto input = std::as_bytes(std::span(bytes, size)).subspan(1);
  std::vector<std::byte> image(input.begin(), input.end());
  if ((bytes[0] & 1) != 0) reseal_header(image);
  if ((bytes[0] & 2) != 0 && has_sound_header(image)) reseal(image);
  exercise(image);
  return 0;
}
