#include "base/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace hashmatch {

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
  {
    std::vector<std::jthread> others;
    try {
      for (unsigned worker = 1; worker < workers; ++worker) others.emplace_back(work, worker);
    } catch (const std::exception&) {
      // No more threads now, or no memory for one: those that run share the work.
    }
    work(0);
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace hashmatch
