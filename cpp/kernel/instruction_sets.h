// The kernels this build contains, one per instruction set. Internal to kernel/: whether the
// machine can run one of them is dispatch.cpp's business.
#pragma once

#include "kernel.h"

namespace hashmatch::kernel {

extern const Kernel kPortable;
#if defined(__x86_64__)
extern const Kernel kAvx2;
extern const Kernel kAvx512;
#elif defined(__aarch64__)
extern const Kernel kNeon;
#endif

}  // namespace hashmatch::kernel
