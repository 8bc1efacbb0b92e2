// Memory for packed weights: large aligned chunks, on huge pages where the system allows them.
#pragma once

#include <cstddef>
#include <memory>

namespace headway {

inline constexpr std::size_t kLine = 64;  // every block begins at a multiple of it

// A zeroed part of a chunk that many blocks share, so that small matrices stand on huge pages too; the chunk goes back
// to the system with its last block.
class Block {
 public:
  Block() = default;
  // Throws std::bad_alloc.
  explicit Block(std::size_t bytes);
  // A part of another block, whose memory it shares.
  Block(const Block& whole, std::size_t begin, std::size_t bytes) : data_(whole.data_, whole.data_.get() + begin), bytes_(bytes) {}

  template <class T>
  T* as() {
    return reinterpret_cast<T*>(data_.get());
  }
  template <class T>
  const T* as() const {
    return reinterpret_cast<const T*>(data_.get());
  }
  std::size_t bytes() const { return bytes_; }

 private:
  std::shared_ptr<std::byte> data_;
  std::size_t bytes_ = 0;
};

}  // namespace headway
