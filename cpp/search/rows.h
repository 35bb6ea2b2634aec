// The rows of a state laid out flat, as a build takes them.
#pragma once

#include <cstdint>

#include "base/memory.h"
#include "search/state.h"

namespace hashmatch {

struct FlatRows {
  HugeArray<std::byte> codes;  // bits / 8 bytes a row
  HugeArray<uint64_t> ids;
};

// Every row of `state` that is not removed.
FlatRows flatten(const State& state);

}  // namespace hashmatch
