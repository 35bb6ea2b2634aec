#include "base/parallel.h"

#include <cxxabi.h>
#include <sched.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

namespace hashmatch {
namespace {

// What a thread that throws needs for it is set up when it begins, and where there is no memory for
// that, glibc ends the process. So there has to be room for it, and a stack of the usual size,
// before, and nothing else is done until it has begun.
constexpr size_t kThreadBytes = 12 << 20;

// Not by malloc, which would keep the room to itself.
void require_room_for_a_thread() {
  constexpr int kKind = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* const room = mmap(nullptr, kThreadBytes, PROT_READ | PROT_WRITE, kKind, -1, 0);
  if (room == MAP_FAILED) throw std::bad_alloc();
  munmap(room, kThreadBytes);
}

}  // namespace

unsigned available_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    return static_cast<unsigned>(std::max(1, CPU_COUNT(&set)));
  }
  return std::max(1U, std::thread::hardware_concurrency());
}

unsigned resolve_threads(unsigned threads) {
  return threads == 0 ? available_threads() : std::min(threads, 1024U);
}

void parallel_for(size_t count, unsigned threads,
                  const std::function<void(size_t index, unsigned worker)>& task) {
  const auto workers = static_cast<unsigned>(std::min<size_t>(resolve_threads(threads), count));
  if (workers <= 1) {
    for (size_t index = 0; index < count; ++index) task(index, 0);
    return;
  }
  std::atomic<size_t> next{0};
  std::atomic<unsigned> begun{0};
  std::exception_ptr failure;
  std::mutex failure_mutex;
  const auto work = [&](unsigned worker) {
    try {
      for (size_t index = next++; index < count; index = next++) task(index, worker);
    } catch (...) {
      next = count;
      const std::scoped_lock lock(failure_mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  const auto begin = [&](unsigned worker) {
    [[maybe_unused]] void* const volatile globals = abi::__cxa_get_globals();
    begun = worker;
    begun.notify_one();
    work(worker);
  };
  {
    std::vector<std::jthread> others;
    try {
      for (unsigned worker = 1; worker < workers; ++worker) {
        require_room_for_a_thread();
        others.emplace_back(begin, worker);
        begun.wait(worker - 1);
      }
    } catch (const std::exception&) {
      // No more threads now, or no memory for one: those that run share the work.
    }
    work(0);
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace hashmatch
