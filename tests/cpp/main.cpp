#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>

#include "kernel/kernel.h"

// ctest names every kernel there is, and takes this for "not on this machine".
constexpr int kSkipped = 77;

int main(int argc, char** argv) {
  const char* wanted = std::getenv("HASHMATCH_KERNEL");
  if (wanted != nullptr && hashmatch::kernel::find(wanted) == nullptr) {
    std::printf("skipped: this machine has no kernel %s\n", wanted);
    return kSkipped;
  }
  return doctest::Context(argc, argv).run();
}
