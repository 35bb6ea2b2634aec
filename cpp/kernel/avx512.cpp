// AVX-512 with VPOPCNTDQ and BITALG: a popcount instruction for every lane width used here.
#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 sees the deliberately undefined operands in its own header (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include "algorithms.h"
#include "instruction_sets.h"

namespace hashmatch::kernel {
namespace {

struct Avx512 {
  struct Vector {
    using V = __m512i;
    static constexpr unsigned kBitStride = 1;
    static V load(const void* p) { return _mm512_loadu_si512(p); }
    static void store(void* p, V v) { _mm512_storeu_si512(p, v); }
    static V differ(V a, V b) { return _mm512_xor_si512(a, b); }
    static V either(V a, V b, V c) {
      return _mm512_ternarylogic_epi64(a, b, c, 0xf0 | (0xcc ^ 0xaa));
    }
    static bool any(unsigned mask) { return mask != 0; }
    static uint64_t bits(unsigned mask) { return mask; }
  };

  struct Words : Vector {
    static constexpr size_t kLanes = 8;
    static V splat(uint64_t x) { return _mm512_set1_epi64(static_cast<long long>(x)); }
    static V count(V v) { return _mm512_popcnt_epi64(v); }
    static V add(V a, V b) { return _mm512_add_epi64(a, b); }
    static V min(V a, V b) { return _mm512_min_epi32(a, b); }  // upper halves are zero
    static unsigned at_most(V a, V b) { return _mm512_cmple_epi64_mask(a, b); }
  };

  struct Sketches : Vector {
    static constexpr size_t kLanes = 32;
    static V splat(uint16_t x) { return _mm512_set1_epi16(static_cast<short>(x)); }
    static V count(V v) { return _mm512_popcnt_epi16(v); }
    static V min(V a, V b) { return _mm512_min_epi16(a, b); }
    static unsigned at_most(V a, V b) { return _mm512_cmple_epi16_mask(a, b); }
  };

  template <unsigned W, unsigned N>
  static void transpose(const uint64_t* rows, __m512i* words) {
    const __m512i a = Words::load(rows);
    if constexpr (W == 1) {
      words[0] = a;
      return;
    }
    const __m512i b = Words::load(rows + 8);
    if constexpr (W == 2) {
      words[0] = _mm512_permutex2var_epi64(a, _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), b);
      words[1] = _mm512_permutex2var_epi64(a, _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15), b);
    } else if constexpr (W == 4) {
      const __m512i c = Words::load(rows + 16);
      const __m512i d = Words::load(rows + 24);
      if constexpr (N == 2) {
        words[0] = gather_word(a, b, c, d, 0);
        words[1] = gather_word(a, b, c, d, 1);
      } else {
        // Two words of four rows, then one word of eight.
        const __m512i first = _mm512_setr_epi64(0, 4, 8, 12, 1, 5, 9, 13);
        const __m512i second = _mm512_setr_epi64(2, 6, 10, 14, 3, 7, 11, 15);
        const __m512i ab01 = _mm512_permutex2var_epi64(a, first, b);
        const __m512i cd01 = _mm512_permutex2var_epi64(c, first, d);
        const __m512i ab23 = _mm512_permutex2var_epi64(a, second, b);
        const __m512i cd23 = _mm512_permutex2var_epi64(c, second, d);
        words[0] = _mm512_shuffle_i64x2(ab01, cd01, 0x44);
        words[1] = _mm512_shuffle_i64x2(ab01, cd01, 0xee);
        words[2] = _mm512_shuffle_i64x2(ab23, cd23, 0x44);
        words[3] = _mm512_shuffle_i64x2(ab23, cd23, 0xee);
      }
    }
  }

  // Four vectors of two rows each. Their counts, 64 at most a word, are laid side by side in 16
  // bits each, so that two additions sum the words of all eight rows.
  template <unsigned W>
    requires(W == 4)
  static __m512i distances(const uint64_t* rows, const uint64_t* query) {
    const __m512i code =
        _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(query)));
    const auto count = [&](size_t pair) {
      return _mm512_popcnt_epi64(_mm512_xor_si512(Words::load(rows + 8 * pair), code));
    };
    const __m512i low = _mm512_or_si512(count(0), _mm512_slli_epi64(count(1), 16));
    const __m512i high = _mm512_or_si512(count(2), _mm512_slli_epi64(count(3), 16));
    __m512i sum = _mm512_or_si512(low, _mm512_slli_epi64(high, 32));
    sum = _mm512_add_epi64(sum, _mm512_permutex_epi64(sum, _MM_SHUFFLE(2, 3, 0, 1)));
    sum = _mm512_add_epi64(sum, _mm512_permutex_epi64(sum, _MM_SHUFFLE(1, 0, 3, 2)));
    // Row 2k is number k of the first half, row 2k + 1 that of the second.
    const __m512i place = _mm512_setr_epi64(0, 16, 1, 17, 2, 18, 3, 19);
    return _mm512_maskz_permutexvar_epi16(0x11111111, place, sum);
  }

  // Word w of eight rows of four words, two in each of a, b, c, d.
  static __m512i gather_word(__m512i a, __m512i b, __m512i c, __m512i d, int w) {
    const __m512i rows = _mm512_setr_epi64(w, w + 4, w + 8, w + 12, w, w + 4, w + 8, w + 12);
    const __m512i low = _mm512_permutex2var_epi64(a, rows, b);
    const __m512i high = _mm512_permutex2var_epi64(c, rows, d);
    return _mm512_mask_blend_epi64(0xf0, low, high);
  }

  static unsigned popcount(uint64_t x) { return static_cast<unsigned>(__builtin_popcountll(x)); }
};

}  // namespace

constinit const Kernel kAvx512 = Entry<Avx512>::kernel("avx512");

}  // namespace hashmatch::kernel
