// GPT-2 (Radford et al. 2019), the published graph: norms before the sublayers, learned positions.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "decoder_step.h"

namespace headway {

struct GPT2Sizes {
  int vocabulary = 0;
  int context = 0;
  int width = 0;
  int layers = 0;
  int heads = 0;
  int hidden = 0;
  float epsilon = 1e-5f;
  Activation activation = Activation::gelu_tanh;
  bool tied = true;
  bool scale_by_head_width = true;
  bool scale_by_layer = false;
};

class GPT2 {
 public:
  // Tensors are named as headway's own GPT-2 names its parameters; they are packed, and not used after. Throws
  // std::invalid_argument for a missing tensor, a wrong shape or a number that is not finite.
  GPT2(const GPT2Sizes& sizes, const Weights& weights, Width width, const std::string& kernels);

  const GPT2Sizes& sizes() const { return sizes_; }
  const char* kernels() const { return kernels_.name; }
  std::size_t bytes() const;
  State start(int rows) const { return State(store_, rows); }
  int logits_stride() const { return padded(sizes_.vocabulary, kPanel); }

  // logits: see Outputs. Throws as `check` does and leaves the state as it was.
  void step(const Step& step, State& state, int threads, float* logits) const;

 private:
  struct Layer {
    Norm before_attention, before_feed_forward;
    Matrix qkv, output, expand, contract;
    float scale;
  };
  struct Workspace {
    Floats stream, normal, qkv, attended, hidden;
  };

  void embed(const Step& step, std::span<const Segment> slice, Floats& stream) const;

  GPT2Sizes sizes_;
  const Kernels& kernels_;
  Matrix embedding_;  // tied: the output matrix as well
  Matrix output_;
  std::vector<float> positions_;
  std::vector<Layer> layers_;
  Norm final_;
  std::shared_ptr<PageStore> store_;
};

}  // namespace headway
