// The removed entries of one segment or chunk. Immutable: a removal makes a new set that shares all
// pages but those it touches, so that a search keeps the set it began with.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace hashmatch {

class Tombstones {
 public:
  bool contains(uint32_t entry) const {
    const size_t page = entry / kPageBits;
    if (page >= pages_.size() || pages_[page] == nullptr) return false;
    const uint32_t bit = entry % kPageBits;
    return ((*pages_[page])[bit / 64] >> (bit % 64) & 1) != 0;
  }

  uint64_t count() const { return count_; }

  uint64_t size_bytes() const {
    uint64_t bytes = pages_.size() * sizeof(pages_[0]);
    for (const auto& page : pages_) bytes += page == nullptr ? 0 : sizeof(Page);
    return bytes;
  }

  // With these entries too; none of them is removed already.
  std::shared_ptr<const Tombstones> with(std::span<const uint32_t> entries) const {
    auto made = std::make_shared<Tombstones>(*this);
    std::shared_ptr<Page> page;  // the copy being written
    size_t number = SIZE_MAX;
    for (const uint32_t entry : entries) {
      if (entry / kPageBits != number) {
        number = entry / kPageBits;
        if (number >= made->pages_.size()) made->pages_.resize(number + 1);
        const auto& old = made->pages_[number];
        page = old == nullptr ? std::make_shared<Page>() : std::make_shared<Page>(*old);
        made->pages_[number] = page;
      }
      const uint32_t bit = entry % kPageBits;
      (*page)[bit / 64] |= uint64_t{1} << (bit % 64);
    }
    made->count_ += entries.size();
    return made;
  }

  // Calls visit(entry) for each entry removed here but not in `older`, of which this set came.
  template <class Visit>
  void for_each_since(const Tombstones* older, const Visit& visit) const {
    for (size_t number = 0; number < pages_.size(); ++number) {
      const Page* page = pages_[number].get();
      const Page* before =
          older != nullptr && number < older->pages_.size() ? older->pages_[number].get() : nullptr;
      if (page == before) continue;
      for (size_t word = 0; word < page->size(); ++word) {
        uint64_t fresh = (*page)[word] & ~(before == nullptr ? 0 : (*before)[word]);
        for (; fresh != 0; fresh &= fresh - 1) {
          visit(static_cast<uint32_t>(number * kPageBits + word * 64 +
                                      static_cast<size_t>(std::countr_zero(fresh))));
        }
      }
    }
  }

 private:
  static constexpr uint32_t kPageBits = 1 << 15;
  using Page = std::array<uint64_t, kPageBits / 64>;

  std::vector<std::shared_ptr<const Page>> pages_;  // null: nothing removed
  uint64_t count_ = 0;
};

}  // namespace hashmatch
