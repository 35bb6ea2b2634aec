// Unsigned integers of 1 to 8 whole bytes each, little-endian, back to back: row numbers of a
// segment of 10 million take three bytes, not four. Arrays are padded, so that reading one is a
// single unaligned load.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace hashmatch {

static_assert(std::endian::native == std::endian::little, "files and codes are little-endian");

// Bytes that hold `largest`: 1 at least.
constexpr unsigned packed_width(uint64_t largest) {
  return largest == 0 ? 1 : static_cast<unsigned>(std::bit_width(largest) + 7) / 8;
}

inline uint64_t load64(const void* at) {
  uint64_t word;
  std::memcpy(&word, at, 8);
  return word;
}

class PackedView {
 public:
  PackedView() = default;
  PackedView(const std::byte* bytes, unsigned width)
      : bytes_(bytes),
        width_(width),
        mask_(width == 8 ? ~uint64_t{0} : (uint64_t{1} << (8 * width)) - 1) {}

  uint64_t operator[](size_t i) const { return load64(bytes_ + i * width_) & mask_; }
  const std::byte* address(size_t i) const { return bytes_ + i * width_; }

 private:
  const std::byte* bytes_ = nullptr;
  unsigned width_ = 1;
  uint64_t mask_ = 0xFF;
};

// Writes one value: only its own bytes, so that its neighbours may be there already or be written
// by other threads. Copies of a known size are single stores, hence the cases.
inline void packed_store(std::byte* bytes, unsigned width, size_t i, uint64_t value) {
  std::byte* at = bytes + i * width;
  switch (width) {
    case 1:
      std::memcpy(at, &value, 1);
      break;
    case 2:
      std::memcpy(at, &value, 2);
      break;
    case 3:
      std::memcpy(at, &value, 2);
      value >>= 16;
      std::memcpy(at + 2, &value, 1);
      break;
    case 4:
      std::memcpy(at, &value, 4);
      break;
    case 5:
      std::memcpy(at, &value, 4);
      value >>= 32;
      std::memcpy(at + 4, &value, 1);
      break;
    default:
      std::memcpy(at, &value, width);
  }
}

}  // namespace hashmatch
