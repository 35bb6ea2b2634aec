// Using a segment file that may be damaged in every way: what must end well, or in one of our
// errors.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace hashmatch::test {

// Opens the image as a file, both ways, and calls everything that reads it. Returns what it was
// refused with, or nothing; any other exception passes through.
std::string exercise(std::span<const std::byte> image);

// Whether the bytes are an image whose header is sound, so that reseal() may follow its offsets.
bool has_sound_header(std::span<const std::byte> image);

// Makes the header's own checksum right.
void reseal_header(std::span<std::byte> image);

}  // namespace hashmatch::test
