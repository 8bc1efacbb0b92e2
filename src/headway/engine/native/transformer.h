// The Transformer (Vaswani et al. 2017): an encoder that reads a source once, and a decoder that reads what it made of it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "angles.h"
#include "decoder_step.h"
#include "sequence_memory.h"

namespace headway {

enum class Positions : int { none, sinusoid, learned, rotary, relative };

struct TransformerSizes {
  int vocabulary = 0;
  int source_vocabulary = 0;
  int context = 0;  // of a source and of a target; 0: no limit
  int width = 0;
  int heads = 0;
  int encoder_layers = 0;
  int decoder_layers = 0;
  int hidden = 0;
  float epsilon = 1e-5f;
  Activation activation = Activation::relu;
  Positions positions = Positions::sinusoid;
  bool pre_norm = false;
  bool shared = true;
  bool tied = true;
  bool scaled = true;
  bool output_bias = false;
};

// Sources as ids (sources, columns), padded past each one's length.
struct Sources {
  std::span<const std::int64_t> ids;
  std::span<const std::int64_t> lengths;
  int columns = 0;
};

class Transformer {
 public:
  // Tensors are named as headway's own Transformer names its parameters; they are packed, and not used after. Throws
  // std::invalid_argument for a missing tensor, a wrong shape or a number that is not finite.
  Transformer(const TransformerSizes& sizes, const Weights& weights, Width width, const std::string& kernels);

  const char* kernels() const { return kernels_.name; }
  std::size_t bytes() const;
  // What the decoder keeps of a source.
  std::size_t source_bytes(int length) const;
  int logits_stride() const { return padded(sizes_.vocabulary, kPanel); }
  // How many sources rows of this model's states read.
  long sources_out() const { return alive_.use_count() - 1; }

  // Rows without tokens; row b reads source rows[b]. A source is read once, and let go with the last row that reads it.
  // Throws std::invalid_argument, or std::length_error past the context.
  State start(const Sources& sources, std::span<const std::int64_t> rows, int threads) const;

  // logits: see Outputs. Throws as `check` does and leaves the state as it was.
  void step(const Step& step, State& state, int threads, float* logits) const;

 private:
  struct Layer {
    Norm attention_norm, cross_norm, feed_forward_norm;
    Matrix qkv, output, query, key_value, cross_output, expand, contract;
  };
  struct Stack {
    std::vector<Layer> layers;
    Norm final;
    std::vector<float> positions;  // learned ones
    std::vector<float> biases;     // relative ones: (heads, kBiases), for all layers
    const float* bias() const { return biases.empty() ? nullptr : biases.data(); }
  };
  // What a decoder's layers read of a source, one memory each.
  struct Source {
    std::vector<SequenceMemory> memories;
    std::shared_ptr<const int> alive;
  };
  struct Workspace {
    Floats stream, normal, qkv, query, attended, hidden;
  };

  Stack stack(const Weights& weights, const std::string& name, int layers, bool reads_source, Width width) const;
  void check_sources(const Sources& sources, std::span<const std::int64_t> rows) const;
  std::vector<std::shared_ptr<Source>> read(const Sources& sources, std::span<const int> wanted, int threads) const;
  void embed(const Matrix& matrix, const Stack& stack, const Step& texts, std::span<const Segment> slice,
             Computing& computing, Floats& stream) const;
  void turn(std::span<const Segment> slice, Computing& computing, Floats& qkv) const;
  void feed_forward(const Layer& layer, int count, Computing& computing, Workspace& work) const;
  template <class Sublayer>
  void with_norm(const Norm& norm, int count, Computing& computing, Workspace& work, Sublayer sublayer) const;

  TransformerSizes sizes_;
  const Kernels& kernels_;
  Matrix embedding_;         // of the target; shared: of the source as well; tied: the output matrix as well
  Matrix source_embedding_;  // where it is not shared
  Matrix output_;            // where it is not tied
  Angles angles_;
  Stack encoder_, decoder_;
  float scale_;
  std::shared_ptr<PageStore> store_;
  std::shared_ptr<const int> alive_ = std::make_shared<int>(0);
};

}  // namespace headway
