#include "bindings/bindings.h"

namespace hashmatch::bindings {
namespace {

// A read-only view of a column; the results live as long as any view of them.
template <class T>
py::array view(const py::object& owner, const std::vector<T>& column) {
  py::array_t<T> array(static_cast<py::ssize_t>(column.size()), column.data(), owner);
  array.attr("flags").attr("writeable") = false;
  return array;
}

}  // namespace

py::object wrap(Results results) { return py::cast(std::move(results)); }

void bind_matches(py::module_& module) {
  py::class_<Results>(module, "Matches")
      .def_property_readonly("query", [](const Results& results) { return take(results.query()); })
      .def_property_readonly(
          "id", [](const py::object& self) { return view(self, self.cast<const Results&>().id); })
      .def_property_readonly(
          "distance",
          [](const py::object& self) { return view(self, self.cast<const Results&>().distance); })
      .def_property_readonly(
          "offsets",
          [](const py::object& self) { return view(self, self.cast<const Results&>().offsets); })
      .def("__len__", [](const Results& results) { return results.id.size(); });
}

}  // namespace hashmatch::bindings
