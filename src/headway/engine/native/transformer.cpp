#include "transformer.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "team.h"

namespace headway {
namespace {

constexpr int kSlice = 256;  // tokens of sources read together, unless one is longer; no number depends on it

// A matrix over the vocabulary with the output's bias, where there is one.
Matrix vocabulary_matrix(const Weights& weights, const std::string& name, const TransformerSizes& sizes, Width width, bool bias) {
  return weights.matrix(name, sizes.vocabulary, sizes.width, width, [&](const Tensors& tensors) {
    Tensors own{{name + ".weight", need(tensors, name + ".weight", sizes.vocabulary, sizes.width)}};
    if (bias) own[name + ".bias"] = need(tensors, "output_bias", 1, sizes.vocabulary);
    return linear(own, name, sizes.vocabulary, sizes.width, width, bias);
  });
}

}  // namespace

Transformer::Transformer(const TransformerSizes& sizes, const Weights& weights, Width width, const std::string& kernels)
    : sizes_(sizes), kernels_(choose_kernels(kernels)) {
  const int d = sizes.width;
  const int head_width = d / sizes.heads;
  embedding_ = vocabulary_matrix(weights, "token_embedding", sizes, width, sizes.tied && sizes.output_bias);
  if (!sizes.shared) source_embedding_ = linear(weights, "source_embedding", sizes.source_vocabulary, d, width, false);
  if (!sizes.tied) output_ = vocabulary_matrix(weights, "output", sizes, width, sizes.output_bias);
  if (sizes.positions == Positions::sinusoid) angles_ = Angles(d / 2);
  if (sizes.positions == Positions::rotary) angles_ = Angles(head_width / 2);
  encoder_ = stack(weights, "encoder.", sizes.encoder_layers, false, width);
  decoder_ = stack(weights, "decoder.", sizes.decoder_layers, true, width);
  scale_ = 1.0f / std::sqrt(static_cast<float>(head_width));
  store_ = std::make_shared<PageStore>(PageShape{sizes.decoder_layers, sizes.heads, head_width, width != Width::f32});
}

Transformer::Stack Transformer::stack(const Weights& weights, const std::string& name, int layers, bool reads_source,
                                      Width width) const {
  const int d = sizes_.width;
  Stack made;
  if (sizes_.positions == Positions::learned) made.positions = finite(weights, name + "positions.weight", sizes_.context, d);
  if (sizes_.positions == Positions::relative) made.biases = finite(weights, name + "positions.biases", sizes_.heads, kBiases);
  for (int at = 0; at < layers; ++at) {
    const std::string block = name + "blocks." + std::to_string(at) + ".";
    Layer layer;
    layer.attention_norm = norm(weights, block + "attention_norm", d, sizes_.epsilon);
    layer.qkv = linear(weights, block + "attention.qkv", 3 * d, d, width);
    layer.output = linear(weights, block + "attention.output", d, d, width);
    if (reads_source) {
      layer.cross_norm = norm(weights, block + "cross_attention_norm", d, sizes_.epsilon);
      layer.query = linear(weights, block + "cross_attention.query", d, d, width);
      layer.key_value = linear(weights, block + "cross_attention.key_value", 2 * d, d, width);
      layer.cross_output = linear(weights, block + "cross_attention.output", d, d, width);
    }
    layer.feed_forward_norm = norm(weights, block + "feed_forward_norm", d, sizes_.epsilon);
    layer.expand = linear(weights, block + "feed_forward.expand", sizes_.hidden, d, width);
    layer.contract = linear(weights, block + "feed_forward.contract", d, sizes_.hidden, width);
    made.layers.push_back(std::move(layer));
  }
  if (sizes_.pre_norm) made.final = norm(weights, name + "final_norm", d, sizes_.epsilon);
  return made;
}

std::size_t Transformer::bytes() const {
  std::size_t all = embedding_.bytes() + source_embedding_.bytes() + output_.bytes();
  for (const Stack* stack : {&encoder_, &decoder_}) {
    all += (stack->positions.size() + stack->biases.size()) * sizeof(float);
    for (const Layer& layer : stack->layers) {
      for (const Matrix* matrix : {&layer.qkv, &layer.output, &layer.query, &layer.key_value, &layer.cross_output, &layer.expand,
                                   &layer.contract}) {
        all += matrix->bytes();
      }
    }
  }
  return all;
}

std::size_t Transformer::source_bytes(int length) const {
  const PageShape& shape = store_->shape();
  const PageShape block{1, shape.heads, shape.head_width, shape.half};
  return padded(length, kPanel) / kPanel * block.bytes() * sizes_.decoder_layers;
}

void Transformer::embed(const Matrix& matrix, const Stack& stack, const Step& texts, std::span<const Segment> slice,
                        Computing& computing, Floats& stream) const {
  const int d = sizes_.width;
  const float scale = sizes_.scaled ? std::sqrt(static_cast<float>(d)) : 1.0f;
  in_parallel(computing.threads, static_cast<int>(slice.size()), [&](int task) {
    thread_local std::vector<float> room;
    const Segment& segment = slice[task];
    for (int token = 0; token < segment.count; ++token) {
      float* out = stream.row(segment.at + token);
      const std::int64_t from = static_cast<std::int64_t>(segment.row) * texts.columns + segment.column + token;
      const int position = segment.first + token;
      unpack_row(matrix, static_cast<int>(texts.ids[from]), out);
      for (int i = 0; i < d; ++i) out[i] *= scale;
      const float* added = nullptr;
      if (sizes_.positions == Positions::sinusoid) added = angles_.at(position, room);
      if (sizes_.positions == Positions::learned) added = &stack.positions[static_cast<std::size_t>(position) * d];
      for (int i = 0; added != nullptr && i < d; ++i) out[i] += added[i];
    }
  });
}

void Transformer::turn(std::span<const Segment> slice, Computing& computing, Floats& qkv) const {
  if (sizes_.positions != Positions::rotary) return;
  in_parallel(computing.threads, static_cast<int>(slice.size()), [&](int task) {
    thread_local std::vector<float> room;
    const Segment& segment = slice[task];
    for (int token = 0; token < segment.count; ++token) {
      angles_.turn(qkv.row(segment.at + token), 2 * sizes_.heads, segment.first + token, room);  // queries, keys behind them
    }
  });
}

// A sublayer reads what it is given and adds to the stream; the norm stands before it or after the sum.
template <class Sublayer>
void Transformer::with_norm(const Norm& norm, int count, Computing& computing, Workspace& work, Sublayer sublayer) const {
  if (sizes_.pre_norm) {
    computing.normalise(norm, work.stream, count, sizes_.width, work.normal);
    sublayer(work.normal);
  } else {
    sublayer(work.stream);
    computing.normalise(norm, work.stream, count, sizes_.width, work.stream);
  }
}

void Transformer::feed_forward(const Layer& layer, int count, Computing& computing, Workspace& work) const {
  work.hidden.shape(count, sizes_.hidden);
  with_norm(layer.feed_forward_norm, count, computing, work, [&](const Floats& in) {
    computing.multiply(layer.expand, in, count, work.hidden.data(), work.hidden.stride(), Then::activate, sizes_.activation);
    computing.multiply(layer.contract, work.hidden, count, work.stream.data(), work.stream.stride(), Then::add);
  });
}

void Transformer::check_sources(const Sources& sources, std::span<const std::int64_t> rows) const {
  const auto count = static_cast<std::int64_t>(sources.lengths.size());
  const int vocabulary = sizes_.shared ? sizes_.vocabulary : sizes_.source_vocabulary;
  for (std::int64_t source = 0; source < count; ++source) {
    const std::int64_t length = sources.lengths[source];
    if (length < 1 || length > sources.columns) {
      throw std::invalid_argument("source_lengths takes one length in 1.." + std::to_string(sources.columns) + " for each of " +
                                  std::to_string(count) + " sources, but got " + std::to_string(length) +
                                  "\nA source is never empty: put the end id behind each.");
    }
    if (sizes_.context > 0 && length > sizes_.context) {
      throw std::length_error("at most " + std::to_string(sizes_.context) + " tokens fit the model's context, but got " +
                              std::to_string(length));
    }
    for (std::int64_t column = 0; column < length; ++column) {
      const std::int64_t id = sources.ids[source * sources.columns + column];
      if (id < 0 || id >= vocabulary) {
        throw std::invalid_argument("a source's ids must be in 0.." + std::to_string(vocabulary - 1) + ", but got " +
                                    std::to_string(id));
      }
    }
  }
  for (const std::int64_t row : rows) {
    if (row < 0 || row >= count) {
      throw std::invalid_argument("rows name sources in 0.." + std::to_string(count - 1) + ", but got " + std::to_string(row));
    }
  }
}

State Transformer::start(const Sources& sources, std::span<const std::int64_t> rows, int threads) const {
  check_sources(sources, rows);
  std::vector<int> wanted(rows.begin(), rows.end());
  std::sort(wanted.begin(), wanted.end());
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  const std::vector<std::shared_ptr<Source>> found = read(sources, wanted, threads);
  State state(store_, static_cast<int>(rows.size()));
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const auto at = std::lower_bound(wanted.begin(), wanted.end(), static_cast<int>(rows[row])) - wanted.begin();
    state.read(static_cast<int>(row), found[at]);
  }
  return state;
}

std::vector<std::shared_ptr<Transformer::Source>> Transformer::read(const Sources& sources, std::span<const int> wanted,
                                                                    int threads) const {
  const int d = sizes_.width;
  const PageShape& shape = store_->shape();
  std::vector<std::shared_ptr<Source>> found;
  std::vector<std::vector<Segment>> slices;
  for (const int source : wanted) {
    const int length = static_cast<int>(sources.lengths[source]);
    const int filled = slices.empty() ? kSlice : slices.back().back().at + slices.back().back().count;
    if (filled + length > kSlice) slices.emplace_back();
    slices.back().push_back({source, 0, length, slices.back().empty() ? 0 : filled, 0});
  }
  Computing computing(kernels_, threads);
  thread_local Workspace work;
  for (const std::vector<Segment>& slice : slices) {
    const int count = slice.back().at + slice.back().count;
    std::vector<SequenceMemory> own;
    std::vector<int> at;
    for (const Segment& segment : slice) {
      own.emplace_back(shape.heads, shape.head_width, shape.half, segment.count);
      at.push_back(segment.at);
    }
    std::vector<SequenceMemory*> filled;
    std::vector<Reading> readings;
    for (std::size_t row = 0; row < slice.size(); ++row) {
      filled.push_back(&own[row]);
      readings.push_back({&own[row], slice[row].at, slice[row].count, false});
    }
    work.stream.shape(count, d);
    work.qkv.shape(count, 3 * d);
    work.attended.shape(count, d);
    embed(sizes_.shared ? embedding_ : source_embedding_, encoder_, {sources.ids, sources.columns, {}, false}, slice, computing,
          work.stream);
    for (const Layer& layer : encoder_.layers) {
      with_norm(layer.attention_norm, count, computing, work, [&](const Floats& in) {
        computing.multiply(layer.qkv, in, count, work.qkv.data(), work.qkv.stride());
        turn(slice, computing, work.qkv);
        fill(computing, filled, at, work.qkv, d, 2 * d);
        attend_to(computing, readings, work.qkv, scale_, work.attended, encoder_.bias());
        computing.multiply(layer.output, work.attended, count, work.stream.data(), work.stream.stride(), Then::add);
      });
      feed_forward(layer, count, computing, work);
    }
    if (sizes_.pre_norm) computing.normalise(encoder_.final, work.stream, count, d, work.stream);
    const std::size_t first = found.size();
    for (const Segment& segment : slice) {
      auto source = std::make_shared<Source>();
      for (int layer = 0; layer < sizes_.decoder_layers; ++layer) {
        source->memories.emplace_back(shape.heads, shape.head_width, shape.half, segment.count);
      }
      source->alive = alive_;
      found.push_back(std::move(source));
    }
    for (int layer = 0; layer < sizes_.decoder_layers; ++layer) {
      computing.multiply(decoder_.layers[layer].key_value, work.stream, count, work.qkv.data(), work.qkv.stride());
      for (std::size_t row = 0; row < slice.size(); ++row) filled[row] = &found[first + row]->memories[layer];
      fill(computing, filled, at, work.qkv, 0, d);
    }
  }
  return found;
}

void Transformer::step(const Step& step, State& state, int threads, float* logits) const {
  if (state.store() != store_) throw std::invalid_argument("a step takes a state that this model started");
  check(step, state, sizes_.vocabulary, sizes_.context);
  state.make_room(step.counts);
  const int d = sizes_.width;
  Computing computing(kernels_, threads);
  thread_local Workspace work;
  Outputs outputs(step, sizes_.tied ? embedding_ : output_, sizes_.pre_norm ? &decoder_.final : nullptr, logits);
  for (const std::vector<Segment>& slice : slices_of(step, state)) {
    const int count = slice.back().at + slice.back().count;
    work.stream.shape(count, d);
    work.qkv.shape(count, 3 * d);
    work.query.shape(count, d);
    work.attended.shape(count, d);
    embed(embedding_, decoder_, step, slice, computing, work.stream);
    for (int at = 0; at < sizes_.decoder_layers; ++at) {
      const Layer& layer = decoder_.layers[at];
      with_norm(layer.attention_norm, count, computing, work, [&](const Floats& in) {
        computing.multiply(layer.qkv, in, count, work.qkv.data(), work.qkv.stride());
        turn(slice, computing, work.qkv);
        attend(computing, state, at, slice, work.qkv, scale_, work.attended, decoder_.bias());
        computing.multiply(layer.output, work.attended, count, work.stream.data(), work.stream.stride(), Then::add);
      });
      std::vector<Reading> readings;
      for (const Segment& segment : slice) {
        const auto* source = static_cast<const Source*>(state.rows()[segment.row].source.get());
        const SequenceMemory* memory = &source->memories[at];
        // Rows of one source that stand side by side, as those of a beam, read its memory together.
        if (!readings.empty() && readings.back().memory == memory) {
          readings.back().count += segment.count;
        } else {
          readings.push_back({memory, segment.at, segment.count, false});
        }
      }
      with_norm(layer.cross_norm, count, computing, work, [&](const Floats& in) {
        computing.multiply(layer.query, in, count, work.query.data(), work.query.stride());
        attend_to(computing, readings, work.query, scale_, work.attended);
        computing.multiply(layer.cross_output, work.attended, count, work.stream.data(), work.stream.stride(), Then::add);
      });
      feed_forward(layer, count, computing, work);
    }
    outputs.take(computing, slice, work.stream);
  }
  outputs.finish(computing);
  state.advance(step.counts);
}

}  // namespace headway
