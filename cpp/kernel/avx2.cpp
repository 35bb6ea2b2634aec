// AVX2: no popcount of lanes, so bytes are counted by looking their halves up, then summed.
#include <immintrin.h>

#include "algorithms.h"
#include "instruction_sets.h"

namespace hashmatch::kernel {
namespace {

struct Avx2 {
  struct Vector {
    using V = __m256i;
    static V load(const void* p) { return _mm256_loadu_si256(static_cast<const V*>(p)); }
    static void store(void* p, V v) { _mm256_storeu_si256(static_cast<V*>(p), v); }
    static V differ(V a, V b) { return _mm256_xor_si256(a, b); }
    static V either(V a, V b, V c) { return _mm256_or_si256(a, _mm256_xor_si256(b, c)); }
    static bool any(V mask) { return _mm256_testz_si256(mask, mask) == 0; }

    static V count_bytes(V v) {
      const V counts = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                                        0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
      const V half = _mm256_set1_epi8(15);
      const V low = _mm256_shuffle_epi8(counts, _mm256_and_si256(v, half));
      const V high = _mm256_shuffle_epi8(counts, _mm256_and_si256(_mm256_srli_epi16(v, 4), half));
      return _mm256_add_epi8(low, high);
    }
  };

  struct Words : Vector {
    static constexpr size_t kLanes = 4;
    static constexpr unsigned kBitStride = 1;
    static V splat(uint64_t x) { return _mm256_set1_epi64x(static_cast<long long>(x)); }
    static V count(V v) { return _mm256_sad_epu8(count_bytes(v), _mm256_setzero_si256()); }
    static V add(V a, V b) { return _mm256_add_epi64(a, b); }
    static V min(V a, V b) { return _mm256_min_epi32(a, b); }  // upper halves are zero
    static V at_most(V a, V b) { return _mm256_cmpeq_epi64(min(a, b), a); }
    static uint64_t bits(V mask) {
      return static_cast<uint64_t>(_mm256_movemask_pd(_mm256_castsi256_pd(mask)));
    }
  };

  struct Sketches : Vector {
    static constexpr size_t kLanes = 16;
    static constexpr unsigned kBitStride = 2;
    static V splat(uint16_t x) { return _mm256_set1_epi16(static_cast<short>(x)); }
    static V count(V v) { return _mm256_maddubs_epi16(count_bytes(v), _mm256_set1_epi8(1)); }
    static V min(V a, V b) { return _mm256_min_epi16(a, b); }
    static V at_most(V a, V b) { return _mm256_cmpeq_epi16(min(a, b), a); }
    static uint64_t bits(V mask) {
      return static_cast<uint32_t>(_mm256_movemask_epi8(mask)) & 0x55555555;
    }
  };

  // Two words of each of four rows that lie `stride` words apart.
  static void transpose_pairs(const uint64_t* rows, size_t stride, __m256i* words) {
    const auto load = [](const uint64_t* p) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    };
    const __m256i even = _mm256_setr_m128i(load(rows), load(rows + 2 * stride));
    const __m256i odd = _mm256_setr_m128i(load(rows + stride), load(rows + 3 * stride));
    words[0] = _mm256_unpacklo_epi64(even, odd);
    words[1] = _mm256_unpackhi_epi64(even, odd);
  }

  template <unsigned W, unsigned N>
  static void transpose(const uint64_t* rows, __m256i* words) {
    if constexpr (W == 1) {
      words[0] = Words::load(rows);
    } else {
      for (unsigned w = 0; w < N; w += 2) transpose_pairs(rows + w, W, words + w);
    }
  }

  static unsigned popcount(uint64_t x) { return static_cast<unsigned>(__builtin_popcountll(x)); }
};

}  // namespace

constinit const Kernel kAvx2 = Entry<Avx2>::kernel("avx2");

}  // namespace hashmatch::kernel
