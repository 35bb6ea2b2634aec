// Which of the kernels in this build the machine can run. The processor must have the instructions
// and the operating system must save the registers they use.
#include "instruction_sets.h"

#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace hashmatch::kernel {
namespace {

constexpr size_t kMaxKernels = 3;

#if defined(__x86_64__)

struct Cpuid {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  explicit Cpuid(unsigned leaf) { __get_cpuid_count(leaf, 0, &eax, &ebx, &ecx, &edx); }
};

bool has(unsigned flags, unsigned wanted) { return (flags & wanted) == wanted; }

// The register sets that the operating system saves (XCR0).
unsigned saved_registers() {
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

struct Machine {
  bool avx2 = false, avx512 = false;

  Machine() {
    constexpr unsigned kPopcnt = 1u << 23, kOsxsave = 1u << 27, kAvx = 1u << 28;  // leaf 1, ecx
    constexpr unsigned kLzcnt = 1u << 5;  // leaf 0x80000001, ecx
    constexpr unsigned kBmi1 = 1u << 3, kAvx2Bit = 1u << 5, kBmi2 = 1u << 8;  // leaf 7, ebx
    constexpr unsigned kAvx512F = 1u << 16, kDq = 1u << 17, kBw = 1u << 30, kVl = 1u << 31;
    constexpr unsigned kBitalg = 1u << 12, kVpopcntdq = 1u << 14;  // leaf 7, ecx
    constexpr unsigned kYmmSaved = 0x06, kZmmSaved = 0xe6;

    const Cpuid basic(1), extended(7);
    if (!has(basic.ecx, kPopcnt | kOsxsave | kAvx)) return;
    const unsigned saved = saved_registers();
    avx2 = has(saved, kYmmSaved) && has(extended.ebx, kBmi1 | kAvx2Bit | kBmi2) &&
           has(Cpuid(0x80000001).ecx, kLzcnt);
    avx512 = avx2 && has(saved, kZmmSaved) && has(extended.ebx, kAvx512F | kDq | kBw | kVl) &&
             has(extended.ecx, kBitalg | kVpopcntdq);
  }
};

#endif

struct Usable {
  const Kernel* kernels[kMaxKernels];
  size_t size = 0;

  Usable() {
#if defined(__x86_64__)
    const Machine machine;
    if (machine.avx512) kernels[size++] = &kAvx512;
    if (machine.avx2) kernels[size++] = &kAvx2;
#elif defined(__aarch64__)
    kernels[size++] = &kNeon;
#endif
    kernels[size++] = &kPortable;
  }
};

}  // namespace

KernelList usable() {
  static const Usable list;
  return {list.kernels, list.size};
}

const Kernel* find(const char* name) {
  for (const Kernel* kernel : usable()) {
    if (std::strcmp(kernel->name, name) == 0) return kernel;
  }
  return nullptr;
}

}  // namespace hashmatch::kernel
