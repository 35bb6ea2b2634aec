// Every kernel the machine can run, against the oracle. All arrays that a kernel may read past the
// end of stop kOverreadBytes before a page that must not be touched.
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "kernel/kernel.h"
#include "oracle.h"

using namespace hashmatch::kernel;
namespace oracle = hashmatch::oracle;

namespace {

template <class T>
class Guarded {
 public:
  explicit Guarded(size_t size) : size_(size) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t used = (size * sizeof(T) + kOverreadBytes + page - 1) / page * page;
    mapped_ = used + page;
    base_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(base_ != MAP_FAILED);
    char* const end = static_cast<char*>(base_) + used;
    REQUIRE(mprotect(end, page, PROT_NONE) == 0);
    first_ = reinterpret_cast<T*>(end - kOverreadBytes - size * sizeof(T));
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() { munmap(base_, mapped_); }

  T* begin() { return first_; }
  T* end() { return first_ + size_; }
  T& operator[](size_t i) { return first_[i]; }
  size_t size() const { return size_; }

 private:
  void* base_;
  size_t mapped_, size_;
  T* first_;
};

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  uint64_t operator()() { return engine_(); }
  uint32_t below(size_t n) { return static_cast<uint32_t>(engine_() % n); }

  template <class Range>
  void fill(Range& range) {
    for (auto& x : range) x = static_cast<std::decay_t<decltype(x)>>(engine_());
  }

  // Flips `count` different bits among the first `bits` of a code.
  void flip(uint64_t* code, unsigned bits, unsigned count) {
    std::vector<unsigned> order(bits);
    for (unsigned p = 0; p < bits; ++p) order[p] = p;
    std::shuffle(order.begin(), order.end(), engine_);
    for (unsigned i = 0; i < count; ++i) code[order[i] / 64] ^= uint64_t{1} << (order[i] % 64);
  }

 private:
  std::mt19937_64 engine_;
};

using Key = std::tuple<uint32_t, uint32_t, uint32_t>;

std::vector<Key> keys(const std::vector<Hit>& hits) {
  std::vector<Key> keys;
  for (const Hit& hit : hits) keys.emplace_back(hit.query, hit.row, hit.distance);
  return keys;
}

std::vector<Key> keys(const std::vector<Candidate>& candidates) {
  std::vector<Key> keys;
  for (const Candidate& c : candidates) keys.emplace_back(c.tag, c.posting, 0);
  return keys;
}

std::vector<Key> sorted(std::vector<Key> keys) {
  std::sort(keys.begin(), keys.end());
  return keys;
}

template <unsigned W>
void check_scan(size_t query_count, size_t row_count, unsigned bits) {
  CAPTURE(W);
  CAPTURE(query_count);
  CAPTURE(row_count);
  Random random(query_count * 10007 + row_count);
  Guarded<uint64_t> queries(query_count * W), rows(row_count * W);
  random.fill(queries);
  random.fill(rows);
  for (size_t w = 0; w < rows.size(); ++w) rows[w] = w % W < bits / 64 ? rows[w] : 0;
  for (size_t w = 0; w < queries.size(); ++w) queries[w] = w % W < bits / 64 ? queries[w] : 0;
  const uint32_t radii[] = {0, 5, 18, 19, 31, 36, 37, 53, 54, 100, 64 * W, ~uint32_t{0}};
  // A third of the rows lie on or just past one of the radii from some query.
  for (size_t row = 0; query_count != 0 && row < row_count; row += 1 + random.below(5)) {
    std::copy_n(&queries[random.below(query_count) * W], W, &rows[row * W]);
    const unsigned distance = radii[random.below(10)] + random.below(2);
    random.flip(&rows[row * W], bits, std::min(distance, bits));
  }
  std::vector<Hit> all;
  for (uint32_t q = 0; q < query_count; ++q) {
    for (uint32_t row = 0; row < row_count; ++row) {
      all.push_back({q, row, oracle::distance(&queries[q * W], &rows[row * W], 0, 64 * W)});
    }
  }
  for (const uint32_t radius : radii) {
    CAPTURE(radius);
    std::vector<Hit> expected;
    std::copy_if(all.begin(), all.end(), std::back_inserter(expected),
                 [&](const Hit& hit) { return hit.distance <= radius; });
    for (const Kernel* kernel : usable()) {
      CAPTURE(std::string(kernel->name));
      std::vector<Hit> hits(query_count * row_count);
      hits.resize(kernel->scan[width_class(W)](queries.begin(), query_count, rows.begin(),
                                               row_count, radius, hits.data()));
      CHECK(sorted(keys(hits)) == keys(expected));
    }
  }
}

bool passes(uint16_t posting, uint16_t sketch, uint32_t limit) {
  return oracle::distance(uint64_t{posting}, uint64_t{sketch}) <= limit;
}

// Selective, none, nearly none, all, and limits past what a signed 16-bit lane holds.
uint16_t random_limit(Random& random) {
  const uint16_t choices[] = {5, 0, static_cast<uint16_t>(random.below(8)), 15, 16, 40000, 65535};
  return choices[random.below(std::size(choices))];
}

void check_tile(size_t count, size_t run_count, uint32_t longest_run, Random& random) {
  CAPTURE(count);
  std::vector<Run> runs;
  uint32_t query_count = 0;
  for (size_t r = 0; r < run_count; ++r) {
    const uint32_t length = random.below(longest_run + 1);
    runs.push_back({query_count, length, random_limit(random)});
    query_count += length;
  }
  Guarded<uint16_t> bucket(count), sketches(query_count);
  random.fill(bucket);
  random.fill(sketches);
  std::vector<Candidate> expected;
  for (const Run& run : runs) {
    for (uint32_t q = run.begin; q < run.begin + run.count; ++q) {
      for (uint32_t k = 0; k < count; ++k) {
        if (passes(bucket[k], sketches[q], run.limit)) expected.push_back({q, k});
      }
    }
  }
  for (const Kernel* kernel : usable()) {
    CAPTURE(std::string(kernel->name));
    std::vector<Candidate> found(count * query_count);
    found.resize(kernel->tile(bucket.begin(), count, sketches.begin(), runs.data(), runs.size(),
                              found.data()));
    CHECK(sorted(keys(found)) == keys(expected));
  }
}

// Rows of which all are like the query, then none: a scan changes its way as it goes.
template <unsigned W>
void check_scan_of_clump(size_t like, size_t unlike) {
  CAPTURE(W);
  CAPTURE(like);
  Random random(like);
  Guarded<uint64_t> query(W), rows((like + unlike) * W);
  random.fill(query);
  random.fill(rows);
  std::vector<Hit> expected;
  constexpr uint32_t kRadius = 16;
  for (uint32_t row = 0; row < like + unlike; ++row) {
    uint64_t* code = &rows[row * W];
    if (row < like) {
      std::copy_n(query.begin(), W, code);
      random.flip(code, 64 * W, random.below(2 * kRadius));
    }
    const unsigned distance = oracle::distance(query.begin(), code, 0, 64 * W);
    if (distance <= kRadius) expected.push_back({0, row, distance});
  }
  for (const Kernel* kernel : usable()) {
    CAPTURE(std::string(kernel->name));
    std::vector<Hit> hits(like + unlike);
    hits.resize(kernel->scan[width_class(W)](query.begin(), 1, rows.begin(), like + unlike, kRadius,
                                             hits.data()));
    CHECK(keys(hits) == keys(expected));
  }
}

Chain make_chain(const std::vector<unsigned>& widths, Random& random, unsigned largest) {
  Chain chain{};
  unsigned at = 0;
  for (const unsigned width : widths) {
    chain.at[chain.bands] = static_cast<uint16_t>(at);
    chain.width[chain.bands] = static_cast<uint16_t>(width);
    chain.allowance[chain.bands++] = static_cast<uint16_t>(random.below(largest + 1));
    at += width;
  }
  return chain;
}

template <unsigned W>
void check_verify(const std::vector<unsigned>& widths, unsigned largest_allowance, Random& random) {
  CAPTURE(W);
  CAPTURE(widths.size());
  const Chain chain = make_chain(widths, random, largest_allowance);
  const uint32_t max_distance = random.below(40);
  constexpr uint32_t kQueries = 3, kRows = 40;
  Guarded<uint64_t> queries(kQueries * W), rows(kRows * W);
  random.fill(queries);
  random.fill(rows);
  for (uint32_t row = 0; row + 5 < kRows; ++row) {
    std::copy_n(&queries[row % kQueries * W], W, &rows[row * W]);
    random.flip(&rows[row * W], 64 * W, random.below(max_distance + 3));
  }
  std::vector<Pair> pairs;
  std::vector<Hit> expected;
  for (uint32_t q = 0; q < kQueries; ++q) {
    for (uint32_t row = 0; row < kRows; ++row) {
      const uint64_t *query = &queries[q * W], *code = &rows[row * W];
      const unsigned canonical = oracle::canonical_band(query, code, chain);
      const unsigned distance = oracle::distance(query, code, 0, 64 * W);
      for (uint32_t band = 0; band < chain.bands; ++band) pairs.push_back({q, row, band});
      if (distance <= max_distance) expected.push_back({q, row, distance});
      CHECK(canonical < chain.bands);
    }
  }
  for (const Kernel* kernel : usable()) {
    CAPTURE(std::string(kernel->name));
    std::vector<Hit> hits(pairs.size());
    const auto verify = kernel->verify[width_class(W)];
    hits.resize(verify(pairs.data(), pairs.size(), queries.begin(), rows.begin(), max_distance,
                       chain, hits.data()));
    CHECK(keys(hits) == keys(expected));

    // Each band on its own: the canonical one reports, no other does.
    for (const Pair& pair : pairs) {
      const uint64_t *query = &queries[pair.query * W], *code = &rows[pair.row * W];
      const size_t due = oracle::distance(query, code, 0, 64 * W) <= max_distance &&
                         oracle::canonical_band(query, code, chain) == pair.band;
      Hit hit;
      if (verify(&pair, 1, queries.begin(), rows.begin(), max_distance, chain, &hit) != due) {
        FAIL("band " << pair.band << " of row " << pair.row);
      }
    }
  }
}

std::vector<unsigned> random_widths(unsigned bits, unsigned bands, Random& random) {
  std::vector<unsigned> widths(bands, bits / bands);
  widths.back() += bits % bands;
  for (unsigned i = 0; i < 8 * bands; ++i) {
    unsigned &from = widths[random.below(bands)], &to = widths[random.below(bands)];
    if (from > 1 && to < 32) --from, ++to;
  }
  return widths;
}

}  // namespace

TEST_SUITE_BEGIN("kernel");

TEST_CASE("usable kernels can be found by name and end with portable") {
  const KernelList list = usable();
  REQUIRE(list.size() >= 1);
  for (const Kernel* kernel : list) CHECK(find(kernel->name) == kernel);
  CHECK(std::string(list.begin()[list.size() - 1]->name) == "portable");
  CHECK(find("abacus") == nullptr);
  CHECK(find("") == nullptr);
}

TEST_CASE_TEMPLATE("scan finds what the oracle finds", Width, std::integral_constant<unsigned, 1>,
                   std::integral_constant<unsigned, 2>, std::integral_constant<unsigned, 4>) {
  constexpr unsigned W = Width::value;
  for (const size_t query_count : {0u, 1u, 3u, 4u, 9u}) {
    for (const size_t row_count : {0u, 1u, 2u, 7u, 8u, 9u, 33u, 100u, 257u}) {
      check_scan<W>(query_count, row_count, 64 * W);
    }
  }
  check_scan<W>(64, 521, 64 * W);
  check_scan<W>(1, 2061, 64 * W);
  check_scan<W>(5, 2061, 64 * W);
}

TEST_CASE("scan of codes with unused words") { check_scan<4>(5, 300, 128); }

TEST_CASE("scan of many rows like the query") {
  for (const size_t like : {100u, 700u, 1000u}) {
    check_scan_of_clump<1>(like, 300);
    check_scan_of_clump<2>(like, 300);
    check_scan_of_clump<4>(like, 301);
  }
}

TEST_CASE("filter passes what the oracle passes, in order") {
  Random random(7);
  Guarded<uint16_t> sketches(5000);
  random.fill(sketches);
  for (const size_t probe_count : {0u, 1u, 11u, 12u, 13u, 300u}) {
    CAPTURE(probe_count);
    std::vector<Probe> probes;
    std::vector<Candidate> expected;
    size_t postings = 0;
    for (uint32_t p = 0; p < probe_count; ++p) {
      const uint16_t limit = random_limit(random);
      const uint32_t count = random.below(201);
      const uint32_t first = p % 3 == 0 ? 5000 - count : random.below(5000 - count);
      const auto sketch = static_cast<uint16_t>(random());
      probes.push_back({&sketches[first], 100000 + first, count, sketch, limit, p * 3});
      postings += count;
      for (uint32_t k = 0; k < count; ++k) {
        if (passes(sketches[first + k], sketch, limit)) {
          expected.push_back({p * 3, 100000 + first + k});
        }
      }
    }
    for (const Kernel* kernel : usable()) {
      CAPTURE(std::string(kernel->name));
      std::vector<Candidate> found(postings);
      found.resize(kernel->filter(probes.data(), probe_count, found.data()));
      CHECK(keys(found) == keys(expected));
    }
  }
}

TEST_CASE("tile passes what the oracle passes") {
  Random random(11);
  for (size_t count = 0; count < 210; ++count) check_tile(count, 17, 3, random);
  for (const size_t count : {1u, 40u, 250u, 1000u}) {
    check_tile(count, 0, 0, random);
    check_tile(count, 5, 0, random);
    check_tile(count, 3, 700, random);
    check_tile(count, 300, 5, random);
  }
}

TEST_CASE("within keeps what differs in no more bits than allowed") {
  Random random(19);
  for (const size_t count : {0u, 1u, 7u, 500u}) {
    std::vector<uint64_t> differences(count);
    std::vector<uint32_t> limits(count), expected;
    for (uint32_t i = 0; i < count; ++i) {
      differences[i] = random() & random();
      limits[i] = random.below(65);
      if (oracle::distance(differences[i], uint64_t{0}) <= limits[i]) expected.push_back(i);
    }
    for (const Kernel* kernel : usable()) {
      CAPTURE(std::string(kernel->name));
      std::vector<uint32_t> kept(count);
      kept.resize(kernel->within(differences.data(), limits.data(), count, kept.data()));
      CHECK(kept == expected);
    }
  }
}

TEST_CASE("verify reports every match once, by its canonical band") {
  Random random(13);
  for (int round = 0; round < 20; ++round) {
    for (const unsigned largest : {0u, 2u, 4u}) {
      check_verify<4>(std::vector<unsigned>(16, 16), largest, random);
      check_verify<4>(random_widths(256, 13, random), largest, random);
      check_verify<4>(std::vector<unsigned>(8, 32), largest, random);
      check_verify<4>(random_widths(256, kMaxBands, random), largest, random);
      check_verify<2>(random_widths(128, 7, random), largest, random);
      check_verify<2>(std::vector<unsigned>(8, 16), largest, random);
      check_verify<1>({22, 21, 21}, largest, random);
      check_verify<1>(std::vector<unsigned>(4, 16), largest, random);
      check_verify<1>(random_widths(64, 5, random), largest, random);
    }
  }
}

TEST_CASE("verify with one band: every match is canonical") {
  // Widths end at 32 bits, so a lone band covers the start of the code; distances still cover it
  // all.
  Random random(17);
  for (int round = 0; round < 20; ++round) {
    check_verify<1>({32}, 3, random);
    check_verify<4>({32}, 3, random);
  }
}

TEST_SUITE_END();
