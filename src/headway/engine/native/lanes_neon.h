// Sixteen lanes on four Neon registers, with the dot product of Armv8.2.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

namespace headway {

struct NeonLanes {
  static constexpr const char* name = "neon";
  static constexpr int kFloatRows = 4;
  static constexpr int kByteRows = 4;
  static constexpr int kQueries = 4;

  struct F {
    float32x4_t at[4];
  };
  struct I {
    int32x4_t at[4];
  };
  using S = I;
  struct W {
    int8x16_t at[4];
  };
  using A = int8x16_t;

  template <class Op>
  static F each(Op op) {
    return {{op(0), op(1), op(2), op(3)}};
  }
  static F all(float value) {
    return each([&](int) { return vdupq_n_f32(value); });
  }
  static F load(const float* from) {
    return each([&](int i) { return vld1q_f32(from + 4 * i); });
  }
  static void store(float* to, F x) {
    for (int i = 0; i < 4; ++i) vst1q_f32(to + 4 * i, x.at[i]);
  }
  static F load_half(const std::uint16_t* from) {
    return each([&](int i) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from + 4 * i))); });
  }
  static void store_half(std::uint16_t* to, F x) {
    for (int i = 0; i < 4; ++i) vst1_u16(to + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(x.at[i])));
  }
  static void load_pairs(const std::uint16_t* from, F& first, F& second) {
    for (int i = 0; i < 4; ++i) {
      const uint32x4_t both = vreinterpretq_u32_u16(vld1q_u16(from + 8 * i));
      first.at[i] = vreinterpretq_f32_u32(vshlq_n_u32(both, 16));
      second.at[i] = vreinterpretq_f32_u32(vandq_u32(both, vdupq_n_u32(0xffff0000u)));
    }
  }
  static F add(F a, F b) {
    return each([&](int i) { return vaddq_f32(a.at[i], b.at[i]); });
  }
  static F subtract(F a, F b) {
    return each([&](int i) { return vsubq_f32(a.at[i], b.at[i]); });
  }
  static F multiply(F a, F b) {
    return each([&](int i) { return vmulq_f32(a.at[i], b.at[i]); });
  }
  static F divide(F a, F b) {
    return each([&](int i) { return vdivq_f32(a.at[i], b.at[i]); });
  }
  static F multiply_add(F a, F b, F c) {
    return each([&](int i) { return vfmaq_f32(c.at[i], a.at[i], b.at[i]); });
  }
  static F greater(F a, F b) {
    return each([&](int i) { return vbslq_f32(vcgtq_f32(a.at[i], b.at[i]), a.at[i], b.at[i]); });
  }
  static F smaller(F a, F b) {
    return each([&](int i) { return vbslq_f32(vcltq_f32(a.at[i], b.at[i]), a.at[i], b.at[i]); });
  }
  static F size(F a) {
    return each([&](int i) { return vabsq_f32(a.at[i]); });
  }
  static F nearest(F a) {
    return each([&](int i) { return vrndnq_f32(a.at[i]); });
  }
  static F power_of_two(F n) {
    return each([&](int i) {
      return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n.at[i]), vdupq_n_s32(127)), 23));
    });
  }
  static float sum(F x) {
    const float32x4_t four = vaddq_f32(vaddq_f32(x.at[0], x.at[2]), vaddq_f32(x.at[1], x.at[3]));
    const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
  }
  static float largest(F x) {
    return vmaxvq_f32(vmaxq_f32(vmaxq_f32(x.at[0], x.at[1]), vmaxq_f32(x.at[2], x.at[3])));
  }

  static I zeros() { return {{vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)}}; }
  static F to_floats(I x) {
    return each([&](int i) { return vcvtq_f32_s32(x.at[i]); });
  }
  static I subtract_all(I x, std::int32_t value) {
    for (int i = 0; i < 4; ++i) x.at[i] = vsubq_s32(x.at[i], vdupq_n_s32(value));
    return x;
  }
  static void store_bytes(std::int8_t* to, F x) {
    const int16x8_t low = vcombine_s16(vqmovn_s32(vcvtq_s32_f32(x.at[0])), vqmovn_s32(vcvtq_s32_f32(x.at[1])));
    const int16x8_t high = vcombine_s16(vqmovn_s32(vcvtq_s32_f32(x.at[2])), vqmovn_s32(vcvtq_s32_f32(x.at[3])));
    vst1q_s8(to, vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)));
  }

  static A four(const std::int8_t* from) {
    std::int32_t bytes;
    std::memcpy(&bytes, from, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(bytes));
  }
  static constexpr std::int32_t kShift = 0;  // what load_weights adds to each weight
  static W load_weights(const std::uint8_t* from) {
    W out;
    for (int i = 0; i < 4; ++i) out.at[i] = vreinterpretq_s8_u8(vld1q_u8(from + 16 * i));
    return out;
  }
  static void load_nibbles(const std::uint8_t* from, W& low, W& high) {
    for (int i = 0; i < 4; ++i) {
      const uint8x16_t both = vld1q_u8(from + 16 * i);
      low.at[i] = vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(15)));
      high.at[i] = vreinterpretq_s8_u8(vshrq_n_u8(both, 4));
    }
  }
  static I dot(I sums, W weights, A inputs) {
    for (int i = 0; i < 4; ++i) sums.at[i] = vdotq_s32(sums.at[i], weights.at[i], inputs);
    return sums;
  }
  static S narrow_zeros() { return zeros(); }
  static S narrow_dot(S sums, W weights, A inputs) { return dot(sums, weights, inputs); }
  static void add_product(F& sum, const float* input, F weights) { sum = multiply_add(all(*input), weights, sum); }
  static void add_dot(I& sums, W weights, const std::int8_t* inputs) { sums = dot(sums, weights, four(inputs)); }
  static void add_narrow(S& sums, W weights, const std::int8_t* inputs) { sums = narrow_dot(sums, weights, four(inputs)); }
  static I widened(S sums) { return sums; }
};

}  // namespace headway
