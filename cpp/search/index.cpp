#include "search/index.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "index/builder.h"
#include "index/code.h"
#include "search/rows.h"

namespace hashmatch {
namespace {

// From this many rows on, an add builds a segment of its own.
constexpr size_t kBuildAt = size_t{1} << 16;

constexpr size_t kSmallestChunk = 1024;
constexpr size_t kLargestChunk = size_t{1} << 20;

// The ids in ascending order, in `storage` if they were not.
std::span<const uint64_t> ascending(std::span<const uint64_t> ids, std::vector<uint64_t>& storage) {
  if (std::ranges::is_sorted(ids)) return ids;
  storage.assign(ids.begin(), ids.end());
  std::ranges::sort(storage);
  return storage;
}

// The first of the ascending ids that the part holds.
std::optional<uint64_t> first_held(const SegmentPart& part, std::span<const uint64_t> ids) {
  const Segment& segment = *part.segment;
  const uint32_t count = segment.entries();
  if (count == 0) return std::nullopt;
  const auto [least, largest] = segment.id_range();
  const auto from = std::ranges::lower_bound(ids, least);
  const auto to = std::ranges::upper_bound(ids, largest);
  const bool few = static_cast<uint64_t>(to - from) < count / 32;
  uint32_t rank = 0;
  for (auto id = from; id < to; ++id) {
    std::optional<uint32_t> entry;
    if (few) {
      entry = segment.find(*id);
    } else {  // both ascend: walk side by side
      while (rank < count && segment.id(segment.entry_by_id_rank(rank)) < *id) ++rank;
      if (rank == count) break;
      entry = segment.entry_by_id_rank(rank);
      if (segment.id(*entry) != *id) continue;
    }
    if (entry && part.holds(*entry)) return *id;
  }
  return std::nullopt;
}

}  // namespace

Index::Index(unsigned bits, int max_distance, std::string hash_type)
    : bits_(bits), max_distance_(max_distance), hash_type_(std::move(hash_type)) {
  if (!width_supported(bits)) {
    throw InvalidArgument("codes of " + std::to_string(bits) +
                          " bits are not supported; 64, 128, 160 and 256 are");
  }
  if (max_distance < -1 || max_distance > static_cast<int>(bits)) {
    throw InvalidArgument("max_distance must be 0 to " + std::to_string(bits));
  }
  if (hash_type_.size() > 15) throw InvalidArgument("a hash type's name has up to 15 bytes");
  auto empty = std::make_shared<State>();
  empty->bits = bits;
  state_ = std::move(empty);
}

Index::~Index() {
  // A thread does not survive a fork; what it left in the child can't be joined.
  if (background_.joinable() && background_process_ != getpid()) background_.detach();
}

std::unique_ptr<Index> Index::open(const std::string& path, bool memory) {
  const auto segment = Segment::open(path, memory);
  const format::Header& header = segment->header();
  auto index = std::make_unique<Index>(header.bits, header.max_distance, header.hash_type.data());
  if (segment->entries() > 0) {
    auto next = index->successor();
    next->segments.push_back({segment, nullptr});
    index->note_id(segment->id_range().second);
    index->publish(std::move(next));
  }
  return index;
}

std::unique_ptr<Index> Index::of(std::span<const std::shared_ptr<const Segment>> segments,
                                 unsigned bits, int max_distance, std::string hash_type,
                                 const Index* before) {
  auto index = std::make_unique<Index>(bits, max_distance, std::move(hash_type));
  index->folds_ = false;
  auto next = index->successor();
  const StatePtr then = before == nullptr ? std::make_shared<const State>() : before->state();
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const auto& segment : segments) {
    if (segment->bits() != bits) {
      throw InvalidArgument("a segment of " + std::to_string(segment->bits()) +
                            "-bit codes in an index of " + std::to_string(bits) + " bits");
    }
    if (segment->entries() == 0) continue;
    ranges.push_back(segment->id_range());
    index->note_id(ranges.back().second);
    const auto same = std::ranges::find(then->segments, segment, &SegmentPart::segment);
    next->segments.push_back({segment, same == then->segments.end() ? nullptr : same->removed});
  }
  std::ranges::sort(ranges);
  for (size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].first <= ranges[i - 1].second) {
      throw InvalidArgument("two segments may both hold id " + std::to_string(ranges[i].first));
    }
  }
  index->publish(std::move(next));
  return index;
}

void Index::save(const std::string& path, unsigned threads) const {
  const StatePtr now = state();
  const auto segment =
      now->is_one_clean_segment() ? now->segments[0].segment : build(*now, threads);
  publish_file(path, segment->image());
}

StatePtr Index::state() const {
  const std::scoped_lock lock(state_mutex_);
  return state_;
}

std::shared_ptr<State> Index::successor() const {
  auto next = std::make_shared<State>(*state());
  ++next->generation;
  return next;
}

void Index::publish(std::shared_ptr<State> next) {
  StatePtr old = std::move(next);
  const std::scoped_lock lock(state_mutex_);
  state_.swap(old);
}

void Index::require_new(std::span<const uint64_t> ids) const {
  std::vector<uint64_t> storage;
  const auto sorted = ascending(ids, storage);
  if (sorted.empty()) return;
  const auto refuse = [](uint64_t id, const char* why) {
    throw InvalidArgument("id " + std::to_string(id) + why + "; nothing was added");
  };
  if (const auto twice = std::ranges::adjacent_find(sorted); twice != sorted.end()) {
    refuse(*twice, " is given twice");
  }
  if (!ids_used_up_ && sorted.front() >= next_id_) return;
  for (const uint64_t id : ids) {
    if (recent_.contains(id)) refuse(id, " is in the index already");
  }
  for (const SegmentPart& part : state()->segments) {
    if (const auto held = first_held(part, sorted)) refuse(*held, " is in the index already");
  }
}

void Index::add(std::span<const std::byte> codes, std::span<const uint64_t> ids, unsigned threads) {
  change(codes, ids, {}, threads);
}

uint64_t Index::add(std::span<const std::byte> codes, unsigned threads) {
  const size_t count = codes.size() / code_bytes(bits_);
  const std::scoped_lock lock(change_mutex_);
  const uint64_t first = next_id_;
  if (count > 0 && (ids_used_up_ || count - 1 > UINT64_MAX - first)) {
    throw InvalidArgument("no consecutive ids are left below 2^64; give ids");
  }
  std::vector<uint64_t> ids(count);
  std::iota(ids.begin(), ids.end(), first);
  change_locked(codes, ids, {}, threads);
  return first;
}

void Index::remove(std::span<const uint64_t> ids) { change({}, {}, ids, 1); }

void Index::change(std::span<const std::byte> codes, std::span<const uint64_t> ids,
                   std::span<const uint64_t> removed, unsigned threads) {
  const std::scoped_lock lock(change_mutex_);
  require_new(ids);
  change_locked(codes, ids, removed, threads);
}

void Index::change_locked(std::span<const std::byte> codes, std::span<const uint64_t> ids,
                          std::span<const uint64_t> removed, unsigned threads) {
  if (ids.empty() && removed.empty()) return;
  auto next = successor();
  bury(*next, removed);
  const bool built = ids.size() >= kBuildAt;
  if (built) {
    next->segments.push_back(
        {Segment::from_image(build_image({bits_, max_distance_, hash_type_, codes, ids, threads})),
         nullptr});
  } else if (!ids.empty()) {
    append_rows(*next, codes, ids);
  }
  {
    const std::scoped_lock lock(recent_mutex_);
    if (!built && !ids.empty()) note_recent(next->chunks.back(), ids);
    for (const uint64_t id : removed) recent_.erase(id);
    publish(std::move(next));
  }
  if (!ids.empty()) note_id(*std::ranges::max_element(ids));
  fold_in_background();
}

void Index::note_id(uint64_t id) {
  if (id < next_id_) return;
  next_id_ = id + 1;
  if (id == UINT64_MAX) ids_used_up_ = true;
}

ChunkPart& Index::writable_chunk(State& state, size_t rows) const {
  if (!state.chunks.empty()) {
    ChunkPart& last = state.chunks.back();
    if (last.chunk->capacity - last.rows >= rows) return last;
    if (last.rows == 0) state.chunks.pop_back();  // folds take none that are empty
  }
  const size_t capacity =
      std::max(rows, std::clamp<size_t>(state.chunk_rows(), kSmallestChunk, kLargestChunk));
  state.chunks.push_back({std::make_shared<Chunk>(capacity, words_of(bits_)), 0, nullptr});
  return state.chunks.back();
}

void Index::append_rows(State& state, std::span<const std::byte> codes,
                        std::span<const uint64_t> ids) const {
  ChunkPart& part = writable_chunk(state, ids.size());
  Chunk& chunk = *part.chunk;
  widen(codes.data(), ids.size(), bits_, chunk.codes.data() + size_t{part.rows} * words_of(bits_));
  std::ranges::copy(ids, chunk.ids.data() + part.rows);
  part.rows += static_cast<uint32_t>(ids.size());
}

// The ids are those of the part's last rows.
void Index::note_recent(const ChunkPart& part, std::span<const uint64_t> ids) {
  auto row = part.rows - static_cast<uint32_t>(ids.size());
  try {
    for (const uint64_t id : ids) recent_[id] = {part.chunk.get(), row++};
  } catch (...) {  // out of memory: none of them is held
    for (const uint64_t id : ids) recent_.erase(id);
    throw;
  }
}

std::optional<Index::Place> Index::find(const State& state, uint64_t id) const {
  if (const auto recent = recent_.find(id); recent != recent_.end()) {
    const auto [chunk, row] = recent->second;
    for (size_t part = 0; part < state.chunks.size(); ++part) {
      if (state.chunks[part].chunk.get() == chunk) return Place{part, row, true};
    }
  }
  for (size_t part = 0; part < state.segments.size(); ++part) {
    const auto entry = state.segments[part].segment->find(id);
    if (entry && state.segments[part].holds(*entry)) return Place{part, *entry, false};
  }
  return std::nullopt;
}

Index::Place Index::find_or_throw(const State& state, uint64_t id) const {
  if (const auto place = find(state, id)) return *place;
  throw NotFound("id " + std::to_string(id) + " is not in the index");
}

void Index::bury(State& state, std::span<const uint64_t> ids) const {
  std::vector<std::vector<uint32_t>> from_segments(state.segments.size());
  std::vector<std::vector<uint32_t>> from_chunks(state.chunks.size());
  for (const uint64_t id : ids) {
    const Place place = find_or_throw(state, id);
    (place.in_chunk ? from_chunks : from_segments)[place.part].push_back(place.number);
  }
  static const Tombstones none;
  const auto remove = [](std::vector<uint32_t>& numbers,
                         std::shared_ptr<const Tombstones>& removed) {
    if (numbers.empty()) return;
    std::ranges::sort(numbers);
    if (std::ranges::adjacent_find(numbers) != numbers.end()) {
      throw NotFound("an id is given twice; nothing was removed");
    }
    removed = (removed == nullptr ? none : *removed).with(numbers);
  };
  for (size_t part = 0; part < from_segments.size(); ++part) {
    remove(from_segments[part], state.segments[part].removed);
  }
  for (size_t part = 0; part < from_chunks.size(); ++part) {
    remove(from_chunks[part], state.chunks[part].removed);
  }
}

bool Index::contains(uint64_t id) const {
  const std::shared_lock lock(recent_mutex_);
  return find(*state(), id).has_value();
}

std::vector<uint8_t> Index::contains(std::span<const uint64_t> ids) const {
  const std::shared_lock lock(recent_mutex_);
  const StatePtr now = state();
  std::vector<uint8_t> held;
  held.reserve(ids.size());
  for (const uint64_t id : ids) held.push_back(find(*now, id).has_value() ? 1 : 0);
  return held;
}

void Index::codes(std::span<const uint64_t> ids, std::byte* out) const {
  const std::shared_lock lock(recent_mutex_);
  const StatePtr now = state();
  const size_t size = code_bytes(bits_);
  for (const uint64_t id : ids) {
    const Place place = find_or_throw(*now, id);
    std::array<uint64_t, 4> code{};
    if (place.in_chunk) {
      const uint64_t* chunk = now->chunks[place.part].chunk->codes.data();
      std::copy_n(chunk + size_t{place.number} * words_of(bits_), words_of(bits_), code.data());
    } else {
      const Segment& segment = *now->segments[place.part].segment;
      segment.read_code(segment.row_of(place.number), code.data());
    }
    std::memcpy(out, code.data(), size);
    out += size;
  }
}

std::vector<uint64_t> Index::ids() const {
  const StatePtr now = state();
  std::vector<uint64_t> ids;
  ids.reserve(now->live());
  for (const SegmentPart& part : now->segments) {
    for (uint32_t rank = 0; rank < part.segment->entries(); ++rank) {
      const uint32_t entry = part.segment->entry_by_id_rank(rank);
      if (part.holds(entry)) ids.push_back(part.segment->id(entry));
    }
  }
  for (const ChunkPart& part : now->chunks) {
    for (uint32_t row = 0; row < part.rows; ++row) {
      if (part.holds(row)) ids.push_back(part.chunk->ids[row]);
    }
  }
  std::ranges::sort(ids);
  return ids;
}

uint64_t Index::size_bytes() const {
  const StatePtr now = state();
  uint64_t bytes = 0;
  for (const SegmentPart& part : now->segments) {
    bytes +=
        part.segment->image().size() + (part.removed == nullptr ? 0 : part.removed->size_bytes());
  }
  for (const ChunkPart& part : now->chunks) {
    constexpr uint64_t kRecentBytes = 48;  // a row's node in the map of recent ids
    bytes += part.rows * (words_of(bits_) * 8 + 8 + kRecentBytes) +
             (part.removed == nullptr ? 0 : part.removed->size_bytes());
  }
  return bytes;
}

}  // namespace hashmatch
