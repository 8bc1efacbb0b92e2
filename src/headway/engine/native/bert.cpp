#include "bert.h"

#include <algorithm>
#include <stdexcept>

#include "team.h"

namespace headway {
namespace {

constexpr int kSlice = 256;  // tokens computed together, unless a row is longer; no number depends on it

// One half of the outputs of a linear layer that has two such halves.
Matrix half_of(const Weights& weights, const std::string& name, int half, int outputs, int inputs, Width width) {
  return weights.matrix(name + (half == 0 ? ".first" : ".second"), outputs, inputs, width, [&](const Tensors& tensors) {
    const Tensor& weight = need(tensors, name + ".weight", 2 * outputs, inputs);
    const Tensor& bias = need(tensors, name + ".bias", 1, 2 * outputs);
    const float* from = weight.data + static_cast<std::int64_t>(half) * outputs * inputs;
    const Tensors part{{name + ".weight", {from, outputs, inputs}}, {name + ".bias", {bias.data + half * outputs, 1, outputs}}};
    return linear(part, name, outputs, inputs, width);
  });
}

// The matrix of the words, with the output's bias.
Matrix words_and_bias(const Weights& weights, int vocabulary, int width, Width bits) {
  const std::string name = "token_embedding";
  return weights.matrix(name, vocabulary, width, bits, [&](const Tensors& tensors) {
    const Tensors own{{name + ".weight", need(tensors, name + ".weight", vocabulary, width)},
                      {name + ".bias", need(tensors, "output.bias", 1, vocabulary)}};
    return linear(own, name, vocabulary, width, bits);
  });
}

}  // namespace

BERT::BERT(const BERTSizes& sizes, const Weights& weights, Width width, const std::string& kernels)
    : sizes_(sizes), kernels_(choose_kernels(kernels)) {
  const int d = sizes.width;
  if (sizes.words && sizes.tied) {
    embedding_ = words_and_bias(weights, sizes.vocabulary, d, width);
  } else {
    embedding_ = linear(weights, "token_embedding", sizes.vocabulary, d, width, false);
  }
  if (sizes.words && !sizes.tied) words_ = linear(weights, "output", sizes.vocabulary, d, width);
  if (sizes.learned_positions) positions_ = finite(weights, "position_embedding.weight", sizes.context, d);
  if (sizes.segments > 0) segments_ = finite(weights, "segment_embedding.weight", sizes.segments, d);
  if (sizes.embedding_norm) embedding_norm_ = norm(weights, "embedding_norm", d, sizes.epsilon);
  if (sizes.rotary) angles_ = Angles(d / sizes.heads / 2);
  if (sizes.embedding_projection) projection_ = linear(weights, "embedding_projection", d, d, width);
  for (int at = 0; at < sizes.layers; ++at) {
    const std::string name = "blocks." + std::to_string(at) + ".";
    const std::string expand = name + "feed_forward.expand";
    Layer layer;
    layer.attention_norm = norm(weights, name + "attention_norm", d, sizes.epsilon);
    layer.feed_forward_norm = norm(weights, name + "feed_forward_norm", d, sizes.epsilon);
    layer.qkv = linear(weights, name + "attention.qkv", 3 * d, d, width);
    layer.output = linear(weights, name + "attention.output", d, d, width);
    if (sizes.gated) {
      layer.expand = half_of(weights, expand, 0, sizes.hidden, d, width);
      layer.passed = half_of(weights, expand, 1, sizes.hidden, d, width);
    } else {
      layer.expand = linear(weights, expand, sizes.hidden, d, width);
    }
    layer.contract = linear(weights, name + "feed_forward.contract", d, sizes.hidden, width);
    layer.scale = sizes.scales.at(at);
    layers_.push_back(std::move(layer));
  }
  if (sizes.pre_norm) final_ = norm(weights, "final_norm", d, sizes.epsilon);
  if (sizes.pooler) pooler_ = linear(weights, "pooler.dense", d, d, Width::f32);
  if (sizes.transform) {
    transform_ = linear(weights, "transform.dense", d, d, Width::f32);
    transform_norm_ = norm(weights, "transform.norm", d, sizes.epsilon);
  }
  if (sizes.scores > 0) head_ = linear(weights, "head", sizes.scores, d, Width::f32, sizes.head_bias);
}

std::size_t BERT::bytes() const {
  std::size_t all = (positions_.size() + segments_.size()) * sizeof(float);
  for (const Matrix* matrix : {&embedding_, &projection_, &pooler_, &transform_, &words_, &head_}) all += matrix->bytes();
  for (const Layer& layer : layers_) {
    for (const Matrix* matrix : {&layer.qkv, &layer.output, &layer.expand, &layer.passed, &layer.contract}) {
      all += matrix->bytes();
    }
  }
  return all;
}

void BERT::check(const Texts& texts) const {
  for (std::size_t row = 0; row < texts.lengths.size(); ++row) {
    const std::int64_t length = texts.lengths[row];
    if (length < 1 || length > texts.columns) {
      throw std::invalid_argument("lengths must be in 1.." + std::to_string(texts.columns) + ", but got " +
                                  std::to_string(length) + "\nA row is never empty: give it the tokens that begin and end a text.");
    }
    if (length > sizes_.context) {
      throw std::length_error("at most " + std::to_string(sizes_.context) + " tokens fit the model's context, but got " +
                              std::to_string(length));
    }
    for (int column = 0; column < length; ++column) {
      const std::int64_t at = static_cast<std::int64_t>(row) * texts.columns + column;
      if (texts.ids[at] < 0 || texts.ids[at] >= sizes_.vocabulary) {
        throw std::invalid_argument("ids must be in 0.." + std::to_string(sizes_.vocabulary - 1) + ", but got " +
                                    std::to_string(texts.ids[at]));
      }
      if (sizes_.segments > 0 && !texts.segments.empty() && (texts.segments[at] < 0 || texts.segments[at] >= sizes_.segments)) {
        throw std::invalid_argument("segments must be in 0.." + std::to_string(sizes_.segments - 1) +
                                    " for this model, but got " + std::to_string(texts.segments[at]));
      }
    }
  }
}

std::vector<BERT::Slice> BERT::slices_of(const Texts& texts) const {
  std::vector<Slice> slices;
  for (int row = 0; row < static_cast<int>(texts.lengths.size()); ++row) {
    const int length = static_cast<int>(texts.lengths[row]);
    if (slices.empty() || slices.back().count + length > kSlice) slices.emplace_back();
    Slice& slice = slices.back();
    slice.segments.push_back({row, 0, length, slice.count, 0});
    slice.count += length;
  }
  return slices;
}

void BERT::embed(const Texts& texts, const Slice& slice, Computing& computing, Workspace& work) const {
  const int d = sizes_.width;
  Floats& into = sizes_.embedding_projection ? work.normal : work.stream;
  into.shape(slice.count, d);
  in_parallel(computing.threads, static_cast<int>(slice.segments.size()), [&](int task) {
    const Segment& segment = slice.segments[task];
    for (int token = 0; token < segment.count; ++token) {
      const std::int64_t from = static_cast<std::int64_t>(segment.row) * texts.columns + token;
      float* out = into.row(segment.at + token);
      unpack_row(embedding_, static_cast<int>(texts.ids[from]), out);
      if (!positions_.empty()) {
        const float* added = &positions_[static_cast<std::size_t>(token) * d];
        for (int i = 0; i < d; ++i) out[i] += added[i];
      }
      if (!segments_.empty()) {
        const float* added = &segments_[(texts.segments.empty() ? 0 : texts.segments[from]) * d];
        for (int i = 0; i < d; ++i) out[i] += added[i];
      }
    }
  });
  // A row is normed in place here and below: each number is read before it is written.
  if (sizes_.embedding_norm) computing.normalise(embedding_norm_, into, slice.count, d, into);
  if (sizes_.embedding_projection) {
    work.stream.shape(slice.count, d);
    computing.multiply(projection_, into, slice.count, work.stream.data(), work.stream.stride());
  }
}

void BERT::attend(const Layer& layer, const Slice& slice, std::span<SequenceMemory> memories, Computing& computing,
                  Workspace& work) const {
  const int d = sizes_.width;
  const Floats& read = sizes_.pre_norm ? work.normal : work.stream;
  computing.multiply(layer.qkv, read, slice.count, work.qkv.data(), work.qkv.stride());
  std::vector<SequenceMemory*> filled;
  std::vector<int> at;
  std::vector<Reading> readings;
  for (std::size_t row = 0; row < slice.segments.size(); ++row) {
    const Segment& segment = slice.segments[row];
    filled.push_back(&memories[row]);
    at.push_back(segment.at);
    readings.push_back({&memories[row], segment.at, segment.count, sizes_.causal});
  }
  if (sizes_.rotary) {
    in_parallel(computing.threads, static_cast<int>(slice.segments.size()), [&](int task) {
      thread_local std::vector<float> room;
      const Segment& segment = slice.segments[task];
      for (int token = 0; token < segment.count; ++token) {
        angles_.turn(work.qkv.row(segment.at + token), 2 * sizes_.heads, token, room);  // queries and the keys behind them
      }
    });
  }
  fill(computing, filled, at, work.qkv, d, 2 * d);
  attend_to(computing, readings, work.qkv, layer.scale, work.attended);
  computing.multiply(layer.output, work.attended, slice.count, work.stream.data(), work.stream.stride(), Then::add);
}

void BERT::feed_forward(const Layer& layer, int count, Computing& computing, Workspace& work) const {
  const Floats& read = sizes_.pre_norm ? work.normal : work.stream;
  Floats& hidden = work.hidden;
  computing.multiply(layer.expand, read, count, hidden.data(), hidden.stride(), Then::activate, sizes_.activation);
  if (sizes_.gated) computing.multiply(layer.passed, read, count, hidden.data(), hidden.stride(), Then::gate);
  computing.multiply(layer.contract, hidden, count, work.stream.data(), work.stream.stride(), Then::add);
}

void BERT::encode(const Texts& texts, int threads, float* out) const {
  check(texts);
  const int d = sizes_.width;
  Computing computing(kernels_, threads);
  thread_local Workspace work;
  for (const Slice& slice : slices_of(texts)) {
    const int count = slice.count;
    std::vector<SequenceMemory> memories;
    for (const Segment& segment : slice.segments) {
      memories.emplace_back(sizes_.heads, d / sizes_.heads, embedding_.width != Width::f32, segment.count);
    }
    embed(texts, slice, computing, work);
    work.qkv.shape(count, 3 * d);
    work.attended.shape(count, d);
    work.hidden.shape(count, sizes_.hidden);
    for (const Layer& layer : layers_) {
      if (sizes_.pre_norm) computing.normalise(layer.attention_norm, work.stream, count, d, work.normal);
      attend(layer, slice, memories, computing, work);
      if (!sizes_.pre_norm) computing.normalise(layer.attention_norm, work.stream, count, d, work.stream);
      if (sizes_.pre_norm) computing.normalise(layer.feed_forward_norm, work.stream, count, d, work.normal);
      feed_forward(layer, count, computing, work);
      if (!sizes_.pre_norm) computing.normalise(layer.feed_forward_norm, work.stream, count, d, work.stream);
    }
    if (sizes_.pre_norm) computing.normalise(final_, work.stream, count, d, work.stream);
    for (const Segment& segment : slice.segments) {
      float* to = out + static_cast<std::int64_t>(segment.row) * texts.columns * d;
      for (int token = 0; token < segment.count; ++token, to += d) std::copy_n(work.stream.row(segment.at + token), d, to);
    }
  }
}

const Matrix& BERT::matrix_of(Part part) const {
  const Matrix* found = nullptr;
  if (part == Part::pooler && sizes_.pooler) found = &pooler_;
  if (part == Part::transform && sizes_.transform) found = &transform_;
  if (part == Part::words && sizes_.words) found = sizes_.tied ? &embedding_ : &words_;
  if (part == Part::head && sizes_.scores > 0) found = &head_;
  if (found == nullptr) throw std::invalid_argument("this model has no such part");
  return *found;
}

int BERT::outputs_of(Part part) const { return matrix_of(part).outputs; }

void BERT::apply(Part part, const float* rows, int count, int threads, float* out) const {
  const Matrix& matrix = matrix_of(part);
  const int d = sizes_.width;
  Computing computing(kernels_, threads);
  thread_local Floats read;
  read.shape(count, d);
  for (int row = 0; row < count; ++row) std::copy_n(rows + static_cast<std::int64_t>(row) * d, d, read.row(row));
  const Activation activation = part == Part::pooler      ? Activation::tanh
                                : part == Part::transform ? sizes_.activation
                                                          : Activation::none;
  const std::int64_t stride = stride_of(part);
  computing.multiply(matrix, read, count, out, stride, activation == Activation::none ? Then::store : Then::activate, activation);
  if (part != Part::transform) return;
  for (int row = 0; row < count; ++row) {
    float* here = out + row * stride;
    kernels_.normalise(here, transform_norm_.weight.data(), transform_norm_.bias.data(), transform_norm_.epsilon, d,
                       static_cast<int>(stride), here);
  }
}

}  // namespace headway
