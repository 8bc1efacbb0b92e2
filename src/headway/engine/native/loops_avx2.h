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

  // Groups of weights of 8 bits, [group][8][16][4], inputs [group][8][ROWS]. A product is the weight's size times the
  // input with the weight's sign. In a calm group (see matrix.h) two sums of two products are added in 16 bits.
  template <int ROWS>
  [[gnu::noinline]] static void bytes(const std::uint8_t* weights, const std::uint8_t* calm, const Unit* inputs, int groups,
                                      __m256i (&sums)[ROWS][2]) {
    __m256i own[ROWS][2];
    copy(sums, own);
    for (int step = 0; step < groups * 4; ++step, weights += 8 * kPanel, inputs += 2 * ROWS) {
      const __m256i size[4] = {_mm256_abs_epi8(at(weights)), _mm256_abs_epi8(at(weights + 32)),
                               _mm256_abs_epi8(at(weights + 64)), _mm256_abs_epi8(at(weights + 96))};
      __builtin_prefetch(weights + kAhead);
      __builtin_prefetch(weights + kAhead + 64);
      if (calm[step / 4] == 0) {
        four_bytes<ROWS>(weights, size[0], size[1], inputs, own);
        four_bytes<ROWS>(weights + 4 * kPanel, size[2], size[3], inputs + ROWS, own);
        continue;
      }
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; ++r) {
        asm("vpbroadcastd %[input], %%ymm12\n\t"
            "vpbroadcastd %[next], %%ymm13\n\t"
            "vpsignb %[first], %%ymm12, %%ymm14\n\t"
            "vpsignb %[second], %%ymm12, %%ymm12\n\t"
            "vpsignb %[third], %%ymm13, %%ymm15\n\t"
            "vpsignb %[fourth], %%ymm13, %%ymm13\n\t"
            "vpmaddubsw %%ymm14, %[size0], %%ymm14\n\t"
            "vpmaddubsw %%ymm12, %[size1], %%ymm12\n\t"
            "vpmaddubsw %%ymm15, %[size2], %%ymm15\n\t"
            "vpmaddubsw %%ymm13, %[size3], %%ymm13\n\t"
            "vpaddw %%ymm15, %%ymm14, %%ymm14\n\t"
            "vpaddw %%ymm13, %%ymm12, %%ymm12\n\t"
            "vpmaddwd %[ones], %%ymm14, %%ymm14\n\t"
            "vpmaddwd %[ones], %%ymm12, %%ymm12\n\t"
            "vpaddd %%ymm14, %[low], %[low]\n\t"
            "vpaddd %%ymm12, %[high], %[high]"
            : [low] "+x"(own[r][0]), [high] "+x"(own[r][1])
            : [size0] "x"(size[0]), [size1] "x"(size[1]), [size2] "x"(size[2]), [size3] "x"(size[3]),
              [first] "m"(in(weights)), [second] "m"(in(weights + 32)), [third] "m"(in(weights + 64)),
              [fourth] "m"(in(weights + 96)), [input] "m"(inputs[r]), [next] "m"(inputs[ROWS + r]), [ones] "m"(kOnes)
            : "ymm12", "ymm13", "ymm14", "ymm15");
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

 protected:
  static constexpr int kAhead = 2048;

  template <int ROWS, class T>
  static void copy(const T (&from)[ROWS][2], T (&to)[ROWS][2]) {
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      to[r][0] = from[r][0];
      to[r][1] = from[r][1];
    }
  }

 private:
  alignas(32) static constexpr std::int16_t kOnes[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

  using Register = std::uint8_t[32];
  static const Register& in(const std::uint8_t* from) { return *reinterpret_cast<const Register*>(from); }

  // Four inputs, whose products fit 16 bits only in pairs.
  template <int ROWS>
  static void four_bytes(const std::uint8_t* weights, __m256i low_size, __m256i high_size, const Unit* inputs,
                         __m256i (&sums)[ROWS][2]) {
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      asm("vpbroadcastd %[input], %%ymm12\n\t"
          "vpsignb %[first], %%ymm12, %%ymm14\n\t"
          "vpsignb %[second], %%ymm12, %%ymm12\n\t"
          "vpmaddubsw %%ymm14, %[low_size], %%ymm14\n\t"
          "vpmaddubsw %%ymm12, %[high_size], %%ymm12\n\t"
          "vpmaddwd %[ones], %%ymm14, %%ymm14\n\t"
          "vpmaddwd %[ones], %%ymm12, %%ymm12\n\t"
          "vpaddd %%ymm14, %[low], %[low]\n\t"
          "vpaddd %%ymm12, %[high], %[high]"
          : [low] "+x"(sums[r][0]), [high] "+x"(sums[r][1])
          : [low_size] "x"(low_size), [high_size] "x"(high_size), [first] "m"(in(weights)), [second] "m"(in(weights + 32)),
            [input] "m"(inputs[r]), [ones] "m"(kOnes)
          : "ymm12", "ymm14");
    }
  }
};

}  // namespace headway
