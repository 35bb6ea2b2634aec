#include "search/index.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/error.h"
#include "bindings/bindings.h"
#include "index/code.h"
#include "search/groups.h"

namespace hashmatch::bindings {
namespace {

// Fewer queries are over before anyone could press a key.
constexpr size_t kQuick = 64;

SearchOptions options_of(const State& state, size_t count, int max_distance, uint64_t limit,
                         unsigned threads, const py::object& progress) {
  if (max_distance < 0 || max_distance > static_cast<int>(state.bits)) {
    throw InvalidArgument("max_distance must be 0 to " + std::to_string(state.bits));
  }
  SearchOptions options{static_cast<uint32_t>(max_distance), limit, threads, {}};
  if (count > kQuick || !progress.is_none()) options.progress = progress_of<size_t>(progress);
  return options;
}

// What limits[i] allows from id from[i] on; see IdLimits. The arrays must outlive it.
IdLimits limits_of(const IdArray& from, const DistanceArray& limits) {
  const uint64_t* end = from.data() + from.size();
  if (from.size() != limits.size() ||
      std::adjacent_find(from.data(), end, std::greater_equal<>()) != end) {
    throw InvalidArgument("limits need ascending ids and one distance each");
  }
  const auto count = static_cast<size_t>(from.size());
  return {{from.data(), count}, {limits.data(), count}};
}

py::object search_state(const StatePtr& state, const ByteArray& codes, int max_distance,
                        uint64_t limit, unsigned threads, const py::object& progress,
                        const IdLimits& limits) {
  const auto rows = code_rows(codes, state->bits);
  const auto count = static_cast<size_t>(codes.shape(0));
  auto options = options_of(*state, count, max_distance, limit, threads, progress);
  options.limits = limits;
  Results results;
  {
    const py::gil_scoped_release unlocked;
    results = search(*state, rows.data(), count, options);
  }
  return wrap(std::move(results));
}

py::object search_index(const Index& index, const ByteArray& codes, int max_distance,
                        uint64_t limit, unsigned threads, const py::object& progress) {
  return search_state(index.state(), codes, max_distance, limit, threads, progress, {});
}

py::object nearest_in_index(const Index& index, const ByteArray& codes, uint64_t k,
                            int max_distance, unsigned threads, const py::object& progress) {
  if (k == 0) throw InvalidArgument("k must be 1 or more");
  const StatePtr state = index.state();
  const auto rows = code_rows(codes, index.bits());
  const auto count = static_cast<size_t>(codes.shape(0));
  const auto options = options_of(*state, count, max_distance, 0, threads, progress);
  Results results;
  {
    const py::gil_scoped_release unlocked;
    results = nearest(*state, rows.data(), count, k, options);
  }
  return wrap(std::move(results));
}

// One state of an index, whatever becomes of the index.
struct Snapshot {
  StatePtr state;
};

// See NearGroups. Whatever the arrays hold, nothing outside of them is read.
py::tuple near_groups_in(const Snapshot& snapshot, const ByteArray& codes, int max_distance,
                         unsigned threads, const IdArray& firsts, const IdArray& until,
                         const WeightArray& weights, uint64_t needed, bool others,
                         const std::optional<IdArray>& from,
                         const std::optional<DistanceArray>& most) {
  const State& state = *snapshot.state;
  const auto rows = code_rows(codes, state.bits);
  const auto count = static_cast<size_t>(codes.shape(0));
  auto options = options_of(state, count, max_distance, 0, threads, py::none());
  if (from && most) options.limits = limits_of(*from, *most);
  if (firsts.size() != until.size()) throw InvalidArgument("give one end a group");
  if (static_cast<size_t>(weights.size()) != count) throw InvalidArgument("give one weight a code");
  if (needed == 0) throw InvalidArgument("needed must be 1 or more");
  const GroupSearch wanted{
      {id_span(firsts), id_span(until)}, {weights.data(), count}, needed, others};
  NearGroups found;
  {
    const py::gil_scoped_release unlocked;
    found = near_groups(state, rows.data(), count, wanted, options);
  }
  return py::make_tuple(take(std::move(found.groups)), take(std::move(found.others)));
}

// A segment file that is open: indexes that are made of it share it.
struct OpenSegment {
  std::shared_ptr<const Segment> segment;
};

std::unique_ptr<Index> index_of(const std::vector<OpenSegment*>& opened, unsigned bits,
                                int max_distance, const std::string& hash_type,
                                const Index* before) {
  std::vector<std::shared_ptr<const Segment>> segments;
  segments.reserve(opened.size());
  for (const OpenSegment* one : opened) segments.push_back(one->segment);
  const py::gil_scoped_release unlocked;
  return Index::of(segments, bits, max_distance, hash_type, before);
}

void change(Index& index, const ByteArray& codes, const IdArray& ids, const IdArray& removed,
            unsigned threads) {
  const auto rows = code_rows(codes, index.bits());
  if (ids.size() != codes.shape(0)) throw InvalidArgument("give one id a code");
  const py::gil_scoped_release unlocked;
  index.change(rows, id_span(ids), id_span(removed), threads);
}

IdArray add(Index& index, const ByteArray& codes, const std::optional<IdArray>& ids,
            unsigned threads) {
  const auto rows = code_rows(codes, index.bits());
  const auto count = static_cast<size_t>(codes.shape(0));
  if (ids) {
    if (ids->ndim() != 1 || static_cast<size_t>(ids->size()) != count) {
      throw InvalidArgument(std::to_string(ids->size()) + " ids for " + std::to_string(count) +
                            " codes; give one id a code");
    }
    const py::gil_scoped_release unlocked;
    index.add(rows, id_span(*ids), threads);
    return *ids;
  }
  uint64_t first;
  {
    const py::gil_scoped_release unlocked;
    first = index.add(rows, threads);
  }
  IdArray made(static_cast<py::ssize_t>(count));
  for (size_t i = 0; i < count; ++i) made.mutable_data()[i] = first + i;
  return made;
}

ByteArray codes_of(const Index& index, const IdArray& ids) {
  ByteArray codes({ids.size(), static_cast<py::ssize_t>(code_bytes(index.bits()))});
  auto* out = reinterpret_cast<std::byte*>(codes.mutable_data());
  const auto wanted = id_span(ids);
  const py::gil_scoped_release unlocked;
  index.codes(wanted, out);
  return codes;
}

py::list layout(const Index& index) {
  py::list segments;
  const StatePtr state = index.state();
  for (const SegmentPart& part : state->segments) {
    py::list bands;
    for (const Band& band : part.segment->layout().bands) bands.append(band.width);
    py::dict segment;
    segment["rows"] = part.segment->entries();
    segment["distinct"] = part.segment->rows();
    segment["bands"] = bands.size();
    segment["band_bits"] = bands;
    segment["sketch_bits"] = part.segment->layout().sketch_bits;
    segment["size_bytes"] = part.segment->image().size();
    segments.append(segment);
  }
  return segments;
}

}  // namespace

void bind_index(py::module_& module) {
  using namespace py::literals;
  using Unlocked = py::call_guard<py::gil_scoped_release>;
  py::class_<Index>(module, "Index")
      .def(py::init<unsigned, int, std::string>(), "bits"_a, "max_distance"_a, "hash_type"_a)
      .def_static("open", &Index::open, "path"_a, "memory"_a, Unlocked())
      .def_static("of", &index_of, "segments"_a, "bits"_a, "max_distance"_a, "hash_type"_a,
                  py::arg("before").none(true))
      .def("save", &Index::save, "path"_a, "threads"_a, Unlocked())
      .def("snapshot", [](const Index& index) { return Snapshot{index.state()}; })
      .def("change", &change, py::arg("codes").noconvert(), py::arg("ids").noconvert(),
           py::arg("removed").noconvert(), "threads"_a)
      .def("add", &add, py::arg("codes").noconvert(), py::arg("ids").noconvert().none(true),
           "threads"_a)
      .def("search", &search_index, py::arg("codes").noconvert(), "max_distance"_a, "limit"_a,
           "threads"_a, "progress"_a)
      .def("nearest", &nearest_in_index, py::arg("codes").noconvert(), "k"_a, "max_distance"_a,
           "threads"_a, "progress"_a)
      .def(
          "remove",
          [](Index& index, const IdArray& ids) {
            const auto wanted = id_span(ids);
            const py::gil_scoped_release unlocked;
            index.remove(wanted);
          },
          py::arg("ids").noconvert())
      .def("compact", &Index::compact, "threads"_a, Unlocked())
      .def("contains", py::overload_cast<uint64_t>(&Index::contains, py::const_), "id"_a,
           Unlocked())
      .def(
          "contains_each",
          [](const Index& index, const IdArray& ids) {
            std::vector<uint8_t> held;
            {
              const auto wanted = id_span(ids);
              const py::gil_scoped_release unlocked;
              held = index.contains(wanted);
            }
            return take(std::move(held));
          },
          py::arg("ids").noconvert())
      .def("codes", &codes_of, py::arg("ids").noconvert())
      .def("ids",
           [](const Index& index) {
             std::vector<uint64_t> ids;
             {
               const py::gil_scoped_release unlocked;
               ids = index.ids();
             }
             return take(std::move(ids));
           })
      .def("layout", &layout)
      .def("__len__", &Index::size)
      .def_property_readonly("bits", &Index::bits)
      .def_property_readonly("hash_type", &Index::hash_type)
      .def_property_readonly("max_distance", &Index::max_distance)
      .def_property_readonly("size_bytes", &Index::size_bytes);

  py::class_<Snapshot>(module, "Snapshot")
      .def(
          "search",
          [](const Snapshot& snapshot, const ByteArray& codes, int max_distance, uint64_t limit,
             unsigned threads, const py::object& progress, const std::optional<IdArray>& from,
             const std::optional<DistanceArray>& most) {
            return search_state(snapshot.state, codes, max_distance, limit, threads, progress,
                                from && most ? limits_of(*from, *most) : IdLimits{});
          },
          py::arg("codes").noconvert(), "max_distance"_a, "limit"_a, "threads"_a, "progress"_a,
          py::arg("limits_from").noconvert().none(true), py::arg("limits").noconvert().none(true))
      .def("near_groups", &near_groups_in, py::arg("codes").noconvert(), "max_distance"_a,
           "threads"_a, py::arg("firsts").noconvert(), py::arg("until").noconvert(),
           py::arg("weights").noconvert(), "needed"_a, "others"_a,
           py::arg("limits_from").noconvert().none(true), py::arg("limits").noconvert().none(true))
      .def("__len__", [](const Snapshot& snapshot) { return snapshot.state->live(); });

  py::class_<OpenSegment>(module, "Segment")
      .def_static(
          "open",
          [](const std::string& path, bool memory) {
            return OpenSegment{Segment::open(path, memory)};
          },
          "path"_a, "memory"_a, Unlocked())
      .def(
          "check",
          [](const OpenSegment& opened, const py::object& progress) {
            const auto report = progress_of<uint64_t>(progress);
            const py::gil_scoped_release unlocked;
            opened.segment->check(report);
          },
          "progress"_a = py::none())
      .def("__len__", [](const OpenSegment& opened) { return opened.segment->entries(); })
      .def_property_readonly(
          "id_range",
          [](const OpenSegment& opened) -> std::optional<std::pair<uint64_t, uint64_t>> {
            if (opened.segment->entries() == 0) return std::nullopt;
            return opened.segment->id_range();
          })
      .def_property_readonly("bits",
                             [](const OpenSegment& opened) { return opened.segment->bits(); })
      .def_property_readonly("hash_type",
                             [](const OpenSegment& opened) {
                               return std::string(opened.segment->header().hash_type.data());
                             })
      .def_property_readonly(
          "size_bytes", [](const OpenSegment& opened) { return opened.segment->image().size(); });
}

}  // namespace hashmatch::bindings
