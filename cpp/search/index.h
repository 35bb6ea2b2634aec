// An index that changes while it is searched: segments, chunks of rows added lately, and
// tombstones.
//
// Every change publishes a new State; a search pins the one it finds and never waits for a change.
// Changes are made one at a time. Chunks are searched by scanning; once they hold many rows a
// background thread folds them, and segments of like size, into larger segments.
// All methods may be called from any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "search/search.h"
#include "search/state.h"

namespace hashmatch {

class Index {
 public:
  // `bits` is 64, 128, 160 or 256; `max_distance` -1 or up to bits; `hash_type` up to 15 bytes.
  Index(unsigned bits, int max_distance, std::string hash_type);
  ~Index();
  Index(const Index&) = delete;
  Index& operator=(const Index&) = delete;

  static std::unique_ptr<Index> open(const std::string& path, bool memory);

  // An index of segments that are there already, which it never folds by itself: whoever made the
  // segments decides when they become one. What `before`, if given, has removed from one of them is
  // removed here too. Throws InvalidArgument if their widths differ from `bits`, or if the ranges
  // of their ids overlap.
  static std::unique_ptr<Index> of(std::span<const std::shared_ptr<const Segment>> segments,
                                   unsigned bits, int max_distance, std::string hash_type,
                                   const Index* before = nullptr);

  // Writes one segment file that holds what the index holds now. Changes nothing here.
  void save(const std::string& path, unsigned threads = 0) const;

  // Rows of bits / 8 bytes, each under its id. Throws InvalidArgument on a repeated id; nothing is
  // added then.
  void add(std::span<const std::byte> codes, std::span<const uint64_t> ids, unsigned threads);

  // The same with consecutive ids, past all that were ever held. Returns the first.
  uint64_t add(std::span<const std::byte> codes, unsigned threads);

  // Throws NotFound on an id that is not held or is given twice; nothing is removed then.
  void remove(std::span<const uint64_t> ids);

  // Adds and removes in one step, of which a search sees all or nothing. What is removed must be
  // held before. Throws as add and remove do; nothing is changed then.
  void change(std::span<const std::byte> codes, std::span<const uint64_t> ids,
              std::span<const uint64_t> removed, unsigned threads);

  // Folds everything into one segment. Searches and changes go on meanwhile.
  void compact(unsigned threads);

  bool contains(uint64_t id) const;
  // Whether each id is held, one byte each.
  std::vector<uint8_t> contains(std::span<const uint64_t> ids) const;
  // Copies the code of each id, bits / 8 bytes each. Throws NotFound.
  void codes(std::span<const uint64_t> ids, std::byte* out) const;
  std::vector<uint64_t> ids() const;  // ascending

  StatePtr state() const;

  unsigned bits() const { return bits_; }
  int max_distance() const { return max_distance_; }
  const std::string& hash_type() const { return hash_type_; }
  uint64_t size() const { return state()->live(); }
  uint64_t size_bytes() const;

 private:
  struct Place {
    size_t part;      // in segments, or in chunks
    uint32_t number;  // entry, or row
    bool in_chunk;
  };
  using Recent = std::unordered_map<uint64_t, std::pair<const Chunk*, uint32_t>>;

  std::shared_ptr<State> successor() const;
  void publish(std::shared_ptr<State> next);
  std::optional<Place> find(const State& state, uint64_t id) const;
  Place find_or_throw(const State& state, uint64_t id) const;
  void require_new(std::span<const uint64_t> ids) const;
  void change_locked(std::span<const std::byte> codes, std::span<const uint64_t> ids,
                     std::span<const uint64_t> removed, unsigned threads);
  void note_id(uint64_t id);
  void bury(State& state, std::span<const uint64_t> ids) const;
  void append_rows(State& state, std::span<const std::byte> codes,
                   std::span<const uint64_t> ids) const;
  void note_recent(const ChunkPart& part, std::span<const uint64_t> ids);
  ChunkPart& writable_chunk(State& state, size_t rows) const;

  StatePtr close_chunks();
  std::shared_ptr<const Segment> build(const State& inputs, unsigned threads) const;
  void replace(const State& inputs, const std::shared_ptr<const Segment>& folded);
  void fold_in_background() noexcept;
  void fold_while_due(const std::stop_token& stop);
  bool folding_goes_on(const std::stop_token& stop);
  void fold_once();

  const unsigned bits_;
  const int max_distance_;
  const std::string hash_type_;

  // Locks, in the order in which they are taken.
  std::mutex fold_mutex_;                   // a whole fold
  std::mutex change_mutex_;                 // a whole change; guards all below but state_, recent_
  mutable std::shared_mutex recent_mutex_;  // recent_, and its being in step with state_
  mutable std::mutex state_mutex_;          // a pointer's copy

  StatePtr state_;
  Recent recent_;         // rows of chunks by id
  uint64_t next_id_ = 0;  // exceeds every id ever held, unless they are used up
  bool ids_used_up_ = false;
  bool folds_ = true;     // by itself
  bool folding_ = false;  // background_ will look for more to fold before it ends
  pid_t background_process_ = 0;
  std::jthread background_;
};

}  // namespace hashmatch
