// BERT (Devlin et al. 2018) and its kin with attention: norms after each sum or before each sublayer, learned or rotary
// positions, plain or gated feed-forward; causal it is the body of a GPT-2 that reads.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "angles.h"
#include "decoder_parts.h"
#include "sequence_memory.h"

namespace headway {

struct BERTSizes {
  int vocabulary = 0;
  int context = 0;
  int width = 0;
  int layers = 0;
  int heads = 0;
  int hidden = 0;
  int segments = 0;  // kinds of text a token may be marked as; 0: none
  int scores = 0;    // what the head gives a row or a token; 0: no head
  float epsilon = 1e-12f;
  Activation activation = Activation::gelu;
  bool pre_norm = false;
  bool causal = false;
  bool learned_positions = true;
  bool rotary = false;
  bool gated = false;
  bool embedding_norm = true;
  bool embedding_projection = false;
  bool pooler = false;
  bool transform = false;
  bool words = false;  // an output matrix over the vocabulary
  bool tied = true;
  bool head_bias = true;
  std::vector<float> scales;  // of the scores, for each layer
};

// What reads the states.
enum class Part : int { pooler, transform, words, head };

// Rows of ids (rows, columns), padded past each row's length.
struct Texts {
  std::span<const std::int64_t> ids;
  std::span<const std::int64_t> segments;  // as the ids, or empty: all the first
  std::span<const std::int64_t> lengths;
  int columns = 0;
};

class BERT {
 public:
  // Tensors are named as headway's own BERT names its parameters; they are packed, and not used after. What reads single
  // rows (pooler, transform, head) stays in 32 bit. Throws std::invalid_argument for a missing tensor, a wrong shape or a
  // number that is not finite.
  BERT(const BERTSizes& sizes, const Weights& weights, Width width, const std::string& kernels);

  const BERTSizes& sizes() const { return sizes_; }
  const char* kernels() const { return kernels_.name; }
  std::size_t bytes() const;

  // out (rows, columns, width): each row's states up to its length; the rest is left as it is. Throws
  // std::invalid_argument or std::length_error (past the context).
  void encode(const Texts& texts, int threads, float* out) const;

  // rows (count, width) -> out (count, stride_of(part)). Throws std::invalid_argument for a part that is not there.
  void apply(Part part, const float* rows, int count, int threads, float* out) const;
  int outputs_of(Part part) const;
  int stride_of(Part part) const { return padded(outputs_of(part), kPanel); }

 private:
  struct Layer {
    Norm attention_norm, feed_forward_norm;
    Matrix qkv, output, expand, passed, contract;  // passed: the half of a gated network that is not bent
    float scale;
  };
  // Whole rows that are computed together: tokens one row after another, without padding.
  struct Slice {
    std::vector<Segment> segments;
    int count = 0;
  };
  struct Workspace {
    Floats stream, normal, qkv, attended, hidden;
  };

  void check(const Texts& texts) const;
  std::vector<Slice> slices_of(const Texts& texts) const;
  void embed(const Texts& texts, const Slice& slice, Computing& computing, Workspace& work) const;
  void attend(const Layer& layer, const Slice& slice, std::span<SequenceMemory> memories, Computing& computing,
              Workspace& work) const;
  void feed_forward(const Layer& layer, int count, Computing& computing, Workspace& work) const;
  const Matrix& matrix_of(Part part) const;

  BERTSizes sizes_;
  const Kernels& kernels_;
  Matrix embedding_;  // tied: the output matrix as well, with its bias
  std::vector<float> positions_, segments_;
  Angles angles_;
  Norm embedding_norm_, final_, transform_norm_;
  Matrix projection_, pooler_, transform_, words_, head_;
  std::vector<Layer> layers_;
};

}  // namespace headway
