#include "bindings/bindings.h"

PYBIND11_MODULE(_core, module) {
  hashmatch::bindings::bind_errors(module);
  hashmatch::bindings::bind_matches(module);
  hashmatch::bindings::bind_index(module);
  hashmatch::bindings::bind_tools(module);
}
