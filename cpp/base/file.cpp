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
  explicit Descriptor(int fd) : fd_(fd) {}
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

// A new file beside `path`, under a name that no other thread or process is writing to.
int create_beside(const std::string& path, std::string& name) {
  for (int number = 0;; ++number) {
    name = path + ".tmp" + std::to_string(number);
    const int fd = open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0) return fd;
    if (errno != EEXIST) throw IoError(errno, path);
  }
}

}  // namespace

void publish_file(const std::string& path, std::span<const std::byte> contents) {
  // Opened first, so that a folder that can't be synced is found before anything is replaced.
  const std::string parent = std::filesystem::path(path).parent_path().string();
  const Descriptor folder(
      open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0) throw IoError(errno, path);
  std::string temporary;
  const Descriptor file(create_beside(path, temporary));
  try {
    write_all(file.get(), contents, path);
    sync(file.get(), path);
    if (std::rename(temporary.c_str(), path.c_str()) != 0) throw IoError(errno, path);
  } catch (...) {
    unlink(temporary.c_str());
    throw;
  }
  sync(folder.get(), path);
}

}  // namespace hashmatch
