#include "gpt2.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "team.h"

namespace headway {
namespace {

constexpr int kSlice = 256;  // tokens computed together; no number depends on it

// The step's tokens in slices of at most kSlice.
std::vector<std::vector<Segment>> slices_of(std::span<const std::int64_t> counts, const State& state) {
  std::vector<std::vector<Segment>> slices(1);
  int filled = 0;
  for (int row = 0; row < static_cast<int>(counts.size()); ++row) {
    int column = 0;
    while (column < counts[row]) {
      if (filled == kSlice) {
        slices.emplace_back();
        filled = 0;
      }
      const int count = std::min(kSlice - filled, static_cast<int>(counts[row]) - column);
      slices.back().push_back({row, state.rows()[row].length + column, count, filled, column});
      filled += count;
      column += count;
    }
  }
  return slices;
}

}  // namespace

GPT2::GPT2(const GPT2Sizes& sizes, const Tensors& tensors, Width width, const std::string& kernels)
    : sizes_(sizes), kernels_(choose_kernels(kernels)) {
  const int d = sizes.width;
  embedding_ = linear(tensors, "token_embedding", sizes.vocabulary, d, width, false);
  if (!sizes.tied) output_ = linear(tensors, "output", sizes.vocabulary, d, width, false);
  const Tensor& positions = need(tensors, "position_embedding.weight", sizes.context, d);
  positions_.assign(positions.data, positions.data + positions.rows * positions.columns);
  for (int at = 0; at < sizes.layers; ++at) {
    const std::string name = "blocks." + std::to_string(at) + ".";
    Layer layer;
    layer.before_attention = norm(tensors, name + "attention_norm", d, sizes.epsilon);
    layer.before_feed_forward = norm(tensors, name + "feed_forward_norm", d, sizes.epsilon);
    layer.qkv = linear(tensors, name + "attention.qkv", 3 * d, d, width);
    layer.output = linear(tensors, name + "attention.output", d, d, width);
    layer.expand = linear(tensors, name + "feed_forward.expand", sizes.hidden, d, width);
    layer.contract = linear(tensors, name + "feed_forward.contract", d, sizes.hidden, width);
    layer.scale = sizes.scale_by_head_width ? 1.0f / std::sqrt(static_cast<float>(d / sizes.heads)) : 1.0f;
    if (sizes.scale_by_layer) layer.scale /= static_cast<float>(at + 1);
    layers_.push_back(std::move(layer));
  }
  final_ = norm(tensors, "final_norm", d, sizes.epsilon);
  store_ = std::make_shared<PageStore>(PageShape{sizes.layers, sizes.heads, d / sizes.heads, width != Width::f32});
}

std::size_t GPT2::bytes() const {
  std::size_t all = embedding_.bytes() + output_.bytes() + positions_.size() * sizeof(float);
  for (const Layer& layer : layers_) {
    all += layer.qkv.bytes() + layer.output.bytes() + layer.expand.bytes() + layer.contract.bytes();
  }
  return all;
}

void GPT2::check(std::span<const std::int64_t> ids, int columns, std::span<const std::int64_t> counts,
                 const State& state) const {
  if (counts.size() != state.rows().size()) {
    throw std::invalid_argument("a step takes one count for each of " + std::to_string(state.rows().size()) +
                                " rows, but got " + std::to_string(counts.size()));
  }
  for (std::size_t row = 0; row < counts.size(); ++row) {
    if (counts[row] < 0 || counts[row] > columns) {
      throw std::invalid_argument("a step takes counts in 0.." + std::to_string(columns) + ", but got " +
                                  std::to_string(counts[row]));
    }
    const std::int64_t wanted = state.rows()[row].length + counts[row];
    if (wanted > sizes_.context) {
      throw std::length_error("a row may hold " + std::to_string(sizes_.context) +
                              " tokens (the model's context), but this step would make it " + std::to_string(wanted));
    }
    for (int column = 0; column < counts[row]; ++column) {
      const std::int64_t id = ids[row * columns + column];
      if (id < 0 || id >= sizes_.vocabulary) {
        throw std::invalid_argument("ids must be in 0.." + std::to_string(sizes_.vocabulary - 1) + ", but got " +
                                    std::to_string(id));
      }
    }
  }
}

void GPT2::embed(std::span<const std::int64_t> ids, int columns, std::span<const Segment> slice, Floats& stream) const {
  for (const Segment& segment : slice) {
    for (int token = 0; token < segment.count; ++token) {
      float* out = stream.row(segment.at + token);
      unpack_row(embedding_, static_cast<int>(ids[static_cast<std::int64_t>(segment.row) * columns + segment.column + token]), out);
      const float* position = &positions_[static_cast<std::int64_t>(segment.first + token) * sizes_.width];
      for (int d = 0; d < sizes_.width; ++d) out[d] += position[d];
    }
  }
}

void GPT2::step(std::span<const std::int64_t> ids, int columns, std::span<const std::int64_t> counts, State& state,
                bool every, int threads, float* logits) const {
  check(ids, columns, counts, state);
  state.make_room(counts);
  const int d = sizes_.width;
  const Matrix& output = sizes_.tied ? embedding_ : output_;
  const std::int64_t stride = logits_stride();
  Computing computing(kernels_, threads);
  thread_local Workspace work;
  std::vector<int> last_rows;
  work.last.shape(static_cast<int>(counts.size()), d);
  for (const std::vector<Segment>& slice : slices_of(counts, state)) {
    if (slice.empty()) continue;
    const int count = slice.back().at + slice.back().count;
    work.stream.shape(count, d);
    work.qkv.shape(count, 3 * d);
    work.attended.shape(count, d);
    work.hidden.shape(count, sizes_.hidden);
    embed(ids, columns, slice, work.stream);
    for (std::size_t at = 0; at < layers_.size(); ++at) {
      const Layer& layer = layers_[at];
      computing.normalise(layer.before_attention, work.stream, count, d, work.normal);
      computing.multiply(layer.qkv, work.normal, count, work.qkv.data(), work.qkv.stride());
      attend(computing, state, static_cast<int>(at), slice, work.qkv, layer.scale, work.attended);
      computing.multiply(layer.output, work.attended, count, work.stream.data(), work.stream.stride(), Then::add);
      computing.normalise(layer.before_feed_forward, work.stream, count, d, work.normal);
      computing.multiply(layer.expand, work.normal, count, work.hidden.data(), work.hidden.stride(), Then::activate,
                         sizes_.activation);
      computing.multiply(layer.contract, work.hidden, count, work.stream.data(), work.stream.stride(), Then::add);
    }
    if (every) {
      computing.normalise(final_, work.stream, count, d, work.normal);
      for (const Segment& segment : slice) {
        work.last.shape(segment.count, d);
        std::copy(work.normal.row(segment.at), work.normal.row(segment.at) + static_cast<std::int64_t>(segment.count) * work.normal.stride(),
                  work.last.data());
        const std::int64_t to = (static_cast<std::int64_t>(segment.row) * columns + segment.column) * stride;
        computing.multiply(output, work.last, segment.count, logits + to, stride);
      }
      continue;
    }
    for (const Segment& segment : slice) {
      if (segment.column + segment.count < counts[segment.row]) continue;
      const float* end = work.stream.row(segment.at + segment.count - 1);
      std::copy(end, end + work.last.stride(), work.last.row(static_cast<int>(last_rows.size())));
      last_rows.push_back(segment.row);
    }
  }
  if (!last_rows.empty()) {
    const int count = static_cast<int>(last_rows.size());
    computing.normalise(final_, work.last, count, d, work.normal);
    // Rows of count 0 are the gaps: without one the logits are written where they belong.
    if (count == static_cast<int>(counts.size())) {
      computing.multiply(output, work.normal, count, logits, stride);
    } else {
      thread_local std::vector<float> packed;
      packed.resize(static_cast<std::size_t>(count) * stride);
      computing.multiply(output, work.normal, count, packed.data(), stride);
      for (int at = 0; at < count; ++at) std::copy_n(&packed[at * stride], stride, logits + last_rows[at] * stride);
    }
  }
  state.advance(counts);
}

}  // namespace headway
