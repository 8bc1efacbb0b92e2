// Sixteen lanes in plain C++: the reference that every other set of lanes equals bit for bit.
//
// A set of lanes names its vectors (F: 16 floats, I: 16 sums of 32 bits, S: sums of a group that is still narrow, W: the
// weights of 16 outputs and 4 inputs, A: 4 inputs for all outputs) and the few operations the kernels are made of.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "half.h"

namespace headway {

struct PlainLanes {
  static constexpr const char* name = "plain";
  static constexpr int kFloatRows = 2;  // rows of one tile of a product
  static constexpr int kByteRows = 2;
  static constexpr int kQueries = 4;

  struct F {
    float at[16];
  };
  struct I {
    std::int32_t at[16];
  };
  using S = I;
  struct W {
    std::int16_t at[16][4];
  };
  struct A {
    std::int8_t at[4];
  };

  template <class Op>
  static F each(Op op) {
    F out;
    for (int i = 0; i < 16; ++i) out.at[i] = op(i);
    return out;
  }
  static F all(float value) { return each([&](int) { return value; }); }
  static F load(const float* from) { return each([&](int i) { return from[i]; }); }
  static void store(float* to, F x) { std::memcpy(to, x.at, sizeof x.at); }
  static F load_half(const std::uint16_t* from) { return each([&](int i) { return from_half(from[i]); }); }
  static void store_half(std::uint16_t* to, F x) {
    for (int i = 0; i < 16; ++i) to[i] = to_half(x.at[i]);
  }
  static void load_pairs(const std::uint16_t* from, F& first, F& second) {
    first = each([&](int i) { return from_bf16(from[2 * i]); });
    second = each([&](int i) { return from_bf16(from[2 * i + 1]); });
  }
  static F add(F a, F b) { return each([&](int i) { return a.at[i] + b.at[i]; }); }
  static F subtract(F a, F b) { return each([&](int i) { return a.at[i] - b.at[i]; }); }
  static F multiply(F a, F b) { return each([&](int i) { return a.at[i] * b.at[i]; }); }
  static F divide(F a, F b) { return each([&](int i) { return a.at[i] / b.at[i]; }); }
  static F multiply_add(F a, F b, F c) { return each([&](int i) { return std::fma(a.at[i], b.at[i], c.at[i]); }); }
  static F greater(F a, F b) { return each([&](int i) { return a.at[i] > b.at[i] ? a.at[i] : b.at[i]; }); }
  static F smaller(F a, F b) { return each([&](int i) { return a.at[i] < b.at[i] ? a.at[i] : b.at[i]; }); }
  static F size(F a) { return each([&](int i) { return std::fabs(a.at[i]); }); }
  static F nearest(F a) { return each([&](int i) { return std::nearbyint(a.at[i]); }); }
  // 2 ** n for whole n in -126..127
  static F power_of_two(F n) {
    return each([&](int i) { return std::bit_cast<float>((static_cast<std::int32_t>(n.at[i]) + 127) << 23); });
  }
  // The same tree in every set of lanes: halves added until one is left.
  static float sum(F x) {
    for (int half = 8; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) x.at[i] += x.at[i + half];
    }
    return x.at[0];
  }
  static float largest(F x) {
    for (int half = 8; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) x.at[i] = x.at[i] > x.at[i + half] ? x.at[i] : x.at[i + half];
    }
    return x.at[0];
  }

  static I zeros() { return I{}; }
  static F to_floats(I x) {
    return each([&](int i) { return static_cast<float>(x.at[i]); });
  }
  static I subtract_all(I x, std::int32_t value) {
    for (int i = 0; i < 16; ++i) x.at[i] -= value;
    return x;
  }
  static void store_bytes(std::int8_t* to, F x) {
    for (int i = 0; i < 16; ++i) to[i] = static_cast<std::int8_t>(x.at[i]);
  }

  static A four(const std::int8_t* from) {
    A out;
    std::memcpy(out.at, from, 4);
    return out;
  }
  static constexpr std::int32_t kShift = 0;  // what load_weights adds to each weight
  static W load_weights(const std::uint8_t* from) {
    W out;
    for (int i = 0; i < 64; ++i) out.at[i / 4][i % 4] = static_cast<std::int8_t>(from[i]);
    return out;
  }
  static void load_nibbles(const std::uint8_t* from, W& low, W& high) {
    for (int i = 0; i < 64; ++i) {
      low.at[i / 4][i % 4] = from[i] & 15;
      high.at[i / 4][i % 4] = from[i] >> 4;
    }
  }
  static I dot(I sums, W weights, A inputs) {
    for (int i = 0; i < 16; ++i) {
      for (int j = 0; j < 4; ++j) sums.at[i] += weights.at[i][j] * inputs.at[j];
    }
    return sums;
  }
  // For weights in 0..15: the sums of 32 inputs may be held in 16 bits until `widened`.
  static S narrow_zeros() { return zeros(); }
  static S narrow_dot(S sums, W weights, A inputs) { return dot(sums, weights, inputs); }
  static void add_product(F& sum, const float* input, F weights) { sum = multiply_add(all(*input), weights, sum); }
  static void add_dot(I& sums, W weights, const std::int8_t* inputs) { sums = dot(sums, weights, four(inputs)); }
  static void add_narrow(S& sums, W weights, const std::int8_t* inputs) { sums = narrow_dot(sums, weights, four(inputs)); }
  static I widened(S sums) { return sums; }
};

}  // namespace headway
