// Folding: one segment is built of several parts while searches and changes go on, and put in their
// place. What is removed meanwhile is removed from the new segment before anyone sees it.
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <stop_token>
#include <unordered_set>

#include "base/parallel.h"
#include "index/builder.h"
#include "search/index.h"
#include "search/rows.h"

namespace hashmatch {
namespace {

// Scanning as many rows takes about as long as a search of a large segment.
constexpr uint64_t kFoldAt = 16384;
constexpr size_t kMostSegments = 5;
constexpr size_t kFreshChunk = 4096;

bool has_too_many_segments(const State& state) { return state.segments.size() > kMostSegments; }

bool fold_is_due(const State& state) {
  return state.chunk_rows() >= kFoldAt || has_too_many_segments(state);
}

// What a background fold takes: all chunks, and the segments that are not much larger than what is
// taken already, so that a row is folded a logarithmic number of times.
State fold_inputs(const State& state) {
  State inputs;
  inputs.bits = state.bits;
  inputs.chunks = state.chunks;
  uint64_t taken = state.chunk_rows();
  const bool too_many = has_too_many_segments(state);
  auto by_size = state.segments;
  std::ranges::sort(by_size, {}, [](const SegmentPart& part) { return part.live(); });
  for (const SegmentPart& part : by_size) {
    const bool forced = too_many && inputs.segments.size() < 2;
    if (part.live() > 2 * taken && !forced) break;
    inputs.segments.push_back(part);
    taken += part.live();
  }
  return inputs;
}

bool has_parts(const State& state) { return !state.segments.empty() || !state.chunks.empty(); }

// The last chunk may be empty, and is then still being added to.
State without_empty_chunks(State state) {
  std::erase_if(state.chunks, [](const ChunkPart& part) { return part.rows == 0; });
  return state;
}

// What `now` has removed since `then`, by id, of a part that both hold.
template <class Part, class IdOf>
void collect_removed(const Part& now, const Part& then, const IdOf& id_of,
                     std::vector<uint64_t>& ids) {
  if (now.removed == nullptr) return;
  now.removed->for_each_since(then.removed.get(),
                              [&](uint32_t number) { ids.push_back(id_of(number)); });
}

}  // namespace

std::shared_ptr<const Segment> Index::build(const State& inputs, unsigned threads) const {
  const FlatRows flat = flatten(inputs);
  return Segment::from_image(
      build_image({bits_, max_distance_, hash_type_, flat.codes.span(), flat.ids.span(), threads}));
}

// From now on rows are added to a chunk of their own, so that those of the state returned stay as
// they are.
StatePtr Index::close_chunks() {
  const std::scoped_lock lock(change_mutex_);
  auto next = successor();
  if (!next->chunks.empty() && next->chunks.back().rows > 0) {
    next->chunks.push_back({std::make_shared<Chunk>(kFreshChunk, words_of(bits_)), 0, nullptr});
    publish(next);
  }
  return next;
}

void Index::replace(const State& inputs, const std::shared_ptr<const Segment>& folded) {
  const std::scoped_lock lock(change_mutex_);
  auto next = successor();
  std::vector<uint64_t> removed_meanwhile;
  std::unordered_set<const Chunk*> folded_chunks;
  for (const SegmentPart& then : inputs.segments) {
    const auto now = std::ranges::find(next->segments, then.segment, &SegmentPart::segment);
    collect_removed(
        *now, then, [&](uint32_t entry) { return now->segment->id(entry); }, removed_meanwhile);
    next->segments.erase(now);
  }
  for (const ChunkPart& then : inputs.chunks) {
    const auto now = std::ranges::find(next->chunks, then.chunk, &ChunkPart::chunk);
    collect_removed(
        *now, then, [&](uint32_t row) { return now->chunk->ids[row]; }, removed_meanwhile);
    folded_chunks.insert(then.chunk.get());
    next->chunks.erase(now);
  }
  if (folded->entries() > 0) {
    SegmentPart part{folded, nullptr};
    if (!removed_meanwhile.empty()) {
      std::vector<uint32_t> entries;
      entries.reserve(removed_meanwhile.size());
      for (const uint64_t id : removed_meanwhile) {
        const auto entry = folded->find(id);
        if (!entry) folded->damaged("an id that was folded is missing");
        entries.push_back(*entry);
      }
      std::ranges::sort(entries);
      part.removed = Tombstones().with(entries);
    }
    next->segments.push_back(std::move(part));
  }
  const std::scoped_lock recent_lock(recent_mutex_);
  std::erase_if(recent_, [&](const auto& row) { return folded_chunks.contains(row.second.first); });
  publish(std::move(next));
}

void Index::compact(unsigned threads) {
  const std::scoped_lock lock(fold_mutex_);
  if (state()->is_one_clean_segment()) return;
  const State inputs = without_empty_chunks(*close_chunks());
  if (has_parts(inputs)) replace(inputs, build(inputs, threads));
}

// Called with change_mutex_ held, after a change. That has been made, whatever becomes of this.
void Index::fold_in_background() noexcept {
  if (!folds_ || !fold_is_due(*state())) return;
  if (background_process_ != getpid()) {  // the first fold, or a forked child's
    if (background_.joinable()) background_.detach();
    background_process_ = getpid();
    folding_ = false;
  }
  if (folding_) return;
  try {
    background_ = std::jthread([this](const std::stop_token& stop) { fold_while_due(stop); });
    folding_ = true;
  } catch (const std::exception&) {
    // No thread now, or no memory for one: a later change tries again.
  }
}

void Index::fold_while_due(const std::stop_token& stop) {
  try {
    while (folding_goes_on(stop)) fold_once();
  } catch (const std::exception&) {
    // Out of memory: the parts stay as they are, and a later change tries again.
    const std::scoped_lock lock(change_mutex_);
    folding_ = false;
  }
}

// Decides under the lock that changes hold: one that comes before is seen here, and one that comes
// after sees that folding has ended, and begins anew.
bool Index::folding_goes_on(const std::stop_token& stop) {
  const std::scoped_lock lock(change_mutex_);
  folding_ = !stop.stop_requested() && fold_is_due(*state());
  return folding_;
}

void Index::fold_once() {
  const std::scoped_lock lock(fold_mutex_);
  if (!fold_is_due(*state())) return;  // a compact() came first
  const State inputs = without_empty_chunks(fold_inputs(*close_chunks()));
  replace(inputs, build(inputs, 1));
}

}  // namespace hashmatch
