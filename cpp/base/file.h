// Publishing a file so that a reader sees the old one or the new one, never a part.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace hashmatch {

// Writes a temporary file beside `path`, syncs it, renames it over `path` and syncs the folder.
// Throws IoError; the old file is then untouched and the temporary one removed, unless syncing the
// folder is what failed: then the new file is there, and may not survive a crash.
void publish_file(const std::string& path, std::span<const std::byte> contents);

}  // namespace hashmatch
