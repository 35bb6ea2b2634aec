#include "base/memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <utility>

#include "base/error.h"

namespace hashmatch {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

Region::~Region() {
  if (bytes_ != nullptr) munmap(bytes_, mapped_);
}

Region::Region(Region&& other) noexcept
    : bytes_(std::exchange(other.bytes_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      mapped_(std::exchange(other.mapped_, 0)) {}

Region& Region::operator=(Region&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(size_, other.size_);
  std::swap(mapped_, other.mapped_);
  return *this;
}

Region Region::anonymous(size_t size_bytes) {
  // Rounding small arrays to huge pages would waste more than it saves.
  const bool huge = size_bytes >= kHugePage;
  const size_t unit = huge ? kHugePage : 4096;
  if (size_bytes > SIZE_MAX - 2 * kHugePage) throw std::bad_alloc();
  const size_t mapped = (size_bytes + unit) / unit * unit;
  void* at = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) throw std::bad_alloc();
  if (huge) madvise(at, mapped, MADV_HUGEPAGE);
  return Region(static_cast<std::byte*>(at), size_bytes, mapped);
}

Region Region::file(const std::string& path) {
  // Opening a pipe would otherwise wait for its writer.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) throw IoError(errno, path);
  struct stat status {};
  const bool known = fstat(fd, &status) == 0;
  if (!known || !S_ISREG(status.st_mode)) {
    const int error = !known ? errno : S_ISDIR(status.st_mode) ? EISDIR : ENODEV;
    close(fd);
    throw IoError(error, path);
  }
  const auto size = static_cast<size_t>(status.st_size);
  if (size == 0) {
    close(fd);
    return Region();
  }
  void* at = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  const int error = errno;
  close(fd);
  if (at == MAP_FAILED) throw IoError(error, path);
  return Region(static_cast<std::byte*>(at), size, size);
}

}  // namespace hashmatch
