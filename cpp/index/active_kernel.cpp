#include "index/active_kernel.h"

#include <cstdlib>
#include <string>

#include "base/error.h"

namespace hashmatch {
namespace {

const kernel::Kernel& choose() {
  const char* name = std::getenv("HASHMATCH_KERNEL");
  if (name == nullptr || *name == '\0') return **kernel::usable().begin();
  if (const kernel::Kernel* found = kernel::find(name)) return *found;
  std::string names;
  for (const kernel::Kernel* usable : kernel::usable()) {
    names += (names.empty() ? "" : ", ") + std::string(usable->name);
  }
  throw InvalidArgument("HASHMATCH_KERNEL=" + std::string(name) +
                        " is not a kernel this machine can run; set it to one of: " + names);
}

}  // namespace

const kernel::Kernel& active_kernel() {
  static const kernel::Kernel& chosen = choose();
  return chosen;
}

}  // namespace hashmatch
