#include "state.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>

namespace headway {
namespace {

constexpr std::size_t kSlab = 16u << 20;  // or a page's size
constexpr std::size_t kKeptBytes = 2 * kSlab;

}  // namespace

std::size_t PageStore::growth(std::size_t pages) {
  const std::lock_guard<std::mutex> guard(lock_);
  if (pages <= kept_.size()) return 0;
  const std::size_t bytes = (shape_.bytes() + 63) / 64 * 64;
  const std::size_t count = std::max<std::size_t>(1, kSlab / bytes);  // in a slab
  return (pages - kept_.size() + count - 1) / count * count * bytes;
}

Page PageStore::fresh() {
  std::byte* page = nullptr;
  {
    const std::lock_guard<std::mutex> guard(lock_);
    if (kept_.empty()) {
      const std::size_t bytes = (shape_.bytes() + 63) / 64 * 64;
      const std::size_t count = std::max<std::size_t>(1, kSlab / bytes);
      Block slab(count * bytes);
      slabs_.push_back(slab);
      kept_.reserve(slabs_.size() * count);  // so that giving a page back needs no memory
      for (std::size_t at = count; at-- > 0;) kept_.push_back(slab.as<std::byte>() + at * bytes);
    }
    page = kept_.back();
    kept_.pop_back();
    ++out_;
  }
  return Page(page, [store = shared_from_this()](std::byte* at) { store->give_back(at); });
}

Page PageStore::duplicate(const Page& page) {
  Page made = fresh();
  std::memcpy(made.get(), page.get(), shape_.bytes());
  return made;
}

void PageStore::give_back(std::byte* page) {
  const std::lock_guard<std::mutex> guard(lock_);
  kept_.push_back(page);
  if (--out_ > 0 || slabs_.size() * std::max(kSlab, shape_.bytes()) <= kKeptBytes) return;
  kept_.clear();
  slabs_.clear();
}

void State::select(std::span<const std::int64_t> indices) {
  const auto count = static_cast<std::int64_t>(rows_.size());
  for (const std::int64_t index : indices) {
    if (index < 0 || index >= count) {
      throw std::invalid_argument("select takes row numbers in 0.." + std::to_string(count - 1) + ", but got " +
                                  std::to_string(index));
    }
  }
  std::vector<Row> kept;
  kept.reserve(indices.size());
  for (const std::int64_t index : indices) kept.push_back(rows_[index]);
  rows_ = std::move(kept);
}

void State::join(State& other) {
  if (&other == this || other.store_ != store_) {
    throw std::invalid_argument("join takes another state of the same model; for the same rows twice use select");
  }
  rows_.reserve(rows_.size() + other.rows_.size());
  for (Row& row : other.rows_) rows_.push_back(std::move(row));
  other.rows_.clear();
}

void State::rewind(std::span<const std::int64_t> counts) {
  bool fits = counts.size() == rows_.size();
  for (std::size_t at = 0; fits && at < rows_.size(); ++at) fits = 0 <= counts[at] && counts[at] <= rows_[at].latest;
  if (!fits) throw std::invalid_argument("rewind takes one count a row, at most the latest step's");
  for (std::size_t at = 0; at < rows_.size(); ++at) {
    Row& row = rows_[at];
    row.length -= static_cast<int>(counts[at]);
    row.latest -= static_cast<int>(counts[at]);
    row.pages.resize(padded(row.length, kPanel) / kPanel);
  }
}

void State::make_room(std::span<const std::int64_t> counts) {
  // New pages stand aside until all are there: where memory ends, nothing has changed.
  std::vector<std::vector<Page>> made(rows_.size());
  std::vector<Page> replaced(rows_.size());
  for (std::size_t at = 0; at < rows_.size(); ++at) {
    const Row& row = rows_[at];
    if (counts[at] == 0) continue;
    if (row.length % kPanel != 0 && row.pages.back().use_count() > 1) replaced[at] = store_->duplicate(row.pages.back());
    const std::size_t wanted = padded(row.length + static_cast<int>(counts[at]), kPanel) / kPanel;
    while (row.pages.size() + made[at].size() < wanted) made[at].push_back(store_->fresh());
  }
  for (std::size_t at = 0; at < rows_.size(); ++at) {
    if (replaced[at] != nullptr) rows_[at].pages.back() = std::move(replaced[at]);
    rows_[at].pages.insert(rows_[at].pages.end(), made[at].begin(), made[at].end());
  }
}

std::size_t State::growth(std::span<const std::int64_t> counts, std::int64_t columns) const {
  std::size_t pages = 0;
  for (std::size_t at = 0; at < rows_.size(); ++at) {
    if (counts.size() != rows_.size() || counts[at] < 0 || counts[at] > columns) return 0;
    if (counts[at] == 0) continue;
    const Row& row = rows_[at];
    pages += (row.length + counts[at] + kPanel - 1) / kPanel - row.pages.size();
    if (row.length % kPanel != 0 && row.pages.back().use_count() > 1) ++pages;
  }
  return store_->growth(pages);
}

void State::advance(std::span<const std::int64_t> counts) {
  for (std::size_t at = 0; at < rows_.size(); ++at) {
    rows_[at].length += static_cast<int>(counts[at]);
    rows_[at].latest = static_cast<int>(counts[at]);
  }
}

}  // namespace headway
