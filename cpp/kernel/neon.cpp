// NEON: a popcount of bytes, summed pairwise up to the lane.
#include <arm_neon.h>

#include "algorithms.h"
#include "instruction_sets.h"

namespace hashmatch::kernel {
namespace {

struct Neon {
  struct Words {
    using V = uint64x2_t;
    static constexpr size_t kLanes = 2;
    static constexpr unsigned kBitStride = 32;
    static V load(const void* p) { return vreinterpretq_u64_u8(vld1q_u8(bytes(p))); }
    static void store(uint64_t* p, V v) { vst1q_u64(p, v); }
    static V splat(uint64_t x) { return vdupq_n_u64(x); }
    static V differ(V a, V b) { return veorq_u64(a, b); }
    static V either(V a, V b, V c) { return vorrq_u64(a, veorq_u64(b, c)); }
    static V count(V v) {
      return vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(vcntq_u8(vreinterpretq_u8_u64(v)))));
    }
    static V add(V a, V b) { return vaddq_u64(a, b); }
    static V min(V a, V b) {  // upper halves are zero
      return vreinterpretq_u64_u32(vminq_u32(vreinterpretq_u32_u64(a), vreinterpretq_u32_u64(b)));
    }
    static V at_most(V a, V b) { return vcleq_u64(a, b); }
    static bool any(V mask) { return vmaxvq_u32(vreinterpretq_u32_u64(mask)) != 0; }
    static uint64_t bits(V mask) {
      return vget_lane_u64(vreinterpret_u64_u32(vmovn_u64(mask)), 0) & 0x0000000100000001;
    }
  };

  struct Sketches {
    using V = uint16x8_t;
    static constexpr size_t kLanes = 8;
    static constexpr unsigned kBitStride = 8;
    static V load(const void* p) { return vreinterpretq_u16_u8(vld1q_u8(bytes(p))); }
    static V splat(uint16_t x) { return vdupq_n_u16(x); }
    static V differ(V a, V b) { return veorq_u16(a, b); }
    static V either(V a, V b, V c) { return vorrq_u16(a, veorq_u16(b, c)); }
    static V count(V v) { return vpaddlq_u8(vcntq_u8(vreinterpretq_u8_u16(v))); }
    static V min(V a, V b) { return vminq_u16(a, b); }
    static V at_most(V a, V b) { return vcleq_u16(a, b); }
    static bool any(V mask) { return vmaxvq_u16(mask) != 0; }
    static uint64_t bits(V mask) {
      return vget_lane_u64(vreinterpret_u64_u8(vmovn_u16(mask)), 0) & 0x0101010101010101;
    }
  };

  static const uint8_t* bytes(const void* p) { return static_cast<const uint8_t*>(p); }

  template <unsigned W, unsigned N>
  static void transpose(const uint64_t* rows, uint64x2_t* words) {
    if constexpr (W == 1) {
      words[0] = vld1q_u64(rows);
    } else {
      for (unsigned w = 0; w < N; w += 2) {
        const uint64x2_t a = vld1q_u64(rows + w);
        const uint64x2_t b = vld1q_u64(rows + W + w);
        words[w] = vzip1q_u64(a, b);
        words[w + 1] = vzip2q_u64(a, b);
      }
    }
  }

  static unsigned popcount(uint64_t x) { return static_cast<unsigned>(__builtin_popcountll(x)); }
};

}  // namespace

constinit const Kernel kNeon = Entry<Neon>::kernel("neon");

}  // namespace hashmatch::kernel
