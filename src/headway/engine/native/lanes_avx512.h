// Sixteen lanes on one AVX-512 register, with VNNI.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace headway {

struct Avx512Lanes {
  static constexpr const char* name = "avx512";
  static constexpr int kFloatRows = 12;
  static constexpr int kByteRows = 12;
  static constexpr int kQueries = 8;

  using F = __m512;
  using I = __m512i;
  using S = __m512i;
  using W = __m512i;

  static F all(float value) { return _mm512_set1_ps(value); }
  static F load(const float* from) { return _mm512_loadu_ps(from); }
  static void store(float* to, F x) { _mm512_storeu_ps(to, x); }
  static F load_half(const std::uint16_t* from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
  static void store_half(std::uint16_t* to, F x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  }
  static void load_pairs(const std::uint16_t* from, F& first, F& second) {
    const __m512i x = _mm512_loadu_si512(from);
    first = _mm512_castsi512_ps(_mm512_slli_epi32(x, 16));
    second = _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
  }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F subtract(F a, F b) { return _mm512_sub_ps(a, b); }
  static F multiply(F a, F b) { return _mm512_mul_ps(a, b); }
  static F divide(F a, F b) { return _mm512_div_ps(a, b); }
  static F multiply_add(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F greater(F a, F b) { return _mm512_max_ps(a, b); }
  static F smaller(F a, F b) { return _mm512_min_ps(a, b); }
  static F size(F a) { return _mm512_abs_ps(a); }
  static F nearest(F a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static F power_of_two(F n) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23));
  }
  static float sum(F x) {
    const __m256 eight =
        _mm256_add_ps(_mm512_castps512_ps256(x), _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1)));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  static float largest(F x) { return _mm512_reduce_max_ps(x); }

  static I zeros() { return _mm512_setzero_si512(); }
  static F to_floats(I x) { return _mm512_cvtepi32_ps(x); }
  static I subtract_all(I x, std::int32_t value) { return _mm512_sub_epi32(x, _mm512_set1_epi32(value)); }
  static void store_bytes(std::int8_t* to, F x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x)));
  }

  // VNNI multiplies unsigned by signed. With 128 added to each weight, which turns over its highest bit, the sums are too
  // large by 128 times the inputs' own sum; they may pass 32 bits on their way, for what is taken off again passes them too.
  static constexpr std::int32_t kShift = 128;
  static W load_weights(const std::uint8_t* from) {
    return _mm512_xor_si512(_mm512_loadu_si512(from), _mm512_set1_epi8(-128));
  }
  static void load_nibbles(const std::uint8_t* from, W& low, W& high) {
    const __m512i both = _mm512_loadu_si512(from);
    const __m512i nibble = _mm512_set1_epi8(15);
    low = _mm512_and_si512(both, nibble);
    high = _mm512_and_si512(_mm512_srli_epi16(both, 4), nibble);
  }
  // One number or four bytes are spread over a register as they are read. Written out: the compiler would read them
  // alone, and move the sums about.
  static void add_product(F& sum, const float* input, F weights) {
    asm("vfmadd231ps %[input]%{1to16%}, %[weights], %[sum]" : [sum] "+v"(sum) : [weights] "v"(weights), [input] "m"(*input));
  }
  static void add_dot(I& sums, W weights, const std::int8_t* inputs) {
    using Four = std::int8_t[4];
    asm("vpdpbusd %[inputs]%{1to16%}, %[weights], %[sums]"
        : [sums] "+v"(sums)
        : [weights] "v"(weights), [inputs] "m"(*reinterpret_cast<const Four*>(inputs)));
  }
  static S narrow_zeros() { return zeros(); }
  static void add_narrow(S& sums, W weights, const std::int8_t* inputs) { add_dot(sums, weights, inputs); }
  static I widened(S sums) { return sums; }
};

}  // namespace headway
