// The kernel that every search uses: the fastest usable one, or the one HASHMATCH_KERNEL names.
#pragma once

#include "kernel/kernel.h"

namespace hashmatch {

// Chosen at the first call. Throws InvalidArgument if HASHMATCH_KERNEL names none that this machine
// can run, and then again at each call.
const kernel::Kernel& active_kernel();

}  // namespace hashmatch
