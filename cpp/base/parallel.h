// Sharing independent tasks among threads that live for one call: nothing survives a fork or
// outlives its work. A thread costs some 30 microseconds, so callers give it milliseconds.
#pragma once

#include <cstddef>
#include <functional>

namespace hashmatch {

// Processors this process may run on; 1 at least.
unsigned available_threads();

// 0 stands for all of them.
unsigned resolve_threads(unsigned threads);

// Runs task(index, worker) for each index below `count`, worker < threads, on up to `threads`
// threads including the caller's. The first exception thrown stops further tasks and is rethrown.
void parallel_for(size_t count, unsigned threads,
                  const std::function<void(size_t index, unsigned worker)>& task);

}  // namespace hashmatch
