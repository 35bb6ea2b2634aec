// Errors, and the functions beside the index: kernels, the linear scan, hex, files.
#include <array>
#include <string>

#include "base/error.h"
#include "bindings/bindings.h"
#include "index/active_kernel.h"
#include "index/code.h"
#include "index/segment.h"
#include "search/distinct.h"

namespace hashmatch::bindings {
namespace {

py::object scan_arrays(const ByteArray& queries, const ByteArray& rows, int max_distance,
                       unsigned threads) {
  if (rows.ndim() != 2 || !width_supported(static_cast<unsigned>(rows.shape(1) * 8))) {
    throw InvalidArgument("rows must be uint8[n, 8 | 16 | 20 | 32]");
  }
  const auto bits = static_cast<unsigned>(rows.shape(1) * 8);
  const auto wanted = code_rows(queries, bits);
  const auto known = code_rows(rows, bits);
  if (max_distance < 0 || max_distance > static_cast<int>(bits)) {
    throw InvalidArgument("max_distance must be 0 to " + std::to_string(bits));
  }
  Results results;
  {
    const py::gil_scoped_release unlocked;
    results = scan(known, bits, wanted.data(), static_cast<size_t>(queries.shape(0)),
                   {static_cast<uint32_t>(max_distance), 0, threads, {}});
  }
  return wrap(std::move(results));
}

constexpr auto kDigits = [] {
  std::array<int8_t, 256> values{};
  values.fill(-1);
  for (size_t digit = 0; digit < 10; ++digit) values['0' + digit] = static_cast<int8_t>(digit);
  for (size_t digit = 10; digit < 16; ++digit) {
    values['a' + digit - 10] = static_cast<int8_t>(digit);
    values['A' + digit - 10] = static_cast<int8_t>(digit);
  }
  return values;
}();

[[noreturn]] void refuse_hex(size_t row, const std::string& why) {
  throw InvalidArgument("row " + std::to_string(row) + ": " + why);
}

void decode_row(std::string_view digits, size_t row, uint8_t* out) {
  for (size_t i = 0; i < digits.size(); i += 2) {
    const int high = kDigits[static_cast<uint8_t>(digits[i])];
    const int low = kDigits[static_cast<uint8_t>(digits[i + 1])];
    if ((high | low) < 0) {
      refuse_hex(row, "character " + std::to_string(high < 0 ? i : i + 1) + " is not a hex digit");
    }
    out[i / 2] = static_cast<uint8_t>(high << 4 | low);
  }
}

ByteArray decode_hex(const py::sequence& rows, size_t width) {
  const size_t count = rows.size();
  ByteArray codes({static_cast<py::ssize_t>(count), static_cast<py::ssize_t>(width)});
  uint8_t* out = codes.mutable_data();
  size_t row = 0;
  for (const py::handle text : rows) {
    if (PyUnicode_Check(text.ptr()) == 0) {
      throw py::type_error("row " + std::to_string(row) + ": not a str");
    }
    Py_ssize_t length = PyUnicode_GetLength(text.ptr());
    if (PyUnicode_IS_ASCII(text.ptr()) == 0) refuse_hex(row, "a character is not a hex digit");
    if (static_cast<size_t>(length) != 2 * width) {
      refuse_hex(row, "has " + std::to_string(length) + " characters, a code of " +
                          std::to_string(8 * width) + " bits has " + std::to_string(2 * width) +
                          " hex digits");
    }
    const auto* characters = reinterpret_cast<const char*>(PyUnicode_1BYTE_DATA(text.ptr()));
    decode_row({characters, 2 * width}, row++, out);
    out += width;
  }
  return codes;
}

py::tuple distinct_rows(const ByteArray& codes, const GroupArray& groups) {
  if (codes.ndim() != 2 || codes.shape(1) % 4 != 0 || groups.size() != codes.shape(0) ||
      codes.shape(0) >= INT32_MAX) {
    throw InvalidArgument("give codes of whole words, and one group for each");
  }
  const auto width = static_cast<size_t>(codes.shape(1));
  const std::span rows{reinterpret_cast<const std::byte*>(codes.data()),
                       static_cast<size_t>(codes.size())};
  Distinct found;
  {
    const py::gil_scoped_release unlocked;
    found = distinct(rows, width, {groups.data(), static_cast<size_t>(groups.size())});
  }
  return py::make_tuple(take(std::move(found.rows)), take(std::move(found.counts)));
}

py::dict inspect(const std::string& path) {
  std::shared_ptr<const Segment> segment;
  {
    const py::gil_scoped_release unlocked;
    segment = Segment::open(path, false);
  }
  const format::Header& header = segment->header();
  py::list bands;
  for (const Band& band : segment->layout().bands) bands.append(band.width);
  py::list sections;
  for (uint32_t i = 0; i < header.section_count; ++i) {
    const format::Section& from = header.sections[i];
    py::dict section;
    section["name"] = format::section_name(from.kind, from.band);
    section["offset"] = from.offset;
    section["size_bytes"] = from.size_bytes;
    section["crc32c"] = from.crc;
    sections.append(section);
  }
  py::dict out;
  out["version"] = header.version;
  out["bits"] = header.bits;
  out["hash_type"] = std::string(header.hash_type.data());
  out["max_distance"] = header.max_distance;
  out["rows"] = header.entries;
  out["distinct"] = header.distinct;
  out["bands"] = header.band_count;
  out["band_bits"] = bands;
  out["sketch_bits"] = header.sketch_bits;
  out["size_bytes"] = header.file_bytes;
  out["sections"] = sections;
  return out;
}

}  // namespace

std::span<const std::byte> code_rows(const ByteArray& codes, unsigned bits) {
  const auto width = static_cast<py::ssize_t>(code_bytes(bits));
  if (codes.ndim() != 2 || codes.shape(1) != width) {
    throw InvalidArgument("codes must be uint8[n, " + std::to_string(width) + "]");
  }
  return {reinterpret_cast<const std::byte*>(codes.data()), static_cast<size_t>(codes.nbytes())};
}

void bind_errors(py::module_& module) {
  static PyObject* const format_error =
      PyErr_NewException("hashmatch.FormatError", PyExc_ValueError, nullptr);
  module.attr("FormatError") = py::handle(format_error);
  // InvalidArgument is a std::invalid_argument, which is a ValueError already.
  // NOLINTNEXTLINE(performance-unnecessary-value-param): the signature is pybind11's
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const FormatError& error) {
      // A path need not be UTF-8.
      const auto text = py::reinterpret_steal<py::object>(PyUnicode_DecodeFSDefault(error.what()));
      PyErr_SetObject(format_error, text.ptr());
    } catch (const NotFound& error) {
      PyErr_SetString(PyExc_KeyError, error.what());
    } catch (const IoError& error) {
      errno = error.code().value();
      PyErr_SetFromErrnoWithFilename(PyExc_OSError, error.path().c_str());
    }
  });
}

void bind_tools(py::module_& module) {
  using namespace py::literals;
  module.def("kernels", [] {
    py::list names;
    for (const kernel::Kernel* usable : kernel::usable()) names.append(usable->name);
    return names;
  });
  module.def("kernel", [] { return active_kernel().name; });
  module.def("distinct", &distinct_rows, py::arg("codes").noconvert(),
             py::arg("groups").noconvert());
  module.def("scan", &scan_arrays, py::arg("queries").noconvert(), py::arg("rows").noconvert(),
             "max_distance"_a, "threads"_a);
  module.def("decode_hex", &decode_hex, "rows"_a, "width"_a);
  module.def("inspect", &inspect, "path"_a);
}

}  // namespace hashmatch::bindings
