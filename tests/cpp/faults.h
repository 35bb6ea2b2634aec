// Failures and delays on demand, for what is linked with the options of hashmatch_fault_tests: the
// functions that they name are called by way of those in faults.cpp. Other libraries' own calls are
// not.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstddef>
#include <thread>

namespace hashmatch::test {

// While one lives, requests for memory, by operator new or mmap, are counted over all threads.
// One of them fails, or all from there on.
class MemoryFault {
 public:
  enum class Kind { kOnce, kFromThenOn };
  MemoryFault(size_t request, Kind kind);  // the first is 1
  ~MemoryFault();
  MemoryFault(const MemoryFault&) = delete;
  MemoryFault& operator=(const MemoryFault&) = delete;

  bool happened() const;
};

// While one lives no thread can be started: each is to have a stack larger than any memory.
class NoThreads {
 public:
  NoThreads();
  ~NoThreads();
  NoThreads(const NoThreads&) = delete;
  NoThreads& operator=(const NoThreads&) = delete;

 private:
  pthread_attr_t before_;
};

// Halts the first other thread to get there once threads other than this object's have unlocked a
// mutex so many times.
class Pause {
 public:
  explicit Pause(size_t unlocks);
  ~Pause();
  Pause(const Pause&) = delete;
  Pause& operator=(const Pause&) = delete;

  bool wait_until_reached() const;  // false: nothing got there within a second
  void end() { ended_ = true; }

  void unlocked();  // by pthread_mutex_unlock

 private:
  const size_t at_;
  const std::thread::id owner_ = std::this_thread::get_id();
  std::atomic<size_t> unlocks_{0};
  std::atomic<bool> reached_{false};
  std::atomic<bool> ended_{false};
};

}  // namespace hashmatch::test
