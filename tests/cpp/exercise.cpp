#include "exercise.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "base/error.h"
#include "index/code.h"
#include "index/format.h"
#include "index/segment.h"
#include "search/index.h"

namespace hashmatch::test {
namespace {

// A file in memory, under a path that can be opened.
class MemoryFile {
 public:
  explicit MemoryFile(std::span<const std::byte> contents)
      : fd_(memfd_create("image", MFD_CLOEXEC)) {
    if (fd_ < 0) throw std::runtime_error("no file in memory");
    const auto size = static_cast<ssize_t>(contents.size());
    if (write(fd_, contents.data(), contents.size()) != size)
      throw std::runtime_error("short write");
  }
  ~MemoryFile() { close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

void use(Index& index, const std::vector<std::byte>& queries, size_t count) {
  const StatePtr state = index.state();
  for (const uint32_t distance : {0U, 3U, 31U}) {
    search(*state, queries.data(), count, {distance, 0, 1, {}});
    search(*state, queries.data(), 2, {distance, 5, 1, {}});
    nearest(*state, queries.data(), 3, 4, {distance, 0, 1, {}});
  }
  const auto ids = index.ids();
  std::vector<std::byte> codes(code_bytes(index.bits()));
  for (size_t i = 0; i < ids.size(); i += 1 + ids.size() / 16) {
    index.contains(ids[i]);
    index.codes({&ids[i], 1}, codes.data());
  }
  // Changes read the file too.
  index.add({queries.data(), codes.size()}, 1);
  if (!ids.empty()) index.remove({&ids.front(), 1});
  index.compact(1);
}

void open_and_use(const std::string& path, bool memory) {
  const auto index = Index::open(path, memory);
  constexpr size_t kCount = 40;
  const size_t size = code_bytes(index->bits());
  std::vector<std::byte> queries(kCount * size);
  const auto ids = index->ids();
  for (size_t i = 0; i < kCount; ++i) {
    for (size_t k = 0; k < size; ++k)
      queries[i * size + k] = static_cast<std::byte>(i * 37 + k * i);
    if (i % 2 == 0 && !ids.empty()) index->codes({&ids[i % ids.size()], 1}, &queries[i * size]);
  }
  use(*index, queries, kCount);
}

template <class Call>
std::string refusal(const Call& call) {
  try {
    call();
  } catch (const FormatError& error) {
    return error.what();
  } catch (const IoError& error) {
    return error.what();
  } catch (const InvalidArgument&) {
    return {};  // no ids are left after the largest: true of sound files too
  } catch (const NotFound& error) {
    return error.what();
  }
  return {};
}

}  // namespace

std::string exercise(std::span<const std::byte> image) {
  const MemoryFile file(image);
  const std::string checked = refusal([&] { Segment::open(file.path(), false)->check({}); });
  const std::string mapped = refusal([&] { open_and_use(file.path(), false); });
  const std::string copied = refusal([&] { open_and_use(file.path(), true); });
  if (checked.empty() && !(mapped + copied).empty()) {
    throw std::logic_error("a file that passes its check is refused: " + mapped + copied);
  }
  return checked;
}

bool has_sound_header(std::span<const std::byte> image) {
  format::Header header;
  if (image.size() < sizeof header) return false;
  std::memcpy(&header, image.data(), sizeof header);
  return refusal([&] { format::validate(header, image.size(), "image"); }).empty();
}

void reseal_header(std::span<std::byte> image) {
  format::Header header;
  if (image.size() < sizeof header) return;
  std::memcpy(&header, image.data(), sizeof header);
  header.header_crc = format::header_crc(header);
  std::memcpy(image.data(), &header, sizeof header);
}

}  // namespace hashmatch::test
