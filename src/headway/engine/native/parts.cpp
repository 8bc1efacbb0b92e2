#include "parts.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "team.h"

namespace headway {
namespace {

constexpr std::uint64_t kPiece = 2u << 20;  // what one thread reads and sums at a time: a huge page
constexpr int kLanes = 8;
constexpr std::uint64_t kOdd = 0x9e3779b97f4a7c15u;

// Eight chains over words of eight bytes, so that a processor sums as fast as it reads. Every step is one to one in the
// word, so that no single word can change unseen; against an adversary it is no help.
std::uint64_t sum_of(const std::byte* bytes, std::uint64_t count) {
  std::uint64_t lanes[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = kOdd * (2 * lane + 1);
  const auto take = [&](const std::byte* from) {
    for (int lane = 0; lane < kLanes; ++lane) {
      std::uint64_t word;
      std::memcpy(&word, from + lane * sizeof(word), sizeof(word));
      lanes[lane] = std::rotl((lanes[lane] ^ word) * kOdd, 29);
    }
  };
  constexpr std::uint64_t line = kLanes * sizeof(std::uint64_t);
  const std::uint64_t whole = count / line * line;
  for (std::uint64_t at = 0; at < whole; at += line) take(bytes + at);
  if (whole < count) {
    std::byte rest[line] = {};
    std::memcpy(rest, bytes + whole, count - whole);
    take(rest);
  }
  std::uint64_t sum = count;
  for (const std::uint64_t lane : lanes) {
    sum = (sum ^ lane) * kOdd;
    sum ^= sum >> 32;
  }
  return sum;
}

bool read_whole(int descriptor, std::byte* into, std::uint64_t count, std::uint64_t offset) {
  while (count > 0) {
    const ssize_t got = pread(descriptor, into, count, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    into += got;
    offset += static_cast<std::uint64_t>(got);
    count -= static_cast<std::uint64_t>(got);
  }
  return true;
}

// Into `into`, or nowhere. The sum of the pieces' sums does not depend on who read them.
std::uint64_t read_and_sum(int descriptor, std::uint64_t offset, std::uint64_t bytes, std::byte* into, int threads) {
  std::vector<std::uint64_t> sums((bytes + kPiece - 1) / kPiece);
  std::atomic<bool> failed{false};
  in_parallel(threads, static_cast<int>(sums.size()), [&](int task) {
    thread_local std::vector<std::byte> room;
    const std::uint64_t from = task * kPiece;
    const std::uint64_t count = std::min(kPiece, bytes - from);
    if (into == nullptr) room.resize(kPiece);
    std::byte* const here = into == nullptr ? room.data() : into + from;
    if (!failed && read_whole(descriptor, here, count, offset + from)) {
      sums[task] = sum_of(here, count);
    } else {
      failed = true;
    }
  });
  if (failed) throw std::runtime_error("the file ends before its parts do, or cannot be read");
  return sum_of(reinterpret_cast<const std::byte*>(sums.data()), sums.size() * sizeof(sums[0]));
}

Block copied(const void* from, std::size_t bytes) {
  Block block(bytes);
  if (bytes > 0) std::memcpy(block.as<std::byte>(), from, bytes);
  return block;
}

}  // namespace

void Parts::keep(const std::string& name, const Matrix& matrix) {
  add(name + ".panels", matrix.data);
  keep(name + ".bias", matrix.bias);
  if (matrix.width == Width::s8) {
    keep(name + ".scales", matrix.scales);
    add(name + ".calm", copied(matrix.calm.data(), matrix.calm.size()));
  }
  if (matrix.width == Width::s4) add(name + ".unit", copied(&matrix.unit, sizeof(matrix.unit)));
}

void Parts::keep(const std::string& name, const std::vector<float>& numbers) {
  add(name, copied(numbers.data(), numbers.size() * sizeof(float)));
}

Matrix Parts::matrix(const std::string& name, int outputs, int inputs, Width width) const {
  Matrix made = unfilled(outputs, inputs, width);
  made.data = need(name + ".panels", made.panels * made.panel_bytes);
  made.bias = numbers(name + ".bias", static_cast<std::size_t>(made.panels) * kPanel);
  if (width == Width::s8) {
    made.scales = numbers(name + ".scales", static_cast<std::size_t>(made.panels) * kPanel);
    const std::size_t groups = static_cast<std::size_t>(made.panels) * made.groups();
    const auto* calm = need(name + ".calm", groups).as<std::uint8_t>();
    made.calm.assign(calm, calm + groups);
  }
  if (width == Width::s4) made.unit = numbers(name + ".unit", 1)[0];
  return made;
}

std::vector<float> Parts::numbers(const std::string& name, std::size_t count) const {
  const Block& block = need(name, count * sizeof(float));
  std::vector<float> numbers(count);
  if (count > 0) std::memcpy(numbers.data(), block.as<std::byte>(), count * sizeof(float));
  return numbers;
}

const Block& Parts::need(const std::string& name, std::size_t bytes) const {
  const auto found = blocks_.find(name);
  if (found == blocks_.end()) throw std::invalid_argument("there is no part " + name);
  if (found->second.bytes() != bytes) {
    throw std::invalid_argument("the part " + name + " must have " + std::to_string(bytes) + " bytes, but has " +
                                std::to_string(found->second.bytes()));
  }
  return found->second;
}

Read read_parts(int descriptor, std::uint64_t offset, std::uint64_t bytes, const std::vector<Place>& places, int threads) {
  for (const Place& place : places) {
    if (place.begin > bytes || place.bytes > bytes - place.begin || place.begin % kLine != 0) {
      throw std::invalid_argument("the part " + place.name + " does not lie inside the file");
    }
  }
  Block whole(bytes);
  Read made;
  made.checksum = read_and_sum(descriptor, offset, bytes, whole.as<std::byte>(), threads);
  for (const Place& place : places) made.parts.add(place.name, Block(whole, place.begin, place.bytes));
  return made;
}

std::uint64_t checksum_of(int descriptor, std::uint64_t offset, std::uint64_t bytes, int threads) {
  return read_and_sum(descriptor, offset, bytes, nullptr, threads);
}

}  // namespace headway
