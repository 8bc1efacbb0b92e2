// Sixteen lanes on two AVX2 registers, with FMA and F16C.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "loops_avx2.h"

namespace headway {

struct Avx2Lanes {
  static constexpr const char* name = "avx2";
  static constexpr int kFloatRows = 6;
  static constexpr int kByteRows = 4;
  static constexpr int kQueries = 4;
  using Loops = Avx2Loops;

  struct F {
    __m256 low, high;
  };
  struct I {
    __m256i low, high;
  };
  using S = I;  // 16-bit sums, two an output
  struct W {
    __m256i low, high;
  };
  struct A {
    __m256i value, size;
  };

  static F all(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
  static F load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
  static void store(float* to, F x) {
    _mm256_storeu_ps(to, x.low);
    _mm256_storeu_ps(to + 8, x.high);
  }
  static F load_half(const std::uint16_t* from) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))),
            _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 8)))};
  }
  static void store_half(std::uint16_t* to, F x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph(x.low, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 8), _mm256_cvtps_ph(x.high, _MM_FROUND_TO_NEAREST_INT));
  }
  static void load_pairs(const std::uint16_t* from, F& first, F& second) {
    const I x = {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)),
                 _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 16))};
    const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
    first = {_mm256_castsi256_ps(_mm256_slli_epi32(x.low, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(x.high, 16))};
    second = {_mm256_castsi256_ps(_mm256_and_si256(x.low, upper)), _mm256_castsi256_ps(_mm256_and_si256(x.high, upper))};
  }
  static F add(F a, F b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
  static F subtract(F a, F b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
  static F multiply(F a, F b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
  static F divide(F a, F b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
  static F multiply_add(F a, F b, F c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
  }
  static F greater(F a, F b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }
  static F smaller(F a, F b) { return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)}; }
  static F size(F a) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high)};
  }
  static F nearest(F a) {
    constexpr int how = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(a.low, how), _mm256_round_ps(a.high, how)};
  }
  static F power_of_two(F n) {
    const __m256i bias = _mm256_set1_epi32(127);
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n.low), bias), 23)),
            _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n.high), bias), 23))};
  }
  static float sum(F x) {
    const __m256 eight = _mm256_add_ps(x.low, x.high);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  static float largest(F x) {
    const __m256 eight = _mm256_max_ps(x.low, x.high);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }

  static I zeros() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
  static F to_floats(I x) { return {_mm256_cvtepi32_ps(x.low), _mm256_cvtepi32_ps(x.high)}; }
  static I subtract_all(I x, std::int32_t value) {
    const __m256i every = _mm256_set1_epi32(value);
    return {_mm256_sub_epi32(x.low, every), _mm256_sub_epi32(x.high, every)};
  }
  static void store_bytes(std::int8_t* to, F x) {
    const __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(x.low), _mm256_cvtps_epi32(x.high));
    const __m256i ordered = _mm256_permute4x64_epi64(words, 0xd8);
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
  }

  static A four(const std::int8_t* from) {
    std::int32_t bytes;
    std::memcpy(&bytes, from, 4);
    const __m256i value = _mm256_set1_epi32(bytes);
    return {value, _mm256_abs_epi8(value)};
  }
  static constexpr std::int32_t kShift = 0;  // what load_weights adds to each weight
  static W load_weights(const std::uint8_t* from) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)),
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 32))};
  }
  static void load_nibbles(const std::uint8_t* from, W& low, W& high) {
    const W both = load_weights(from);
    const __m256i nibble = _mm256_set1_epi8(15);
    low = {_mm256_and_si256(both.low, nibble), _mm256_and_si256(both.high, nibble)};
    high = {_mm256_and_si256(_mm256_srli_epi16(both.low, 4), nibble),
            _mm256_and_si256(_mm256_srli_epi16(both.high, 4), nibble)};
  }
  // Sizes are at most 127 and no weight is -128, so a pair's sum is at most 32,258 and fits 16 bits.
  static I dot(I sums, W weights, A inputs) {
    const __m256i ones = _mm256_set1_epi16(1);
    const __m256i low = _mm256_maddubs_epi16(inputs.size, _mm256_sign_epi8(weights.low, inputs.value));
    const __m256i high = _mm256_maddubs_epi16(inputs.size, _mm256_sign_epi8(weights.high, inputs.value));
    return {_mm256_add_epi32(sums.low, _mm256_madd_epi16(low, ones)),
            _mm256_add_epi32(sums.high, _mm256_madd_epi16(high, ones))};
  }
  // Eight pairs of 15 * 127 each at most: 30,480.
  static S narrow_zeros() { return zeros(); }
  static S narrow_dot(S sums, W weights, A inputs) {
    return {_mm256_add_epi16(sums.low, _mm256_maddubs_epi16(weights.low, inputs.value)),
            _mm256_add_epi16(sums.high, _mm256_maddubs_epi16(weights.high, inputs.value))};
  }
  static void add_product(F& sum, const float* input, F weights) { sum = multiply_add(all(*input), weights, sum); }
  static void add_dot(I& sums, W weights, const std::int8_t* inputs) { sums = dot(sums, weights, four(inputs)); }
  static void add_narrow(S& sums, W weights, const std::int8_t* inputs) { sums = narrow_dot(sums, weights, four(inputs)); }
  static I widened(S sums) {
    const __m256i ones = _mm256_set1_epi16(1);
    return {_mm256_madd_epi16(sums.low, ones), _mm256_madd_epi16(sums.high, ones)};
  }
};

}  // namespace headway
