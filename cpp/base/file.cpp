#include "base/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "base/error.h"

namespace hashmatch {
namespace {

// A descriptor that is closed whatever happens.
class Descriptor {
 public:
  Descriptor(const std::string& path, int flags, unsigned mode = 0)
      : fd_(open(path.c_str(), flags | O_CLOEXEC, mode)) {
    if (fd_ < 0) throw IoError(errno, path);
  }
  ~Descriptor() { close(fd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

void write_all(int fd, std::span<const std::byte> contents, const std::string& path) {
  while (!contents.empty()) {
    // Linux writes at most 2 GiB a call.
    const size_t wanted = std::min(contents.size(), size_t{1} << 30);
    const ssize_t written = write(fd, contents.data(), wanted);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) throw IoError(written == 0 ? EIO : errno, path);
    contents = contents.subspan(static_cast<size_t>(written));
  }
}

void sync(int fd, const std::string& path) {
  if (fsync(fd) != 0) throw IoError(errno, path);
}

}  // namespace

void publish_file(const std::string& path, std::span<const std::byte> contents) {
  const std::string temporary = path + ".tmp" + std::to_string(getpid());
  try {
    {
      const Descriptor file(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0666);
      write_all(file.get(), contents, path);
      sync(file.get(), path);
    }
    if (std::rename(temporary.c_str(), path.c_str()) != 0) throw IoError(errno, path);
  } catch (...) {
    unlink(temporary.c_str());
    throw;
  }
  const std::string parent = std::filesystem::path(path).parent_path().string();
  const Descriptor folder(parent.empty() ? "." : parent, O_RDONLY | O_DIRECTORY);
  sync(folder.get(), path);
}

}  // namespace hashmatch
