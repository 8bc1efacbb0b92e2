// Attention over a whole sequence: an encoder's own, and a decoder's over its source.
#pragma once

#include <span>

#include "decoder_parts.h"

namespace headway {

// Keys and values of one sequence, all heads of one layer, in the blocks that a page is made of.
class SequenceMemory {
 public:
  SequenceMemory(int heads, int head_width, bool half, int length);
  int length() const { return length_; }
  const PageShape& shape() const { return shape_; }  // of one block; its layers are 1
  std::byte* block(int at) { return data_.data() + at * shape_.bytes(); }
  const std::byte* block(int at) const { return data_.data() + at * shape_.bytes(); }

 private:
  PageShape shape_;
  int length_;
  std::vector<std::byte> data_;
};

// Rows `at` .. `at + count - 1` of some queries, which read all of a memory unless it is causal.
struct Reading {
  const SequenceMemory* memory = nullptr;
  int at = 0;
  int count = 0;
  bool causal = false;  // the first reads one token, each next one more
};

// Stores rows `at` .. of `projected`, as many as the memory is long: all heads' keys from column `keys_at` on, all heads'
// values from `values_at` on.
void fill(Computing& computing, std::span<SequenceMemory* const> memories, std::span<const int> at, const Floats& projected,
          int keys_at, int values_at);

// out (rows, heads * head width) = attention of the queries from column 0 on. bias: as for `attend`, where a memory's own
// tokens read it.
void attend_to(Computing& computing, std::span<const Reading> readings, const Floats& queries, float scale, Floats& out,
               const float* bias = nullptr);

}  // namespace headway
