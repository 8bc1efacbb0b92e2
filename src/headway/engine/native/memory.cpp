#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <new>

namespace headway {
namespace {

constexpr std::size_t kHugePage = 2u << 20;
constexpr std::size_t kChunk = 32u << 20;

std::size_t rounded_up(std::size_t bytes, std::size_t to) { return (bytes + to - 1) / to * to; }

std::shared_ptr<std::byte> mapped(std::size_t bytes) {
  const std::size_t whole = bytes + kHugePage;  // so that it can begin where a huge page may
  void* at = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) throw std::bad_alloc();
  const std::shared_ptr<void> mapping(at, [whole](void* begin) { munmap(begin, whole); });
  auto* begin = reinterpret_cast<std::byte*>(rounded_up(reinterpret_cast<std::uintptr_t>(at), kHugePage));
#ifdef MADV_HUGEPAGE
  madvise(begin, bytes, MADV_HUGEPAGE);
#endif
  return {mapping, begin};
}

struct Chunk {
  std::weak_ptr<std::byte> begin;  // weak: without a block of its own a chunk is let go
  std::size_t used = kChunk;
};

std::mutex lock;
Chunk current;

}  // namespace

Block::Block(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  if (bytes >= kChunk / 2) {
    data_ = mapped(rounded_up(bytes, kHugePage));
    return;
  }
  const std::lock_guard<std::mutex> guard(lock);
  const std::size_t room = rounded_up(bytes, kLine);
  std::shared_ptr<std::byte> begin = current.begin.lock();
  if (begin == nullptr || current.used + room > kChunk) {
    begin = mapped(kChunk);
    current = {begin, 0};
  }
  data_ = std::shared_ptr<std::byte>(begin, begin.get() + current.used);
  current.used += room;
}

}  // namespace headway
