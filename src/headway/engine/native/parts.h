// A model's packed parts by name, on their way into a file and back: what was packed once need not be packed again.
//
// A matrix is its panels, biases and, by width, scales or unit; everything else is numbers. Sizes are the model's own to
// know: a part of another size than it asks for is refused, so that a wrong file gives an error and no wrong access.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "matrix.h"

namespace headway {

class Parts {
 public:
  void keep(const std::string& name, const Matrix& matrix);
  void keep(const std::string& name, const std::vector<float>& numbers);
  void add(const std::string& name, Block block) { blocks_[name] = std::move(block); }

  // Throw std::invalid_argument where a part is missing or has another size.
  Matrix matrix(const std::string& name, int outputs, int inputs, Width width) const;
  std::vector<float> numbers(const std::string& name, std::size_t count) const;

  const std::map<std::string, Block>& blocks() const { return blocks_; }

 private:
  const Block& need(const std::string& name, std::size_t bytes) const;

  std::map<std::string, Block> blocks_;
};

// Where a part stands among the bytes that are read.
struct Place {
  std::string name;
  std::uint64_t begin;
  std::uint64_t bytes;
};

// The parts in `bytes` bytes of an open file, from `offset` on, and the checksum of all of them. Throws
// std::invalid_argument for a place that is not inside them, std::runtime_error where the file ends before.
struct Read {
  Parts parts;
  std::uint64_t checksum;
};
Read read_parts(int descriptor, std::uint64_t offset, std::uint64_t bytes, const std::vector<Place>& places, int threads);

// The checksum alone.
std::uint64_t checksum_of(int descriptor, std::uint64_t offset, std::uint64_t bytes, int threads);

}  // namespace headway
