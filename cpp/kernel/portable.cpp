// Any machine: 128-bit vectors by the compiler's own means, popcounts by arithmetic on bit fields.
#include "algorithms.h"
#include "instruction_sets.h"

namespace hashmatch::kernel {
namespace {

struct Portable {
  // T is the lane; S the signed type of the same width, of which comparisons are made.
  template <class T, class S>
  struct Vector {
    typedef T V __attribute__((vector_size(16)));
    typedef S Signed __attribute__((vector_size(16)));
    typedef uint64_t Halves __attribute__((vector_size(16)));

    static constexpr size_t kLanes = 16 / sizeof(T);
    static constexpr unsigned kBitStride = 1;

    static V load(const void* p) {
      V v;
      __builtin_memcpy(&v, p, 16);
      return v;
    }
    static void store(void* p, V v) { __builtin_memcpy(p, &v, 16); }
    static V splat(T x) { return V{} + x; }
    static V differ(V a, V b) { return a ^ b; }
    static V either(V a, V b, V c) { return a | (b ^ c); }
    static V add(V a, V b) { return a + b; }
    static V min(V a, V b) { return select(reinterpret_cast<V>(at_most(a, b)), a, b); }
    static V select(V mask, V a, V b) { return (a & mask) | (b & ~mask); }

    static Signed at_most(V a, V b) {
      return reinterpret_cast<Signed>(reinterpret_cast<Signed>(a) <= reinterpret_cast<Signed>(b));
    }
    static bool any(Signed mask) {
      const auto halves = reinterpret_cast<Halves>(mask);
      return (halves[0] | halves[1]) != 0;
    }
    static uint64_t bits(Signed mask) {
      uint64_t bits = 0;
      for (size_t k = 0; k < kLanes; ++k) bits |= static_cast<uint64_t>(mask[k] & 1) << k;
      return bits;
    }

    static V count(V v) {
      const V pairs = splat(static_cast<T>(0x5555555555555555));
      const V fours = splat(static_cast<T>(0x3333333333333333));
      const V bytes = splat(static_cast<T>(0x0f0f0f0f0f0f0f0f));
      v = v - ((v >> 1) & pairs);
      v = (v & fours) + ((v >> 2) & fours);
      v = (v + (v >> 4)) & bytes;
      v = v + (v >> 8);
      if constexpr (sizeof(T) >= 4) v = v + (v >> 16);
      if constexpr (sizeof(T) >= 8) v = v + (v >> 32);
      return v & splat(0x7f);
    }
  };

  using Words = Vector<uint64_t, int64_t>;
  using Sketches = Vector<uint16_t, int16_t>;

  template <unsigned W, unsigned N>
  static void transpose(const uint64_t* rows, Words::V* words) {
    for (unsigned w = 0; w < N; ++w) words[w] = Words::V{rows[w], rows[W + w]};
  }

  static unsigned popcount(uint64_t x) {
    x = x - ((x >> 1) & 0x5555555555555555);
    x = (x & 0x3333333333333333) + ((x >> 2) & 0x3333333333333333);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f;
    return static_cast<unsigned>((x * 0x0101010101010101) >> 56);
  }
};

}  // namespace

constinit const Kernel kPortable = Entry<Portable>::kernel("portable");

}  // namespace hashmatch::kernel
