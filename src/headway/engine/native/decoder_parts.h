// The parts that families are put together from.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels.h"
#include "parts.h"
#include "state.h"

namespace headway {

// A float tensor of a model: (rows, columns), or (columns) with rows = 1.
struct Tensor {
  const float* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
};
using Tensors = std::unordered_map<std::string, Tensor>;

// Where a model takes its numbers from: tensors that are packed as they are taken (and `kept`, where that is not null),
// or parts that were packed before. So what makes a model writes its parts down, too, and reads them.
struct Weights {
  Tensors tensors;
  Parts* kept = nullptr;
  const Parts* packed = nullptr;

  // The matrix of that name, where `make` makes it from the tensors.
  template <class Make>
  Matrix matrix(const std::string& name, int outputs, int inputs, Width width, Make make) const {
    if (packed != nullptr) return packed->matrix(name, outputs, inputs, width);
    Matrix made = make(tensors);
    if (kept != nullptr) kept->keep(name, made);
    return made;
  }
};

// Throws std::invalid_argument where a tensor is missing or has another shape.
const Tensor& need(const Tensors& tensors, const std::string& name, std::int64_t rows, std::int64_t columns);
// A copy of it; throws where a number is not finite, too.
std::vector<float> finite(const Weights& weights, const std::string& name, std::int64_t rows, std::int64_t columns);
Matrix linear(const Tensors& tensors, const std::string& name, int outputs, int inputs, Width width, bool bias = true);
Matrix linear(const Weights& weights, const std::string& name, int outputs, int inputs, Width width, bool bias = true);

struct Norm {
  std::vector<float> weight;
  std::vector<float> bias;
  float epsilon = 1e-5f;
};
Norm norm(const Weights& weights, const std::string& name, int width, float epsilon);

// Rows of floats whose padding is zero.
class Floats {
 public:
  void shape(int count, int width);
  float* row(int at) { return values_.data() + static_cast<std::int64_t>(at) * stride_; }
  const float* row(int at) const { return values_.data() + static_cast<std::int64_t>(at) * stride_; }
  float* data() { return values_.data(); }
  int stride() const { return stride_; }

 private:
  std::vector<float> values_;
  int width_ = 0;
  int stride_ = 0;
};

// One computation: the kernels, the threads, and the bytes of the rows that are being multiplied.
class Computing {
 public:
  Computing(const Kernels& kernels, int threads) : kernels(kernels), threads(threads) {}

  const Kernels& kernels;
  int threads;

  // out (count, ...) = rows times the matrix; rows are made bytes first where the matrix wants them.
  void multiply(const Matrix& matrix, const Floats& rows, int count, float* out, std::int64_t out_stride,
                Then then = Then::store, Activation activation = Activation::none);
  void normalise(const Norm& norm, const Floats& in, int count, int width, Floats& out);

 private:
  void quantise(const Floats& rows, int count, Rows& made);
  void lay_out(const Matrix& matrix, Rows& rows);

  std::vector<std::int8_t> bytes_;
  std::vector<Unit> units_;
  std::vector<float> scales_;
  std::vector<std::int32_t> sums_;
};

// Some tokens of one row in a slice of a step.
struct Segment {
  int row = 0;
  int first = 0;      // the position of its first token in the row
  int count = 0;
  int at = 0;         // where it begins among the slice's tokens
  int column = 0;     // where it begins in the step's ids
  int skip = 0;       // tokens at its beginning that store their keys and values and read nothing
};

// Stores one token's keys and values of one head in a page; key and value point at all heads' first number.
void store_token(const PageShape& shape, std::byte* page, int layer, int head, int slot, const float* key, const float* value);

// A thread's own room for one attention: pointers to the pages' keys and values, and scratch.
class AttentionRoom {
 public:
  static AttentionRoom& here(const PageShape& shape, int pages);
  void point(int at, const std::byte* page, const PageShape& shape, int layer, int head);
  void run(const Kernels& kernels, const PageShape& shape, Attention& attention);

 private:
  std::vector<const void*> keys_;
  std::vector<const void*> values_;
  std::vector<float> scratch_;
};

// Stores the keys and values of a segment's tokens in its row's pages, and lets their queries read all that stand there.
// qkv (tokens, 3 * width): queries, keys, values. bias: null, or (heads, kBiases) of what is added to the scores.
void attend(Computing& computing, const State& state, int layer, std::span<const Segment> segments, const Floats& qkv,
            float scale, Floats& out, const float* bias = nullptr);

// A head's additions to its scores, from keys that are kFarthest and more before the query to those as far behind it.
inline constexpr int kBiases = 2 * kFarthest + 1;
inline const float* bias_of(const float* all, int head) { return all == nullptr ? nullptr : all + head * kBiases + kFarthest; }

}  // namespace headway
