#include "matrix.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "half.h"

namespace headway {
namespace {

std::size_t bytes_of_panel(int inputs, Width width) {
  const std::size_t whole = padded(inputs, kGroup);
  switch (width) {
    case Width::f32:
      return whole * kPanel * 4;
    case Width::bf16:
      return whole * kPanel * 2;
    case Width::s8:
      return whole * kPanel;
    case Width::s4:
      return whole / kGroup * kGroupBytes;
  }
  throw std::invalid_argument("unknown width");
}

std::int8_t rounded(float value, float inverse, int largest) {
  const float steps = std::nearbyint(value * inverse);
  return static_cast<std::int8_t>(std::clamp(steps, static_cast<float>(-largest), static_cast<float>(largest)));
}

void pack_s8(const std::vector<float>& row, int output, std::uint8_t* panel, std::vector<float>& scales) {
  float largest = 0.0f;
  for (const float weight : row) largest = std::max(largest, std::fabs(weight));
  const float scale = largest / 127.0f;
  const float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
  scales[output] = scale;
  const int lane = output % kPanel;
  for (std::size_t input = 0; input < row.size(); ++input) {
    panel[(input / 4 * kPanel + lane) * 4 + input % 4] =
        static_cast<std::uint8_t>(std::isfinite(inverse) ? rounded(row[input], inverse, 127) : 0);
  }
}

std::vector<std::uint8_t> calm_of(const Matrix& matrix) {
  const std::size_t groups = matrix.groups();
  std::vector<std::uint8_t> calm(matrix.panels * groups, 1);
  for (int panel = 0; panel < matrix.panels; ++panel) {
    const auto* weights = reinterpret_cast<const std::int8_t*>(matrix.panel(panel));
    for (std::size_t eight = 0; eight < groups * kGroup / 8; ++eight, weights += 8 * kPanel) {
      for (int pair = 0; pair < 2 * kPanel; ++pair) {
        const std::int8_t* first = weights + 2 * pair;
        const std::int8_t* second = first + 4 * kPanel;
        const int size = std::abs(first[0]) + std::abs(first[1]) + std::abs(second[0]) + std::abs(second[1]);
        if (size > kCalm) calm[panel * groups + eight * 8 / kGroup] = 0;
      }
    }
  }
  return calm;
}

// The scale of a group of 4-bit values (-8..7) with the least squared error, among steps about the extreme weight's,
// each refitted to the values it gives: scale = sum(w q) / sum(q q).
float fit_group(const float* weights, int count) {
  float extreme = 0.0f;
  for (int i = 0; i < count; ++i) {
    if (std::fabs(weights[i]) > std::fabs(extreme)) extreme = weights[i];
  }
  if (extreme == 0.0f) return 0.0f;
  float best_scale = 0.0f;
  float best_gain = -1.0f;  // sum(w q) ** 2 / sum(q q): what is taken from the squared error
  for (int step = -8; step <= 8; ++step) {
    const float inverse = (-8.0f + 0.15f * static_cast<float>(step)) / extreme;
    float along = 0.0f;
    float square = 0.0f;
    for (int i = 0; i < count; ++i) {
      const float value = std::clamp(std::nearbyint(weights[i] * inverse), -8.0f, 7.0f);
      along += weights[i] * value;
      square += value * value;
    }
    if (square > 0.0f && along * along > best_gain * square) {
      best_gain = along * along / square;
      best_scale = along / square;
    }
  }
  return best_scale;
}

void pack_s4(const float* weights, int count, float scale, int lane, std::uint8_t* group) {
  const float inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
  for (int i = 0; i < kGroup; ++i) {
    const float value = i < count ? std::clamp(std::nearbyint(weights[i] * inverse), -8.0f, 7.0f) : 0.0f;
    const auto nibble = static_cast<std::uint8_t>(static_cast<int>(value) + 8);
    const int step = i / 4;
    std::uint8_t& byte = group[(step % 4 * kPanel + lane) * 4 + i % 4];
    byte = step < 4 ? (byte & 0xf0u) | nibble : (byte & 0x0fu) | (nibble << 4);
  }
}

void pack_all_s4(Strided weights, Matrix& matrix) {
  const int groups = padded(matrix.inputs, kGroup) / kGroup;
  std::vector<float> row(padded(matrix.inputs, kGroup), 0.0f);
  std::vector<float> fitted(static_cast<std::size_t>(matrix.outputs) * groups);
  float largest = 0.0f;
  for (int output = 0; output < matrix.outputs; ++output) {
    for (int input = 0; input < matrix.inputs; ++input) row[input] = weights.at(output, input);
    for (int group = 0; group < groups; ++group) {
      const float scale = fit_group(&row[group * kGroup], kGroup);
      fitted[static_cast<std::size_t>(output) * groups + group] = scale;
      largest = std::max(largest, std::fabs(scale));
    }
  }
  matrix.unit = largest > 0.0f ? largest / 1024.0f : 1.0f;  // the largest scale is 1024 in half precision
  for (int output = 0; output < matrix.panels * kPanel; ++output) {
    std::uint8_t* panel = matrix.data.as<std::uint8_t>() + output / kPanel * matrix.panel_bytes;
    const int lane = output % kPanel;
    const bool real = output < matrix.outputs;
    for (int input = 0; real && input < matrix.inputs; ++input) row[input] = weights.at(output, input);
    for (int group = 0; group < groups; ++group) {
      std::uint8_t* bytes = panel + static_cast<std::size_t>(group) * kGroupBytes;
      const float scale = real ? fitted[static_cast<std::size_t>(output) * groups + group] / matrix.unit : 0.0f;
      const std::uint16_t half = to_half(scale);
      std::memcpy(bytes + kPanel * kGroup / 2 + lane * 2, &half, 2);
      pack_s4(real ? &row[group * kGroup] : nullptr, real ? kGroup : 0, from_half(half) * matrix.unit, lane, bytes);
    }
  }
}

}  // namespace

Matrix unfilled(int outputs, int inputs, Width width) {
  Matrix matrix;
  matrix.width = width;
  matrix.outputs = outputs;
  matrix.inputs = inputs;
  matrix.panels = padded(outputs, kPanel) / kPanel;
  matrix.panel_bytes = bytes_of_panel(inputs, width);
  return matrix;
}

Matrix pack(Strided weights, const float* bias, int outputs, int inputs, Width width) {
  Matrix matrix = unfilled(outputs, inputs, width);
  matrix.data = Block(matrix.panels * matrix.panel_bytes);
  matrix.bias.assign(matrix.panels * kPanel, 0.0f);
  if (bias != nullptr) std::copy(bias, bias + outputs, matrix.bias.begin());
  for (int output = 0; output < outputs; ++output) {
    bool finite = std::isfinite(matrix.bias[output]);
    for (int input = 0; input < inputs; ++input) finite = finite && std::isfinite(weights.at(output, input));
    if (!finite) throw std::invalid_argument("not finite");
  }
  if (width == Width::s8) matrix.scales.assign(matrix.panels * kPanel, 0.0f);
  if (width == Width::s4) {
    pack_all_s4(weights, matrix);
    return matrix;
  }
  std::vector<float> row(inputs);
  for (int output = 0; output < outputs; ++output) {
    for (int input = 0; input < inputs; ++input) row[input] = weights.at(output, input);
    std::uint8_t* panel = matrix.data.as<std::uint8_t>() + output / kPanel * matrix.panel_bytes;
    const int lane = output % kPanel;
    if (width == Width::s8) {
      pack_s8(row, output, panel, matrix.scales);
    } else if (width == Width::bf16) {
      auto* words = reinterpret_cast<std::uint16_t*>(panel);
      for (int input = 0; input < inputs; ++input) words[(input / 2 * kPanel + lane) * 2 + input % 2] = to_bf16(row[input]);
    } else {
      auto* words = reinterpret_cast<float*>(panel);
      for (int input = 0; input < inputs; ++input) words[input * kPanel + lane] = row[input];
    }
  }
  if (width == Width::s8) matrix.calm = calm_of(matrix);
  return matrix;
}

void unpack_row(const Matrix& matrix, int output, float* out) {
  const std::uint8_t* panel = matrix.panel(output / kPanel);
  const int lane = output % kPanel;
  for (int input = 0; input < matrix.inputs; ++input) {
    switch (matrix.width) {
      case Width::f32:
        out[input] = reinterpret_cast<const float*>(panel)[input * kPanel + lane];
        break;
      case Width::bf16:
        out[input] = from_bf16(reinterpret_cast<const std::uint16_t*>(panel)[(input / 2 * kPanel + lane) * 2 + input % 2]);
        break;
      case Width::s8: {
        const auto value = static_cast<std::int8_t>(panel[(input / 4 * kPanel + lane) * 4 + input % 4]);
        out[input] = static_cast<float>(value) * matrix.scales[output];
        break;
      }
      case Width::s4: {
        const std::uint8_t* group = panel + static_cast<std::size_t>(input / kGroup) * kGroupBytes;
        const int step = input % kGroup / 4;
        const std::uint8_t byte = group[(step % 4 * kPanel + lane) * 4 + input % 4];
        const int value = (step < 4 ? byte & 15 : byte >> 4) - 8;
        std::uint16_t half;
        std::memcpy(&half, group + kPanel * kGroup / 2 + lane * 2, 2);
        out[input] = static_cast<float>(value) * (from_half(half) * matrix.unit);
        break;
      }
    }
  }
}

}  // namespace headway
