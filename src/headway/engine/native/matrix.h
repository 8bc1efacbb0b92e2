// A weight matrix packed for the kernels, in panels of 16 outputs.
//
// Every panel holds all inputs of its 16 outputs, one block after another, in the order in which a kernel reads them:
//   32 bit  [input][16 outputs]                         float
//   16 bit  [input / 2][16 outputs][2 inputs]           bfloat16
//    8 bit  [input / 4][16 outputs][4 inputs]           int8 in -127..127, one float scale an output
//    4 bit  [input / 32]{ [4][16 outputs][4 inputs] bytes, then 16 scales in half precision }
//           byte (s, o, i) of a group: its input 4 s + i in the low half, its input 4 (s + 4) + i in the high one,
//           each as value + 8; a weight is value * group scale * the matrix' one unit.
// Inputs and outputs are padded with zeros, to 32 and 16.
#pragma once

#include <cstdint>
#include <vector>

#include "memory.h"

namespace headway {

inline constexpr int kPanel = 16;  // outputs of a panel, and lanes of every vector
inline constexpr int kGroup = 32;  // inputs that share a scale at 4 bit
inline constexpr int kGroupBytes = kPanel * kGroup / 2 + kPanel * 2;

inline constexpr int kCalm = 32767 / 127;

enum class Width : int { f32 = 32, bf16 = 16, s8 = 8, s4 = 4 };

static inline int padded(int count, int to) { return (count + to - 1) / to * to; }

struct Matrix {
  Width width = Width::f32;
  int outputs = 0;
  int inputs = 0;
  int panels = 0;
  std::size_t panel_bytes = 0;
  Block data;
  std::vector<float> scales;  // s8: one an output, padded
  std::vector<float> bias;    // one an output, padded; zeros where there is none
  float unit = 1.0f;          // s4: what every group scale is multiplied by
  // s8: of each panel, whether a group of kGroup inputs is calm: of every 8 inputs, inputs 0, 1, 4, 5 and inputs 2, 3, 6, 7
  // have weights whose sizes sum to at most kCalm, so that the sum of their products with bytes fits 16 bits.
  std::vector<std::uint8_t> calm;

  int groups() const { return padded(inputs, kGroup) / kGroup; }
  const std::uint8_t* calm_groups(int at) const { return calm.data() + static_cast<std::size_t>(at) * groups(); }
  const std::uint8_t* panel(int at) const { return data.as<std::uint8_t>() + at * panel_bytes; }
  std::size_t bytes() const { return data.bytes() + (scales.size() + bias.size()) * sizeof(float) + calm.size(); }
};

// rows: (outputs, inputs) floats, where the weight of an output and an input stands at rows[output * by_output + input * by_input].
struct Strided {
  const float* rows;
  std::int64_t by_output;
  std::int64_t by_input;
  float at(std::int64_t output, std::int64_t input) const { return rows[output * by_output + input * by_input]; }
};

// bias: null or `outputs` floats. Throws std::invalid_argument for a weight or bias that is not finite.
Matrix pack(Strided weights, const float* bias, int outputs, int inputs, Width width);

// A matrix of that shape without its panels, biases and scales.
Matrix unfilled(int outputs, int inputs, Width width);

// One output's weights as floats, `inputs` of them: a row of an embedding.
void unpack_row(const Matrix& matrix, int output, float* out);

}  // namespace headway
