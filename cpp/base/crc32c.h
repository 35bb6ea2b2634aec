// CRC-32C (Castagnoli, RFC 3720 appendix B.4), the checksum of segment files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace hashmatch {

// Extends `crc` (0 to begin with) over `bytes`.
uint32_t crc32c(std::span<const std::byte> bytes, uint32_t crc = 0);

}  // namespace hashmatch
