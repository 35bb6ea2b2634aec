#include "faults.h"

#include <sys/mman.h>

#include <cerrno>
#include <chrono>
#include <new>
#include <stdexcept>

namespace hashmatch::test {
namespace {

std::atomic<bool> counting{false};
std::atomic<size_t> requests{0};
std::atomic<size_t> first_failure{0};
std::atomic<size_t> last_failure{0};
std::atomic<Pause*> pause_now{nullptr};

bool memory_is_refused() {
  if (!counting) return false;
  const size_t request = ++requests;
  return request >= first_failure && request <= last_failure;
}

// Polls: the waits of the standard library unlock mutexes themselves.
bool comes_true(const std::atomic<bool>& flag, std::chrono::milliseconds patience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!flag && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  return flag;
}

void require(int error) {
  if (error != 0) throw std::runtime_error("threads' attributes could not be changed");
}

}  // namespace

MemoryFault::MemoryFault(size_t request, Kind kind) {
  requests = 0;
  first_failure = request;
  last_failure = kind == Kind::kOnce ? request : SIZE_MAX;
  counting = true;
}

MemoryFault::~MemoryFault() { counting = false; }

bool MemoryFault::happened() const { return requests >= first_failure; }

NoThreads::NoThreads() {
  require(pthread_getattr_default_np(&before_));
  pthread_attr_t attributes;
  require(pthread_getattr_default_np(&attributes));
  require(pthread_attr_setstacksize(&attributes, size_t{1} << 60));
  require(pthread_setattr_default_np(&attributes));
  pthread_attr_destroy(&attributes);
}

NoThreads::~NoThreads() {
  pthread_setattr_default_np(&before_);
  pthread_attr_destroy(&before_);
}

Pause::Pause(size_t unlocks) : at_(unlocks) { pause_now = this; }

Pause::~Pause() { pause_now = nullptr; }

bool Pause::wait_until_reached() const { return comes_true(reached_, std::chrono::seconds(1)); }

void Pause::unlocked() {
  if (std::this_thread::get_id() == owner_ || ++unlocks_ != at_) return;
  reached_ = true;
  // Not for ever: this thread may hold another lock, which the one that would end the pause wants.
  comes_true(ended_, std::chrono::milliseconds(50));
}

}  // namespace hashmatch::test

// What the linker calls operator new and new[].
extern "C" {
void* __real__Znwm(size_t size);
void* __wrap__Znwm(size_t size);
void* __real__Znam(size_t size);
void* __wrap__Znam(size_t size);
void* __real_mmap(void* at, size_t size, int protection, int flags, int fd, off_t offset);
void* __wrap_mmap(void* at, size_t size, int protection, int flags, int fd, off_t offset);
int __real_pthread_mutex_unlock(pthread_mutex_t* mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t* mutex);
}

void* __wrap__Znwm(size_t size) {
  if (hashmatch::test::memory_is_refused()) throw std::bad_alloc();
  return __real__Znwm(size);
}

void* __wrap__Znam(size_t size) {
  if (hashmatch::test::memory_is_refused()) throw std::bad_alloc();
  return __real__Znam(size);
}

void* __wrap_mmap(void* at, size_t size, int protection, int flags, int fd, off_t offset) {
  if (!hashmatch::test::memory_is_refused()) {
    return __real_mmap(at, size, protection, flags, fd, offset);
  }
  errno = ENOMEM;
  return MAP_FAILED;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t* mutex) {
  const int result = __real_pthread_mutex_unlock(mutex);
  if (auto* const pause = hashmatch::test::pause_now.load()) pause->unlocked();
  return result;
}
