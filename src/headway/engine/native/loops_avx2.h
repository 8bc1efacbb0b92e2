// The inner loops of products of several rows on AVX2. What one row adds to its sums is written out as instructions: left
// to itself the compiler forms all products of a step first and keeps the sums in memory.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "tiles.h"

namespace headway {

struct Avx2Loops {
  struct OfFloats {
    using Register = __m256;
  };
  struct OfIntegers {
    using Register = __m256i;
  };

  static __m256i at(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
  static void load(const float* from, __m256 (&sums)[2]) {
    sums[0] = _mm256_loadu_ps(from);
    sums[1] = _mm256_loadu_ps(from + 8);
  }
  static void load(const float* from, __m256i (&sums)[2]) {
    sums[0] = at(from);
    sums[1] = at(from + 8);
  }
  static void store(float* to, const __m256 (&sums)[2]) {
    _mm256_storeu_ps(to, sums[0]);
    _mm256_storeu_ps(to + 8, sums[1]);
  }
  static void store(float* to, const __m256i (&sums)[2]) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), sums[0]);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 8), sums[1]);
  }

  // weights [input][16], inputs [input][ROWS]
  template <int ROWS>
  [[gnu::noinline]] static void floats(const float* weights, const Unit* inputs, int count, __m256 (&sums)[ROWS][2]) {
    __m256 own[ROWS][2];
    copy(sums, own);
    for (int k = 0; k < count; ++k) {
      const __m256 low = _mm256_loadu_ps(weights + k * kPanel);
      const __m256 high = _mm256_loadu_ps(weights + k * kPanel + 8);
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; ++r) {
        asm("vbroadcastss %[input], %%ymm15\n\t"
            "vfmadd231ps %[low], %%ymm15, %[first]\n\t"
            "vfmadd231ps %[high], %%ymm15, %[second]"
            : [first] "+x"(own[r][0]), [second] "+x"(own[r][1])
            : [low] "x"(low), [high] "x"(high), [input] "m"(inputs[k * ROWS + r])
            : "ymm15");
      }
    }
    copy(own, sums);
  }

  // Pairs of 16-bit numbers: weights [pair][16][2], inputs [pair][ROWS].
  template <int ROWS>
  [[gnu::noinline]] static void words(const std::int16_t* weights, const Unit* inputs, int count, __m256i (&sums)[ROWS][2]) {
    __m256i own[ROWS][2];
    copy(sums, own);
    for (int pair = 0; pair < count; ++pair) {
      const __m256i low = at(weights + pair * 2 * kPanel);
      const __m256i high = at(weights + pair * 2 * kPanel + 16);
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; ++r) {
        asm("vpbroadcastd %[input], %%ymm15\n\t"
            "vpmaddwd %[low], %%ymm15, %%ymm14\n\t"
            "vpmaddwd %[high], %%ymm15, %%ymm15\n\t"
            "vpaddd %%ymm14, %[first], %[first]\n\t"
            "vpaddd %%ymm15, %[second], %[second]"
            : [first] "+x"(own[r][0]), [second] "+x"(own[r][1])
            : [low] "x"(low), [high] "x"(high), [input] "m"(inputs[pair * ROWS + r])
            : "ymm14", "ymm15");
      }
    }
    copy(own, sums);
  }

  // One group of weights of 0..15, each in a byte of its own, [four][16][4], inputs [four][ROWS]; sums of 16 bits, two an
  // output.
  template <int ROWS>
  [[gnu::noinline]] static void group(const std::uint8_t* weights, const Unit* inputs, __m256i (&sums)[ROWS][2]) {
    __m256i own[ROWS][2];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) own[r][0] = own[r][1] = _mm256_setzero_si256();
    for (int four = 0; four < kGroup / 4; ++four) {
      const __m256i low = at(weights + four * 4 * kPanel);
      const __m256i high = at(weights + four * 4 * kPanel + 32);
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; ++r) {
        asm("vpbroadcastd %[input], %%ymm15\n\t"
            "vpmaddubsw %%ymm15, %[low], %%ymm14\n\t"
            "vpmaddubsw %%ymm15, %[high], %%ymm15\n\t"
            "vpaddw %%ymm14, %[first], %[first]\n\t"
            "vpaddw %%ymm15, %[second], %[second]"
            : [first] "+x"(own[r][0]), [second] "+x"(own[r][1])
            : [low] "x"(low), [high] "x"(high), [input] "m"(inputs[four * ROWS + r])
            : "ymm14", "ymm15");
      }
    }
    copy(own, sums);
  }

  // 64 weights of 8 bits, [16][4], as words in two pairs each: inputs 0 and 2, then 1 and 3.
  static void widen(const std::uint8_t* from, std::int16_t* to) {
    for (int half = 0; half < 2; ++half) {
      const __m256i bytes = at(from + half * 32);
      const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + half * 16), even);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 32 + half * 16), _mm256_srai_epi16(bytes, 8));
    }
  }

 private:
  template <int ROWS, class T>
  static void copy(const T (&from)[ROWS][2], T (&to)[ROWS][2]) {
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      to[r][0] = from[r][0];
      to[r][1] = from[r][1];
    }
  }
};

}  // namespace headway
