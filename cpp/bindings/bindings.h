// What the binding files share. A binding checks its arrays, takes raw pointers, releases the GIL,
// calls, takes it back and wraps: nothing else. Releasing it is safe, because the arrays are held
// by the caller's frame and the core touches no Python object.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "search/search.h"

namespace hashmatch::bindings {

namespace py = pybind11;

using ByteArray = py::array_t<uint8_t, py::array::c_style>;
using IdArray = py::array_t<uint64_t, py::array::c_style>;
using GroupArray = py::array_t<int64_t, py::array::c_style>;
using WeightArray = py::array_t<uint32_t, py::array::c_style>;
using DistanceArray = py::array_t<int16_t, py::array::c_style>;

void bind_errors(py::module_& module);
void bind_matches(py::module_& module);
void bind_index(py::module_& module);
void bind_tools(py::module_& module);

// The bytes of uint8[n, bits / 8]. Throws InvalidArgument on another shape.
std::span<const std::byte> code_rows(const ByteArray& codes, unsigned bits);

inline std::span<const uint64_t> id_span(const IdArray& ids) {
  return {ids.data(), static_cast<size_t>(ids.size())};
}

// An array that takes the vector's memory over.
template <class T>
py::array_t<T> take(std::vector<T> values) {
  auto held = std::make_unique<std::vector<T>>(std::move(values));
  const auto size = static_cast<py::ssize_t>(held->size());
  T* data = held->data();
  py::capsule owner(held.release(), [](void* p) { delete static_cast<std::vector<T>*>(p); });
  py::array_t<T> array(size, data, owner);
  array.attr("flags").attr("writeable") = false;
  return array;
}

// A progress function for the core: takes the GIL, lets signals through, and calls `callback`
// unless it is None.
template <class Count>
std::function<void(Count, Count)> progress_of(py::object callback) {
  return [callback = std::move(callback)](Count done, Count total) {
    const py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (!callback.is_none()) callback(done, total);
  };
}

py::object wrap(Results results);

}  // namespace hashmatch::bindings
