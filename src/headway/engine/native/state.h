// What a decoder remembers of its rows: keys and values in pages of 16 tokens, which rows share until one writes.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "kernels.h"

namespace headway {

// A page holds, for each layer and head, keys (head width, kPanel) and values (kPanel, head width padded to kPanel).
struct PageShape {
  int layers = 0;
  int heads = 0;
  int head_width = 0;
  bool half = true;  // 16-bit numbers, else 32-bit

  std::size_t number() const { return half ? 2 : 4; }
  std::size_t key_bytes() const { return static_cast<std::size_t>(head_width) * kPanel * number(); }
  std::size_t value_bytes() const { return static_cast<std::size_t>(padded(head_width, kPanel)) * kPanel * number(); }
  std::size_t keys_at(int layer, int head) const {
    return (static_cast<std::size_t>(layer) * heads + head) * (key_bytes() + value_bytes());
  }
  std::size_t values_at(int layer, int head) const { return keys_at(layer, head) + key_bytes(); }
  std::size_t bytes() const { return keys_at(layers, 0); }
};

using Page = std::shared_ptr<std::byte>;

// Pages stand in slabs on huge pages where the system allows them. Those that rows have let go serve the next ones; once
// all have come back, slabs past a limit go back to the system.
class PageStore : public std::enable_shared_from_this<PageStore> {
 public:
  explicit PageStore(PageShape shape) : shape_(shape) {}
  const PageShape& shape() const { return shape_; }
  Page fresh();
  Page duplicate(const Page& page);
  std::size_t pages_out() const { return out_.load(); }
  std::size_t growth(std::size_t pages);  // bytes that so many fresh pages would take from the system

 private:
  void give_back(std::byte* page);

  PageShape shape_;
  std::mutex lock_;
  std::vector<Block> slabs_;
  std::vector<std::byte*> kept_;  // pages that are not in use
  std::atomic<std::size_t> out_{0};
};

struct Row {
  std::vector<Page> pages;
  int length = 0;
  int latest = 0;  // tokens of the latest step, which may be taken back
  std::shared_ptr<const void> source;  // what the row reads beside its own tokens; the model knows what it is
};

class State {
 public:
  State(std::shared_ptr<PageStore> store, int rows) : store_(std::move(store)), rows_(rows) {}

  std::span<const Row> rows() const { return rows_; }
  const PageShape& shape() const { return store_->shape(); }
  const std::shared_ptr<PageStore>& store() const { return store_; }

  // Each of these throws std::invalid_argument and leaves the state as it was where a value is out of bounds.
  void select(std::span<const std::int64_t> indices);
  void join(State& other);
  void rewind(std::span<const std::int64_t> counts);
  State copy() const { return *this; }
  void read(int row, std::shared_ptr<const void> source) { rows_[row].source = std::move(source); }

  // Pages of its own for `count` more tokens of each row; nothing else changes, and all of it is kept or none.
  void make_room(std::span<const std::int64_t> counts);
  void advance(std::span<const std::int64_t> counts);
  // Bytes that make_room would take from the system; 0 for counts that no step takes.
  std::size_t growth(std::span<const std::int64_t> counts, std::int64_t columns) const;

 private:
  std::shared_ptr<PageStore> store_;
  std::vector<Row> rows_;
};

}  // namespace headway
