#include "gpt2.h"

#include <cmath>
#include <stdexcept>

namespace headway {

GPT2::GPT2(const GPT2Sizes& sizes, const Weights& weights, Width width, const std::string& kernels)
    : sizes_(sizes), kernels_(choose_kernels(kernels)) {
  const int d = sizes.width;
  embedding_ = linear(weights, "token_embedding", sizes.vocabulary, d, width, false);
  if (!sizes.tied) output_ = linear(weights, "output", sizes.vocabulary, d, width, false);
  positions_ = finite(weights, "position_embedding.weight", sizes.context, d);
  for (int at = 0; at < sizes.layers; ++at) {
    const std::string name = "blocks." + std::to_string(at) + ".";
    Layer layer;
    layer.before_attention = norm(weights, name + "attention_norm", d, sizes.epsilon);
    layer.before_feed_forward = norm(weights, name + "feed_forward_norm", d, sizes.epsilon);
    layer.qkv = linear(weights, name + "attention.qkv", 3 * d, d, width);
    layer.output = linear(weights, name + "attention.output", d, d, width);
    layer.expand = linear(weights, name + "feed_forward.expand", sizes.hidden, d, width);
    layer.contract = linear(weights, name + "feed_forward.contract", d, sizes.hidden, width);
    layer.scale = sizes.scale_by_head_width ? 1.0f / std::sqrt(static_cast<float>(d / sizes.heads)) : 1.0f;
    if (sizes.scale_by_layer) layer.scale /= static_cast<float>(at + 1);
    layers_.push_back(std::move(layer));
  }
  final_ = norm(weights, "final_norm", d, sizes.epsilon);
  store_ = std::make_shared<PageStore>(PageShape{sizes.layers, sizes.heads, d / sizes.heads, width != Width::f32});
}

std::size_t GPT2::bytes() const {
  std::size_t all = embedding_.bytes() + output_.bytes() + positions_.size() * sizeof(float);
  for (const Layer& layer : layers_) {
    all += layer.qkv.bytes() + layer.output.bytes() + layer.expand.bytes() + layer.contract.bytes();
  }
  return all;
}

void GPT2::embed(const Step& step, std::span<const Segment> slice, Floats& stream) const {
  for (const Segment& segment : slice) {
    for (int token = 0; token < segment.count; ++token) {
      float* out = stream.row(segment.at + token);
      const std::int64_t from = static_cast<std::int64_t>(segment.row) * step.columns + segment.column + token;
      unpack_row(embedding_, static_cast<int>(step.ids[from]), out);
      const float* position = &positions_[static_cast<std::int64_t>(segment.first + token) * sizes_.width];
      for (int d = 0; d < sizes_.width; ++d) out[d] += position[d];
    }
  }
}

void GPT2::step(const Step& step, State& state, int threads, float* logits) const {
  if (state.store() != store_) throw std::invalid_argument("a step takes a state that this model started");
  check(step, state, sizes_.vocabulary, sizes_.context);
  state.make_room(step.counts);
  const int d = sizes_.width;
  Computing computing(kernels_, threads);
  thread_local Workspace work;
  Outputs outputs(step, sizes_.tied ? embedding_ : output_, &final_, logits);
  for (std::vector<Segment>& slice : slices_of(step, state)) {
    int count = slice.back().at + slice.back().count;
    work.stream.shape(count, d);
    work.qkv.shape(count, 3 * d);
    work.attended.shape(count, d);
    work.hidden.shape(count, sizes_.hidden);
    embed(step, slice, work.stream);
    for (std::size_t at = 0; at < layers_.size(); ++at) {
      const Layer& layer = layers_[at];
      computing.normalise(layer.before_attention, work.stream, count, d, work.normal);
      computing.multiply(layer.qkv, work.normal, count, work.qkv.data(), work.qkv.stride());
      const bool narrows = at + 1 == layers_.size() && !step.every;
      if (narrows) skip_all_but_ends(step, slice);
      attend(computing, state, static_cast<int>(at), slice, work.qkv, layer.scale, work.attended);
      if (narrows) {
        Floats* const rows[] = {&work.stream, &work.attended};
        count = close_up(slice, rows);
        if (count == 0) break;
      }
      computing.multiply(layer.output, work.attended, count, work.stream.data(), work.stream.stride(), Then::add);
      computing.normalise(layer.before_feed_forward, work.stream, count, d, work.normal);
      computing.multiply(layer.expand, work.normal, count, work.hidden.data(), work.hidden.stride(), Then::activate,
                         sizes_.activation);
      computing.multiply(layer.contract, work.hidden, count, work.stream.data(), work.stream.stride(), Then::add);
    }
    outputs.take(computing, slice, work.stream);
  }
  outputs.finish(computing);
  state.advance(step.counts);
}

}  // namespace headway
