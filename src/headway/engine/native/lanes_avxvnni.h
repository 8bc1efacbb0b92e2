// Sixteen lanes on two AVX2 registers, with AVX-VNNI: four products of bytes and their sum in one instruction.
#pragma once

#include "lanes_avx2.h"

namespace headway {

struct AvxVnniLoops : Avx2Loops {
  // Groups of weights of 8 bits, [group][8][16][4], inputs [group][8][ROWS]. The sums are those of shifted weights; no
  // group has to be calm.
  template <int ROWS>
  [[gnu::noinline]] static void bytes(const std::uint8_t* weights, const std::uint8_t*, const Unit* inputs, int groups,
                                      __m256i (&sums)[ROWS][2]) {
    __m256i own[ROWS][2];
    copy(sums, own);
    for (int four = 0; four < groups * kGroup / 4; ++four, weights += 4 * kPanel, inputs += ROWS) {
      __builtin_prefetch(weights + kAhead);
      add<ROWS>(shifted(weights), shifted(weights + 32), inputs, own);
    }
    copy(own, sums);
  }

  // One group of weights of 0..15, each in a byte of its own, [four][16][4], inputs [four][ROWS]; sums of 32 bits.
  template <int ROWS>
  [[gnu::noinline]] static void group(const std::uint8_t* weights, const Unit* inputs, __m256i (&sums)[ROWS][2]) {
    __m256i own[ROWS][2];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) own[r][0] = own[r][1] = _mm256_setzero_si256();
    for (int four = 0; four < kGroup / 4; ++four, weights += 4 * kPanel, inputs += ROWS) {
      add<ROWS>(at(weights), at(weights + 32), inputs, own);
    }
    copy(own, sums);
  }

  static __m256i shifted(const std::uint8_t* weights) { return _mm256_xor_si256(at(weights), _mm256_set1_epi8(-128)); }

 private:
  template <int ROWS>
  static void add(__m256i low, __m256i high, const Unit* inputs, __m256i (&sums)[ROWS][2]) {
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      std::int32_t bytes;
      std::memcpy(&bytes, inputs[r].bytes, 4);
      const __m256i input = _mm256_set1_epi32(bytes);
      sums[r][0] = _mm256_dpbusd_avx_epi32(sums[r][0], low, input);
      sums[r][1] = _mm256_dpbusd_avx_epi32(sums[r][1], high, input);
    }
  }
};

struct AvxVnniLanes : Avx2Lanes {
  static constexpr const char* name = "avxvnni";
  using Loops = AvxVnniLoops;

  static constexpr std::int32_t kShift = 128;  // as in lanes_avx512.h
  static W load_weights(const std::uint8_t* from) { return {Loops::shifted(from), Loops::shifted(from + 32)}; }
  static I dot(I sums, W weights, A inputs) {
    return {_mm256_dpbusd_avx_epi32(sums.low, weights.low, inputs.value),
            _mm256_dpbusd_avx_epi32(sums.high, weights.high, inputs.value)};
  }
  static void add_dot(I& sums, W weights, const std::int8_t* inputs) { sums = dot(sums, weights, four(inputs)); }
  static void add_narrow(S& sums, W weights, const std::int8_t* inputs) { add_dot(sums, weights, inputs); }
  static I widened(S sums) { return sums; }
};

}  // namespace headway
