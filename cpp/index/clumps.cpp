#include "index/clumps.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "base/parallel.h"
#include "index/code.h"
#include "index/segment_search.h"

namespace hashmatch {
namespace {

constexpr size_t kMostClumps = 256;
constexpr uint32_t kSmallestClump = 512;
constexpr uint32_t kSampleStep = 16;
constexpr size_t kSeen = 64;  // codes of a bucket that are looked at

uint32_t distance(const uint64_t* a, const uint64_t* b, unsigned words) {
  int sum = 0;
  for (unsigned w = 0; w < words; ++w) sum += std::popcount(a[w] ^ b[w]);
  return static_cast<uint32_t>(sum);
}

// Rows this near a centre belong to its clump.
uint32_t reach(unsigned bits) { return bits / 8; }

class CentreFinder {
 public:
  CentreFinder(const Layout& layout, std::vector<uint64_t> sample)
      : layout_(layout),
        words_(words_of(layout.bits)),
        sample_(std::move(sample)),
        // The last code is room for reads past the end.
        count_(static_cast<uint32_t>(sample_.size() / words_ - 8)) {}

  std::vector<uint64_t> find() {
    for (const Bucket& bucket : heavy_buckets()) {
      if (centres_.size() == kMostClumps * words_) break;
      look_into(bucket);
    }
    return std::move(centres_);
  }

 private:
  struct Bucket {
    uint32_t size;
    uint32_t band;
    uint32_t value;
  };

  const uint64_t* code(uint32_t i) const { return sample_.data() + size_t{i} * words_; }

  // Buckets of the sample that hold far more than random codes would, fullest first.
  std::vector<Bucket> heavy_buckets() {
    constexpr size_t kMostBuckets = 8192;
    std::vector<Bucket> heavy;
    for (unsigned band = 0; band < layout_.band_count(); ++band) {
      const BandCutter cut(layout_, band);
      std::vector<uint32_t> sizes(size_t{1} << cut.width);
      for (uint32_t i = 0; i < count_; ++i) ++sizes[cut.value(code(i))];
      const double mean = std::ldexp(static_cast<double>(count_), -static_cast<int>(cut.width));
      const double enough = std::max(6 * mean, 12.0);
      for (uint32_t value = 0; value < sizes.size(); ++value) {
        if (sizes[value] > enough) heavy.push_back({sizes[value], band, value});
      }
    }
    std::ranges::sort(heavy, [](const Bucket& a, const Bucket& b) {
      return std::tie(b.size, a.band, a.value) < std::tie(a.size, b.band, b.value);
    });
    heavy.resize(std::min(heavy.size(), kMostBuckets));
    return heavy;
  }

  // Sample codes in a bucket, spread over it. Lists one band's buckets at a time.
  std::vector<const uint64_t*> codes_in(const Bucket& bucket) {
    if (order_.empty()) order_.resize(layout_.band_count());
    auto& order = order_[bucket.band];
    const BandCutter cut(layout_, bucket.band);
    if (order.empty()) {
      order.resize(count_);
      for (uint32_t i = 0; i < count_; ++i) order[i] = {cut.value(code(i)), i};
      std::ranges::sort(order);
    }
    const auto first = std::ranges::lower_bound(order, std::pair{bucket.value, uint32_t{0}});
    std::vector<const uint64_t*> codes;
    const uint32_t step = std::max<uint32_t>(1, bucket.size / kSeen);
    for (uint32_t i = 0; i < bucket.size; i += step) codes.push_back(code(first[i].second));
    return codes;
  }

  // A centre of those of the bucket's codes that are near its middle one.
  void look_into(const Bucket& bucket) {
    auto codes = codes_in(bucket);
    std::erase_if(codes, [&](const uint64_t* c) { return known(c); });
    for (int tries = 0; tries < 3 && codes.size() >= 8; ++tries) {
      const uint64_t* seed = codes[codes.size() / 2];
      std::vector<const uint64_t*> near;
      for (const uint64_t* c : codes) {
        if (distance(seed, c, words_) <= 2 * reach(layout_.bits)) near.push_back(c);
      }
      if (near.size() >= 8) {
        const std::vector<uint64_t> centre = middle_of(near);
        centres_.insert(centres_.end(), centre.begin(), centre.end());
        return;
      }
      std::erase(codes, seed);
    }
  }

  bool known(const uint64_t* c) const {
    for (size_t at = 0; at < centres_.size(); at += words_) {
      if (distance(centres_.data() + at, c, words_) <= reach(layout_.bits)) return true;
    }
    return false;
  }

  // The code with each bit as most of the codes have it.
  std::vector<uint64_t> middle_of(std::span<const uint64_t* const> codes) const {
    std::vector<uint64_t> middle(words_);
    for (unsigned bit = 0; bit < layout_.bits; ++bit) {
      size_t set = 0;
      for (const uint64_t* c : codes) set += c[bit / 64] >> (bit % 64) & 1;
      if (2 * set > codes.size()) middle[bit / 64] |= uint64_t{1} << (bit % 64);
    }
    return middle;
  }

  const Layout& layout_;
  const unsigned words_;
  const std::vector<uint64_t> sample_;
  const uint32_t count_;
  std::vector<std::vector<std::pair<uint32_t, uint32_t>>> order_;  // (value, code) by band
  std::vector<uint64_t> centres_;
};

// Each row's nearest centre in reach.
std::vector<uint16_t> nearest_centres(const Layout& layout, std::span<const uint64_t> centres,
                                      uint32_t rows,
                                      const std::function<void(uint32_t, uint64_t*)>& read,
                                      unsigned threads) {
  constexpr uint32_t kStep = 2048;
  const unsigned words = words_of(layout.bits);
  const size_t centre_count = centres.size() / words;
  std::vector<uint64_t> padded(centres.begin(), centres.end());
  padded.resize(padded.size() + kernel::kOverreadBytes / 8);
  std::vector<uint16_t> of_row(rows, kNoClump);
  std::vector<Scratch> scratch(resolve_threads(threads));
  parallel_for((rows + kStep - 1) / kStep, threads, [&](size_t task, unsigned worker) {
    const auto first = static_cast<uint32_t>(task) * kStep;
    const uint32_t count = std::min(kStep, rows - first);
    std::vector<uint64_t> codes(size_t{count} * words + kernel::kOverreadBytes / 8);
    for (uint32_t i = 0; i < count; ++i) read(first + i, codes.data() + size_t{i} * words);
    std::vector<kernel::Hit> hits;
    scan_rows(padded.data(), centre_count, 0, codes.data(), count, first, words, reach(layout.bits),
              scratch[worker], hits);
    std::ranges::sort(hits, [](const kernel::Hit& a, const kernel::Hit& b) {
      return std::tie(a.row, b.distance, b.query) < std::tie(b.row, a.distance, a.query);
    });
    // The nearest centre of a row comes last, and stays.
    for (const kernel::Hit& hit : hits) of_row[hit.row] = static_cast<uint16_t>(hit.query);
  });
  return of_row;
}

}  // namespace

ClumpPlan find_clumps(const Layout& layout, uint32_t rows,
                      const std::function<void(uint32_t, uint64_t*)>& read, unsigned threads) {
  ClumpPlan plan;
  if (layout.sketch_bits == 0 || rows < 16 * kSmallestClump) return plan;
  const unsigned words = words_of(layout.bits);
  // Small segments are looked at whole.
  const uint32_t step = rows < 1'000'000 ? 1 : kSampleStep;
  const uint32_t sampled = rows / step;
  std::vector<uint64_t> sample((size_t{sampled} + 8) * words);
  for (uint32_t i = 0; i < sampled; ++i) read(i * step, sample.data() + size_t{i} * words);
  const auto centres = CentreFinder(layout, std::move(sample)).find();
  if (centres.empty()) return plan;

  std::vector<uint16_t> of_row = nearest_centres(layout, centres, rows, read, threads);
  std::vector<uint32_t> sizes(centres.size() / words);
  for (const uint16_t centre : of_row) {
    if (centre != kNoClump) ++sizes[centre];
  }
  std::vector<uint16_t> renumbered(sizes.size(), kNoClump);
  for (size_t centre = 0; centre < sizes.size(); ++centre) {
    if (sizes[centre] < kSmallestClump) continue;
    renumbered[centre] = static_cast<uint16_t>(plan.count());
    plan.radius.push_back(0);
    plan.rows.push_back(sizes[centre]);
    const auto at = centres.begin() + static_cast<std::ptrdiff_t>(centre * words);
    plan.centres.insert(plan.centres.end(), at, at + words);
  }
  if (plan.count() == 0) return plan;
  plan.of_row = std::move(of_row);
  std::vector<uint64_t> code(words);
  for (uint32_t row = 0; row < rows; ++row) {
    uint16_t& clump = plan.of_row[row];
    if (clump == kNoClump) continue;
    clump = renumbered[clump];
    if (clump == kNoClump) continue;
    read(row, code.data());
    const uint32_t d = distance(code.data(), plan.centres.data() + size_t{clump} * words, words);
    plan.radius[clump] = std::max(plan.radius[clump], d);
  }
  return plan;
}

}  // namespace hashmatch
