#include "decoder_parts.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "half.h"
#include "team.h"

namespace headway {
namespace {

constexpr int kRowsATask = 4;
constexpr int kLaidOutAlone = 32;  // rows from which several threads lay them out

template <class T>
T stored(float value);
template <>
float stored<float>(float value) {
  return value;
}
template <>
std::uint16_t stored<std::uint16_t>(float value) {
  return to_half(std::clamp(value, -65504.0f, 65504.0f));
}

template <class T>
void store(const PageShape& shape, std::byte* page, int layer, int head, int slot, const float* key, const float* value) {
  const int width = shape.head_width;
  T* keys = reinterpret_cast<T*>(page + shape.keys_at(layer, head)) + slot;
  T* values = reinterpret_cast<T*>(page + shape.values_at(layer, head)) + slot * padded(width, kPanel);
  for (int d = 0; d < width; ++d) {
    keys[d * kPanel] = stored<T>(key[head * width + d]);
    values[d] = stored<T>(value[head * width + d]);
  }
}

}  // namespace

const Tensor& need(const Tensors& tensors, const std::string& name, std::int64_t rows, std::int64_t columns) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw std::invalid_argument("the weights have no " + name);
  if (found->second.rows != rows || found->second.columns != columns) {
    throw std::invalid_argument(name + " must be of shape (" + std::to_string(rows) + ", " + std::to_string(columns) +
                                "), but is (" + std::to_string(found->second.rows) + ", " +
                                std::to_string(found->second.columns) + ")");
  }
  return found->second;
}

Matrix linear(const Tensors& tensors, const std::string& name, int outputs, int inputs, Width width, bool bias) {
  const Tensor& weight = need(tensors, name + ".weight", outputs, inputs);
  const float* added = bias ? need(tensors, name + ".bias", 1, outputs).data : nullptr;
  try {
    return pack({weight.data, inputs, 1}, added, outputs, inputs, width);
  } catch (const std::invalid_argument&) {
    throw std::invalid_argument(name + " must hold finite numbers alone, but has one that is NaN or infinite");
  }
}

Matrix linear(const Weights& weights, const std::string& name, int outputs, int inputs, Width width, bool bias) {
  return weights.matrix(name, outputs, inputs, width, [&](const Tensors& tensors) {
    return linear(tensors, name, outputs, inputs, width, bias);
  });
}

std::vector<float> finite(const Weights& weights, const std::string& name, std::int64_t rows, std::int64_t columns) {
  if (weights.packed != nullptr) return weights.packed->numbers(name, rows * columns);
  const Tensor& found = need(weights.tensors, name, rows, columns);
  std::vector<float> values(found.data, found.data + rows * columns);
  if (!std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); })) {
    throw std::invalid_argument(name + " must hold finite numbers alone, but has one that is NaN or infinite");
  }
  if (weights.kept != nullptr) weights.kept->keep(name, values);
  return values;
}

Norm norm(const Weights& weights, const std::string& name, int width, float epsilon) {
  return {finite(weights, name + ".weight", 1, width), finite(weights, name + ".bias", 1, width), epsilon};
}

void Floats::shape(int count, int width) {
  if (width != width_) values_.clear();  // the padding stood elsewhere
  const int stride = padded(width, kGroup);
  width_ = width;
  stride_ = stride;
  const std::size_t wanted = static_cast<std::size_t>(count) * stride;
  if (values_.size() < wanted) values_.resize(wanted, 0.0f);
}

void Computing::multiply(const Matrix& matrix, const Floats& rows, int count, float* out, std::int64_t out_stride,
                         Then then, Activation activation) {
  Product product{&matrix, {}, out, out_stride, then, activation};
  product.rows.floats = rows.row(0);
  product.rows.count = count;
  product.rows.stride = rows.stride();
  if (matrix.width == Width::s8 || matrix.width == Width::s4) quantise(rows, count, product.rows);
  if (kernels.tiles && in_tiles(matrix.width, count)) lay_out(matrix, product.rows);
  // Some eight tasks a thread, each of whole fours of panels.
  const int most = std::max(1, matrix.panels / (threads * 8));
  const int panels = std::clamp(padded(most, 4), 4, 32);
  in_parallel(threads, (matrix.panels + panels - 1) / panels, [&](int task) {
    kernels.multiply(product, task * panels, std::min(matrix.panels, (task + 1) * panels));
  });
}

void Computing::quantise(const Floats& rows, int count, Rows& made) {
  const int stride = rows.stride();
  const int groups = stride / kGroup;
  if (bytes_.size() < static_cast<std::size_t>(count) * stride) bytes_.resize(static_cast<std::size_t>(count) * stride);
  if (scales_.size() < static_cast<std::size_t>(count)) scales_.resize(count);
  if (sums_.size() < static_cast<std::size_t>(count) * groups) sums_.resize(static_cast<std::size_t>(count) * groups);
  in_parallel(threads, (count + kRowsATask - 1) / kRowsATask, [&](int task) {
    const int first = task * kRowsATask;
    kernels.quantise(rows.row(first), std::min(kRowsATask, count - first), stride,
                     bytes_.data() + static_cast<std::size_t>(first) * stride, scales_.data() + first,
                     sums_.data() + static_cast<std::size_t>(first) * groups);
  });
  made.floats = nullptr;
  made.bytes = bytes_.data();
  made.scales = scales_.data();
  made.group_sums = sums_.data();
}

void Computing::lay_out(const Matrix& matrix, Rows& rows) {
  const Width width = matrix.width;
  const int inputs = padded(matrix.inputs, kGroup);
  const std::size_t units = static_cast<std::size_t>(units_of(width, inputs)) * rows.count;
  if (units_.size() < units) units_.resize(units);
  in_parallel(rows.count < kLaidOutAlone ? 1 : threads, tiles_of(width, rows.count), [&](int tile) {
    const int row = tile * tile_rows(width, rows.count);
    const int height = std::min(tile_rows(width, rows.count), rows.count - row);
    for (int first = 0; first < inputs; first += inputs_of_part(width)) {
      const int count = std::min(inputs_of_part(width), inputs - first);
      Unit* out = units_.data() + units_at(width, rows.count, tile, first, count);
      for (int r = 0; r < height; ++r) {
        const std::int64_t from = static_cast<std::int64_t>(row + r) * rows.stride + first;
        for (int unit = 0; unit < units_of(width, count); ++unit) {
          const void* in = width == Width::bf16 ? static_cast<const void*>(rows.floats + from + unit) : rows.bytes + from + unit * 4;
          std::memcpy(&out[unit * height + r], in, sizeof(Unit));
        }
      }
    }
  });
  rows.tiles = units_.data();
}

void Computing::normalise(const Norm& norm, const Floats& in, int count, int width, Floats& out) {
  out.shape(count, width);
  in_parallel(threads, (count + kRowsATask - 1) / kRowsATask, [&](int task) {
    for (int at = task * kRowsATask; at < std::min(count, (task + 1) * kRowsATask); ++at) {
      kernels.normalise(in.row(at), norm.weight.data(), norm.bias.data(), norm.epsilon, width, out.stride(), out.row(at));
    }
  });
}

void store_token(const PageShape& shape, std::byte* page, int layer, int head, int slot, const float* key, const float* value) {
  if (shape.half) {
    store<std::uint16_t>(shape, page, layer, head, slot, key, value);
  } else {
    store<float>(shape, page, layer, head, slot, key, value);
  }
}

AttentionRoom& AttentionRoom::here(const PageShape& shape, int pages) {
  thread_local AttentionRoom room;
  room.keys_.resize(pages);
  room.values_.resize(pages);
  room.scratch_.resize(static_cast<std::size_t>(kQueryTile) * (pages * kPanel + padded(shape.head_width, kPanel)));
  return room;
}

void AttentionRoom::point(int at, const std::byte* page, const PageShape& shape, int layer, int head) {
  keys_[at] = page + shape.keys_at(layer, head);
  values_[at] = page + shape.values_at(layer, head);
}

void AttentionRoom::run(const Kernels& kernels, const PageShape& shape, Attention& attention) {
  attention.keys = keys_.data();
  attention.values = values_.data();
  attention.head_width = shape.head_width;
  attention.scratch = scratch_.data();
  (shape.half ? kernels.attend_half : kernels.attend_float)(attention);
}

void attend(Computing& computing, const State& state, int layer, std::span<const Segment> segments, const Floats& qkv,
            float scale, Floats& out, const float* bias) {
  const PageShape& shape = state.shape();
  const int model = shape.heads * shape.head_width;
  const int tasks = static_cast<int>(segments.size()) * shape.heads;
  in_parallel(computing.threads, tasks, [&](int task) {
    const Segment& segment = segments[task / shape.heads];
    const int head = task % shape.heads;
    const Row& row = state.rows()[segment.row];
    for (int token = 0; token < segment.count; ++token) {
      const int position = segment.first + token;
      const float* key = qkv.row(segment.at + token) + model;
      store_token(shape, row.pages[position / kPanel].get(), layer, head, position % kPanel, key, key + model);
    }
    if (segment.skip == segment.count) return;
    const int pages = padded(segment.first + segment.count, kPanel) / kPanel;
    AttentionRoom& room = AttentionRoom::here(shape, pages);
    for (int page = 0; page < pages; ++page) room.point(page, row.pages[page].get(), shape, layer, head);
    Attention attention;
    attention.queries = qkv.row(segment.at + segment.skip) + head * shape.head_width;
    attention.query_stride = qkv.stride();
    attention.out = out.row(segment.at + segment.skip) + head * shape.head_width;
    attention.out_stride = out.stride();
    attention.first_seen = segment.first + segment.skip + 1;
    attention.bias = bias_of(bias, head);
    attention.position = segment.first + segment.skip;
    attention.queries_count = segment.count - segment.skip;
    attention.scale = scale;
    room.run(computing.kernels, shape, attention);
  });
}

}  // namespace headway
