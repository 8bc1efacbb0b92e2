// The kernels, written once over a set of lanes; each kernels_*.cpp compiles them for its processor.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

#include "kernels.h"

namespace headway {
namespace {

template <class L>
struct Compiled {
  using F = typename L::F;
  using I = typename L::I;
  using S = typename L::S;
  using W = typename L::W;

  // Few rows: the weights come from memory, and are asked for so many bytes ahead.
  static constexpr int kStreaming = 2;
  static constexpr int kAhead = 2048;

  // e ** x, within about 2 ulp; 0 far below, and never above e ** 88.
  static F exponential(F x) {
    x = L::smaller(L::greater(x, L::all(-87.0f)), L::all(88.0f));
    const F n = L::nearest(L::multiply(x, L::all(1.44269504f)));
    F r = L::multiply_add(n, L::all(-0.693359375f), x);
    r = L::multiply_add(n, L::all(2.12194440e-4f), r);
    F p = L::all(1.9875691500e-4f);
    for (const float next : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f}) {
      p = L::multiply_add(p, r, L::all(next));
    }
    p = L::multiply_add(L::multiply(r, r), p, r);
    return L::multiply(L::add(p, L::all(1.0f)), L::power_of_two(n));
  }

  static F sigmoid(F x) {
    return L::divide(L::all(1.0f), L::add(L::all(1.0f), exponential(L::subtract(L::all(0.0f), x))));
  }

  // The error function by Abramowitz and Stegun 7.1.26, within 1.5e-7.
  static F half_erf_of(F x) {
    const F size = L::size(x);
    const F t = L::divide(L::all(1.0f), L::multiply_add(size, L::all(0.3275911f), L::all(1.0f)));
    F p = L::all(1.061405429f);
    for (const float next : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f}) {
      p = L::multiply_add(p, t, L::all(next));
    }
    const F tail = L::multiply(L::multiply(p, t), exponential(L::subtract(L::all(0.0f), L::multiply(x, x))));
    return tail;  // 1 - erf(|x|)
  }

  static F activated(F x, Activation activation) {
    switch (activation) {
      case Activation::none:
        return x;
      case Activation::relu:
        return L::greater(x, L::all(0.0f));
      case Activation::silu:
        return L::multiply(x, sigmoid(x));
      case Activation::tanh: {  // 2 sigmoid(2 x) - 1
        const F half = L::subtract(sigmoid(L::add(x, x)), L::all(0.5f));
        return L::add(half, half);
      }
      case Activation::gelu_tanh: {  // x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x ** 3)
        const F cube = L::multiply(L::multiply(x, x), x);
        const F twice = L::multiply(L::multiply_add(cube, L::all(0.044715f), x), L::all(1.5957691216f));
        return L::multiply(x, sigmoid(twice));
      }
      case Activation::gelu: {  // x Phi(x): for x > 0 x - x tail / 2, else x tail / 2
        const F tail = half_erf_of(L::multiply(x, L::all(0.70710678f)));
        const F lost = L::multiply(L::multiply(L::size(x), tail), L::all(0.5f));
        return L::subtract(L::greater(x, L::all(0.0f)), lost);
      }
    }
    return x;
  }

  static void finish(const Product& product, int row, int panel, F sum) {
    float* out = product.out + row * product.out_stride + panel * kPanel;
    sum = L::add(sum, L::load(product.matrix->bias.data() + panel * kPanel));
    if (product.then == Then::activate) sum = activated(sum, product.activation);
    if (product.then == Then::add) sum = L::add(L::load(out), sum);
    if (product.then == Then::gate) sum = L::multiply(L::load(out), sum);
    L::store(out, sum);
  }

  // Where some rows stand at one input. Three rows share a pointer, for a processor adds once or twice the stride by
  // itself, and a pointer for each row would not fit its registers.
  template <class T, int ROWS>
  struct Walk {
    const T* of[(ROWS + 2) / 3];
    std::int64_t stride;

    Walk(const T* first, std::int64_t stride) : stride(stride) {
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; r += 3) of[r / 3] = first + r * stride;
    }
    const T* at(int row) const { return of[row / 3] + row % 3 * stride; }
    void go_on(int inputs) {
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; r += 3) of[r / 3] += inputs;
    }
  };

  // ROWS rows times PANELS panels, all inputs.
  template <int ROWS, int PANELS>
  static void float_tile(const Product& product, int row, int panel) {
    const Matrix& matrix = *product.matrix;
    const int stride = product.rows.stride;
    Walk<float, ROWS> inputs(product.rows.floats + static_cast<std::int64_t>(row) * stride, stride);
    F sums[PANELS][ROWS];
    const float* weights[PANELS];
#pragma GCC unroll 16
    for (int p = 0; p < PANELS; ++p) {
      weights[p] = reinterpret_cast<const float*>(matrix.panel(panel + p));
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; ++r) sums[p][r] = L::all(0.0f);
    }
    for (int k = 0; k < matrix.inputs; ++k, inputs.go_on(1)) {
#pragma GCC unroll 16
      for (int p = 0; p < PANELS; ++p) {
        const F w = L::load(weights[p] + k * kPanel);
#pragma GCC unroll 16
        for (int r = 0; r < ROWS; ++r) L::add_product(sums[p][r], inputs.at(r), w);
      }
    }
#pragma GCC unroll 16
    for (int p = 0; p < PANELS; ++p) {
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; ++r) finish(product, row + r, panel + p, sums[p][r]);
    }
  }

  template <int ROWS, int PANELS>
  static void pair_tile(const Product& product, int row, int panel) {
    const Matrix& matrix = *product.matrix;
    const int stride = product.rows.stride;
    Walk<float, ROWS> inputs(product.rows.floats + static_cast<std::int64_t>(row) * stride, stride);
    F sums[PANELS][ROWS];
    const std::uint16_t* weights[PANELS];
#pragma GCC unroll 16
    for (int p = 0; p < PANELS; ++p) {
      weights[p] = reinterpret_cast<const std::uint16_t*>(matrix.panel(panel + p));
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; ++r) sums[p][r] = L::all(0.0f);
    }
    for (int k = 0; k < matrix.inputs; k += 2, inputs.go_on(2)) {
#pragma GCC unroll 16
      for (int p = 0; p < PANELS; ++p) {
        F first;
        F second;
        L::load_pairs(weights[p] + k * kPanel, first, second);
#pragma GCC unroll 16
        for (int r = 0; r < ROWS; ++r) {
          L::add_product(sums[p][r], inputs.at(r), first);
          L::add_product(sums[p][r], inputs.at(r) + 1, second);
        }
      }
    }
#pragma GCC unroll 16
    for (int p = 0; p < PANELS; ++p) {
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; ++r) finish(product, row + r, panel + p, sums[p][r]);
    }
  }

  template <int ROWS, int PANELS>
  static void byte_tile(const Product& product, int row, int panel) {
    const Matrix& matrix = *product.matrix;
    const int stride = product.rows.stride;
    Walk<std::int8_t, ROWS> inputs(product.rows.bytes + static_cast<std::int64_t>(row) * stride, stride);
    I sums[PANELS][ROWS];
    const std::uint8_t* weights[PANELS];
#pragma GCC unroll 16
    for (int p = 0; p < PANELS; ++p) {
      weights[p] = matrix.panel(panel + p);
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; ++r) sums[p][r] = L::zeros();
    }
    for (int k = 0; k < matrix.inputs; k += 4, inputs.go_on(4)) {
      W w[PANELS];
#pragma GCC unroll 16
      for (int p = 0; p < PANELS; ++p) {
        w[p] = L::load_weights(weights[p] + k * kPanel);
        if constexpr (ROWS <= kStreaming) __builtin_prefetch(weights[p] + k * kPanel + kAhead);
      }
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 16
        for (int p = 0; p < PANELS; ++p) L::add_dot(sums[p][r], w[p], inputs.at(r));
      }
    }
    I whole[PANELS][ROWS];  // these in memory, so that the sums above are in registers
#pragma GCC unroll 16
    for (int p = 0; p < PANELS; ++p) {
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; ++r) whole[p][r] = sums[p][r];
    }
    for (int p = 0; p < PANELS; ++p) {
      for (int r = 0; r < ROWS; ++r) finish(product, row + r, panel + p, scaled_bytes(product, panel + p, row + r, whole[p][r]));
    }
  }

  static F scaled_bytes(const Product& product, int panel, int row, I sums) {
    if constexpr (L::kShift != 0) sums = L::subtract_all(sums, L::kShift * sum_of_bytes(product.rows, row));
    const F scale = L::load(product.matrix->scales.data() + panel * kPanel);
    return L::multiply(L::to_floats(sums), L::multiply(scale, L::all(product.rows.scales[row])));
  }

  static std::int32_t sum_of_bytes(const Rows& rows, int row) {
    const int groups = rows.stride / kGroup;
    const std::int32_t* eightfold = rows.group_sums + static_cast<std::int64_t>(row) * groups;
    std::int32_t sum = 0;
    for (int group = 0; group < groups; ++group) sum += eightfold[group];
    return sum / 8;
  }

  template <int ROWS, int PANELS>
  static void nibble_tile(const Product& product, int row, int panel) {
    const Matrix& matrix = *product.matrix;
    const int stride = product.rows.stride;
    const int groups = padded(matrix.inputs, kGroup) / kGroup;
    Walk<std::int8_t, ROWS> inputs(product.rows.bytes + static_cast<std::int64_t>(row) * stride, stride);
    const std::int32_t* sums_of = product.rows.group_sums + static_cast<std::int64_t>(row) * (stride / kGroup);
    F sums[PANELS][ROWS];
#pragma GCC unroll 16
    for (int p = 0; p < PANELS; ++p) {
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; ++r) sums[p][r] = L::all(0.0f);
    }
    for (int group = 0; group < groups; ++group, inputs.go_on(kGroup)) {
#pragma GCC unroll 16
      for (int p = 0; p < PANELS; ++p) {
        const std::uint8_t* weights = matrix.panel(panel + p) + static_cast<std::size_t>(group) * kGroupBytes;
        S narrow[ROWS];
#pragma GCC unroll 16
        for (int r = 0; r < ROWS; ++r) narrow[r] = L::narrow_zeros();
#pragma GCC unroll 4
        for (int step = 0; step < 4; ++step) {
          W low;
          W high;
          L::load_nibbles(weights + step * 64, low, high);
          if constexpr (ROWS <= kStreaming) __builtin_prefetch(weights + step * 64 + kAhead);
#pragma GCC unroll 16
          for (int r = 0; r < ROWS; ++r) {
            const std::int8_t* here = inputs.at(r) + step * 4;
            L::add_narrow(narrow[r], low, here);
            L::add_narrow(narrow[r], high, here + 16);
          }
        }
        const F scale = L::load_half(reinterpret_cast<const std::uint16_t*>(weights + kPanel * kGroup / 2));
#pragma GCC unroll 16
        for (int r = 0; r < ROWS; ++r) {
          const I whole = L::subtract_all(L::widened(narrow[r]), sums_of[r * (stride / kGroup) + group]);
          sums[p][r] = L::multiply_add(L::to_floats(whole), scale, sums[p][r]);
        }
      }
    }
#pragma GCC unroll 16
    for (int p = 0; p < PANELS; ++p) {
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; ++r) {
        const float scale = product.rows.scales[row + r] * matrix.unit;
        finish(product, row + r, panel + p, L::multiply(sums[p][r], L::all(scale)));
      }
    }
  }

  template <Width WIDTH, int ROWS, int PANELS>
  static void tile(const Product& product, int row, int panel) {
    if constexpr (WIDTH == Width::f32) float_tile<ROWS, PANELS>(product, row, panel);
    if constexpr (WIDTH == Width::bf16) pair_tile<ROWS, PANELS>(product, row, panel);
    if constexpr (WIDTH == Width::s8) byte_tile<ROWS, PANELS>(product, row, panel);
    if constexpr (WIDTH == Width::s4) nibble_tile<ROWS, PANELS>(product, row, panel);
  }

  // The last rows, fewer than a tile's.
  template <Width WIDTH, int ROWS>
  static void rest(const Product& product, int row, int panel, int left) {
    if constexpr (ROWS > 0) {
      if (left == ROWS) {
        tile<WIDTH, ROWS, 1>(product, row, panel);
      } else {
        rest<WIDTH, ROWS - 1>(product, row, panel, left);
      }
    }
  }

  // Whether this set of lanes has inner loops of its own for several rows.
  static constexpr bool kOwnLoops = requires { typename L::Loops; };

  // A thread's own room for numbers laid out anew.
  template <class T>
  static T* room(std::size_t count) {
    thread_local std::vector<T> numbers;
    if (numbers.size() < count) numbers.resize(count);
    return numbers.data();
  }

  // Some inputs of a panel, for all tiles of rows in turn (see tiles.h).
  struct Part {
    int panel;
    int first;  // inputs first .. last - 1
    int last;
    const void* weights;  // theirs, as the loops take them
    float* sums;          // (rows, kPanel): what the parts before it gave, as floats or integers
  };

  // The weights of a part as the loops take them: 16 bits as 32, 8 as they are, 4 as a byte each.
  template <Width WIDTH>
  static const void* laid_out(const Matrix& matrix, const Part& part) {
    const std::uint8_t* panel = matrix.panel(part.panel);
    const std::size_t count = static_cast<std::size_t>(padded(part.last - part.first, kGroup)) * kPanel;
    if constexpr (WIDTH == Width::bf16) {
      float* floats = room<float>(count);
      for (int k = part.first; k < std::min(part.last, matrix.inputs); k += 2) {
        F first;
        F second;
        L::load_pairs(reinterpret_cast<const std::uint16_t*>(panel) + static_cast<std::size_t>(k) * kPanel, first, second);
        L::store(floats + (k - part.first) * kPanel, first);
        L::store(floats + (k + 1 - part.first) * kPanel, second);
      }
      return floats;
    }
    if constexpr (WIDTH == Width::s8) return panel + static_cast<std::size_t>(part.first) * kPanel;
    constexpr int half = kGroup * kPanel / 2;
    std::uint8_t* bytes = room<std::uint8_t>(count);
    std::uint8_t* out = bytes;
    for (int group = part.first / kGroup; group * kGroup < part.last; ++group, out += 2 * half) {
      const std::uint8_t* packed = panel + static_cast<std::size_t>(group) * kGroupBytes;
      for (int at = 0; at < half; ++at) out[at] = packed[at] & 15;
      for (int at = 0; at < half; ++at) out[at + half] = packed[at] >> 4;
    }
    return bytes;
  }

  // A tile of ROWS rows times a part of a panel, by the inner loops of these lanes.
  template <Width WIDTH, int ROWS>
  static void own_tile(const Product& product, const Part& part, int tile) {
    using Loops = typename L::Loops;
    using Sums = std::conditional_t<WIDTH == Width::s8, typename Loops::OfIntegers, typename Loops::OfFloats>;
    using Whole = std::conditional_t<WIDTH == Width::s8, I, F>;
    const int row = tile * tile_rows(WIDTH, product.rows.count);
    const int count = part.last - part.first;
    const Unit* inputs = product.rows.tiles + units_at(WIDTH, product.rows.count, tile, part.first, count);
    typename Sums::Register sums[ROWS][2] = {};
    if (part.first > 0) {
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; ++r) Loops::load(part.sums + (row + r) * kPanel, sums[r]);
    }
    if constexpr (WIDTH == Width::bf16) {
      const int last = std::min(part.last, padded(product.matrix->inputs, 2));
      Loops::floats(static_cast<const float*>(part.weights), inputs, last - part.first, sums);
    } else if constexpr (WIDTH == Width::s8) {
      const std::uint8_t* calm = product.matrix->calm_groups(part.panel) + part.first / kGroup;
      Loops::bytes(static_cast<const std::uint8_t*>(part.weights), calm, inputs, count / kGroup, sums);
    } else {
      own_groups(product, part, row, inputs, sums);
    }
    if (part.last < product.matrix->inputs) {
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; ++r) Loops::store(part.sums + (row + r) * kPanel, sums[r]);
      return;
    }
    for (int r = 0; r < ROWS; ++r) {
      const Whole whole = {sums[r][0], sums[r][1]};
      finish(product, row + r, part.panel, scaled<WIDTH>(product, part.panel, row + r, whole));
    }
  }

  template <Width WIDTH, class T>
  static F scaled(const Product& product, int panel, int row, T sums) {
    if constexpr (WIDTH == Width::s8) {
      return scaled_bytes(product, panel, row, sums);
    } else if constexpr (WIDTH == Width::s4) {
      return L::multiply(sums, L::all(product.rows.scales[row] * product.matrix->unit));
    } else {
      return sums;
    }
  }

  template <int ROWS, class Register>
  static void own_groups(const Product& product, const Part& part, int row, const Unit* inputs, Register (&sums)[ROWS][2]) {
    using Loops = typename L::Loops;
    const Rows& rows = product.rows;
    const int groups_of_row = rows.stride / kGroup;
    const std::int32_t* sums_of = rows.group_sums + static_cast<std::int64_t>(row) * groups_of_row;
    const std::uint8_t* scales = product.matrix->panel(part.panel) + kPanel * kGroup / 2;
    const auto* weights = static_cast<const std::uint8_t*>(part.weights);
    for (int group = part.first / kGroup; group * kGroup < part.last; ++group, weights += kGroup * kPanel, inputs += kGroup / 4 * ROWS) {
      typename Loops::OfIntegers::Register narrow[ROWS][2];
      Loops::group(weights, inputs, narrow);
      const F scale = L::load_half(reinterpret_cast<const std::uint16_t*>(scales + static_cast<std::size_t>(group) * kGroupBytes));
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; ++r) {
        const I wide = L::widened({narrow[r][0], narrow[r][1]});
        const F whole = L::to_floats(L::subtract_all(wide, sums_of[r * groups_of_row + group]));
        const F sum = L::multiply_add(whole, scale, {sums[r][0], sums[r][1]});
        sums[r][0] = sum.low;
        sums[r][1] = sum.high;
      }
    }
  }

  template <Width WIDTH, int ROWS>
  static void own_rows(const Product& product, const Part& part, int tile, int rows) {
    if constexpr (ROWS > 0) {
      if (rows == ROWS) return own_tile<WIDTH, ROWS>(product, part, tile);
      own_rows<WIDTH, ROWS - 1>(product, part, tile, rows);
    }
  }

  template <Width WIDTH>
  static void own_panel(const Product& product, int panel) {
    const int inputs = padded(product.matrix->inputs, kGroup);
    const int count = product.rows.count;
    const int together = inputs_of_part(WIDTH);
    for (int first = 0; first < inputs; first += together) {
      Part part{panel, first, std::min(inputs, first + together), nullptr, nullptr};
      part.weights = laid_out<WIDTH>(*product.matrix, part);
      if (inputs > together) part.sums = &room<Sum>(static_cast<std::size_t>(count) * kPanel)->value;
      const int height = tile_rows(WIDTH, count);
      for (int tile = 0; tile < tiles_of(WIDTH, count); ++tile) {
        own_rows<WIDTH, most_tile_rows(WIDTH)>(product, part, tile, std::min(height, count - tile * height));
      }
    }
  }
  struct Sum {
    float value;
  };

  template <Width WIDTH>
  static void multiply_as(const Product& product, int first, int last) {
    constexpr int most = WIDTH == Width::f32 || WIDTH == Width::bf16 ? L::kFloatRows : L::kByteRows;
    const int count = product.rows.count;
    int panel = first;
    if (count == 1) {  // one row: several panels at once hide the latency of a chain of sums
      constexpr int together = WIDTH == Width::s4 || WIDTH == Width::s8 ? 1 : 4;
      for (; panel + together <= last; panel += together) tile<WIDTH, 1, together>(product, 0, panel);
    }
    if constexpr (kOwnLoops && WIDTH != Width::f32) {
      if (product.rows.tiles != nullptr) {
        for (; panel < last; ++panel) own_panel<WIDTH>(product, panel);
      }
    }
    for (; panel < last; ++panel) {
      int row = 0;
      for (; row + most <= count; row += most) tile<WIDTH, most, 1>(product, row, panel);
      rest<WIDTH, most - 1>(product, row, panel, count - row);
    }
  }

  static void multiply(const Product& product, int first, int last) {
    switch (product.matrix->width) {
      case Width::f32:
        return multiply_as<Width::f32>(product, first, last);
      case Width::bf16:
        return multiply_as<Width::bf16>(product, first, last);
      case Width::s8:
        return multiply_as<Width::s8>(product, first, last);
      case Width::s4:
        return multiply_as<Width::s4>(product, first, last);
    }
  }

  static void quantise(const float* floats, int count, int stride, std::int8_t* bytes, float* scales, std::int32_t* sums) {
    for (int row = 0; row < count; ++row, floats += stride, bytes += stride) {
      F most = L::all(0.0f);
      for (int k = 0; k < stride; k += kPanel) most = L::greater(most, L::size(L::load(floats + k)));
      const float largest = L::largest(most);
      scales[row] = largest / 127.0f;
      const float inverse = largest > 1e-30f ? 127.0f / largest : 0.0f;
      for (int k = 0; k < stride; k += kPanel) {
        L::store_bytes(bytes + k, L::nearest(L::multiply(L::load(floats + k), L::all(inverse))));
      }
      for (int k = 0; k < stride; k += kGroup) {
        std::int32_t sum = 0;
        for (int i = 0; i < kGroup; ++i) sum += bytes[k + i];
        *sums++ = 8 * sum;
      }
    }
  }

  // The last lanes past the width read as `fill`.
  static F load_row(const float* row, int at, int width, float fill) {
    if (at + kPanel <= width) return L::load(row + at);
    float last[kPanel];
    for (int i = 0; i < kPanel; ++i) last[i] = at + i < width ? row[at + i] : fill;
    return L::load(last);
  }

  static void normalise(const float* in, const float* weight, const float* bias, float epsilon, int width, int stride,
                        float* out) {
    F sum = L::all(0.0f);
    for (int k = 0; k < width; k += kPanel) sum = L::add(sum, load_row(in, k, width, 0.0f));
    const float mean = L::sum(sum) / static_cast<float>(width);
    F squares = L::all(0.0f);
    for (int k = 0; k < width; k += kPanel) {
      const F apart = L::subtract(load_row(in, k, width, mean), L::all(mean));
      squares = L::multiply_add(apart, apart, squares);
    }
    const float inverse = 1.0f / std::sqrt(L::sum(squares) / static_cast<float>(width) + epsilon);
    for (int k = 0; k < stride; k += kPanel) {
      if (k >= width) {
        L::store(out + k, L::all(0.0f));
        continue;
      }
      const F x = L::multiply(L::subtract(load_row(in, k, width, mean), L::all(mean)), L::all(inverse));
      L::store(out + k, L::multiply_add(x, load_row(weight, k, width, 0.0f), load_row(bias, k, width, 0.0f)));
    }
  }

  static F load_state(const float* from) { return L::load(from); }
  static F load_state(const std::uint16_t* from) { return L::load_half(from); }

  // COUNT queries, of which the last sees `seen` keys, each before it one less where causal.
  template <class T, int COUNT>
  static void attend_tile(const Attention& attention, int query, int seen) {
    const int width = attention.head_width;
    const int wide = padded(width, kPanel);
    const int blocks = padded(seen, kPanel) / kPanel;
    const std::int64_t room = static_cast<std::int64_t>(blocks) * kPanel;
    float* scores = attention.scratch;
    float* scaled = scores + COUNT * room;  // (width, COUNT)
    float inverse[COUNT];
    for (int d = 0; d < width; ++d) {
      for (int i = 0; i < COUNT; ++i) {
        scaled[d * COUNT + i] = attention.queries[(query + i) * attention.query_stride + d] * attention.scale;
      }
    }
    int block = 0;
    for (; COUNT == 1 && block + kTogether <= blocks; block += kTogether) {
      fetch<T>(attention.keys, block + kTogether, std::min(blocks, block + 2 * kTogether), width * kPanel);
      score<T, COUNT, kTogether>(attention.keys + block, scaled, width, scores + block * kPanel, room);
    }
    for (; block < blocks; ++block) score<T, COUNT, 1>(attention.keys + block, scaled, width, scores + block * kPanel, room);
    if (attention.bias != nullptr) {
      for (int i = 0; i < COUNT; ++i) {
        const int position = attention.position + query + i;
        for (int at = 0; at < seen; ++at) scores[i * room + at] += attention.bias[std::clamp(at - position, -kFarthest, kFarthest)];
      }
    }
    for (int i = 0; i < COUNT; ++i) {
      const int limit = attention.causal ? seen - (COUNT - 1 - i) : seen;
      inverse[i] = weigh(scores + i * room, limit, static_cast<int>(room));
    }
    int d = 0;
    for (; COUNT == 1 && d + kTogether * kPanel <= wide; d += kTogether * kPanel) {
      gather<T, COUNT, kTogether>(attention, query, seen, d, scores, inverse);
    }
    for (; d < wide; d += kPanel) gather<T, COUNT, 1>(attention, query, seen, d, scores, inverse);
  }

  // One query has a chain of sums for each block or panel, too few to keep the processor busy; so several run together.
  static constexpr int kTogether = 4;

  template <class T>
  static void fetch(const void* const* blocks, int first, int last, int numbers) {
    for (int block = first; block < last; ++block) {
      const char* from = static_cast<const char*>(blocks[block]);
      for (int at = 0; at < numbers * static_cast<int>(sizeof(T)); at += 64) __builtin_prefetch(from + at);
    }
  }

  // COUNT queries, scaled (width, COUNT), times the keys of BLOCKS blocks.
  template <class T, int COUNT, int BLOCKS>
  static void score(const void* const* keys, const float* scaled, int width, float* scores, std::int64_t room) {
    F sums[BLOCKS][COUNT];
#pragma GCC unroll 8
    for (int b = 0; b < BLOCKS; ++b) {
#pragma GCC unroll 8
      for (int i = 0; i < COUNT; ++i) sums[b][i] = L::all(0.0f);
    }
    for (int d = 0; d < width; ++d) {
#pragma GCC unroll 8
      for (int b = 0; b < BLOCKS; ++b) {
        const F key = load_state(static_cast<const T*>(keys[b]) + d * kPanel);
#pragma GCC unroll 8
        for (int i = 0; i < COUNT; ++i) sums[b][i] = L::multiply_add(L::all(scaled[d * COUNT + i]), key, sums[b][i]);
      }
    }
#pragma GCC unroll 8
    for (int b = 0; b < BLOCKS; ++b) {
#pragma GCC unroll 8
      for (int i = 0; i < COUNT; ++i) L::store(scores + i * room + b * kPanel, sums[b][i]);
    }
  }

  // The weighted sums of PANELS panels of the values, from number d of the head on.
  template <class T, int COUNT, int PANELS>
  static void gather(const Attention& attention, int query, int seen, int d, const float* scores, const float* inverse) {
    const int width = attention.head_width;
    const int wide = padded(width, kPanel);
    const int blocks = padded(seen, kPanel) / kPanel;
    const std::int64_t room = static_cast<std::int64_t>(blocks) * kPanel;
    F sums[PANELS][COUNT];
#pragma GCC unroll 8
    for (int p = 0; p < PANELS; ++p) {
#pragma GCC unroll 8
      for (int i = 0; i < COUNT; ++i) sums[p][i] = L::all(0.0f);
    }
    for (int block = 0; block < blocks; ++block) {
      if (COUNT == 1) fetch<T>(attention.values, block + kTogether, std::min(blocks, block + kTogether + 1), wide * kPanel);
      const T* values = static_cast<const T*>(attention.values[block]) + d;
      const int here = std::min(kPanel, seen - block * kPanel);
      for (int token = 0; token < here; ++token) {
#pragma GCC unroll 8
        for (int p = 0; p < PANELS; ++p) {
          const F value = load_state(values + token * wide + p * kPanel);
#pragma GCC unroll 8
          for (int i = 0; i < COUNT; ++i) {
            sums[p][i] = L::multiply_add(L::all(scores[i * room + block * kPanel + token]), value, sums[p][i]);
          }
        }
      }
    }
    for (int p = 0; p < PANELS; ++p) {
      for (int i = 0; i < COUNT; ++i) {
        float whole[kPanel];
        L::store(whole, L::multiply(sums[p][i], L::all(inverse[i])));
        const int at = d + p * kPanel;
        std::memcpy(attention.out + (query + i) * attention.out_stride + at, whole, sizeof(float) * std::clamp(width - at, 0, kPanel));
      }
    }
  }

  // Scores to weights that are not yet divided by their sum, of which it gives the inverse; zero past `limit`.
  static float weigh(float* scores, int limit, int room) {
    for (int at = limit; at < room; ++at) scores[at] = -INFINITY;
    F most = L::all(-INFINITY);
    for (int at = 0; at < limit; at += kPanel) most = L::greater(most, L::load(scores + at));
    const float largest = L::largest(most);
    F sum = L::all(0.0f);
    for (int at = 0; at < limit; at += kPanel) {
      const F weight = exponential(L::subtract(L::load(scores + at), L::all(largest)));
      L::store(scores + at, weight);
      for (int past = limit; past < std::min(at + kPanel, room); ++past) scores[past] = 0.0f;
      sum = L::add(sum, L::load(scores + at));
    }
    for (int at = limit; at < room; ++at) scores[at] = 0.0f;
    return 1.0f / L::sum(sum);
  }

  template <class T>
  static void attend(const Attention& attention) {
    int query = 0;
    const auto seen = [&](int last) { return attention.first_seen + (attention.causal ? last : 0); };
    static_assert(L::kQueries <= kQueryTile);
    for (; query + L::kQueries <= attention.queries_count; query += L::kQueries) {
      attend_tile<T, L::kQueries>(attention, query, seen(query + L::kQueries - 1));
    }
    for (; query < attention.queries_count; ++query) attend_tile<T, 1>(attention, query, seen(query));
  }

  static const Kernels* table() {
    static constexpr Kernels kernels = {L::name, kOwnLoops, multiply, quantise, normalise, attend<std::uint16_t>, attend<float>};
    return &kernels;
  }
};

}  // namespace
}  // namespace headway
