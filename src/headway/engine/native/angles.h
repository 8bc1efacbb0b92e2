// Sines and cosines of positions: what sinusoids add to a vector, and what rotary positions turn queries and keys by.
#pragma once

#include <cmath>
#include <vector>

namespace headway {

// For a position, the `half` sines and then the cosines of position / 10000 ** (i / half).
class Angles {
 public:
  Angles() = default;
  explicit Angles(int half) : half_(half), table_(static_cast<std::size_t>(kTabled) * 2 * half) {
    for (int i = 0; i < half; ++i) rates_.push_back(std::exp(i * (-std::log(10000.0) / half)));
    for (int position = 0; position < kTabled; ++position) fill(position, &table_[static_cast<std::size_t>(position) * 2 * half]);
  }

  // room: what a far position is computed in.
  const float* at(int position, std::vector<float>& room) const {
    if (position < kTabled) return &table_[static_cast<std::size_t>(position) * 2 * half_];
    room.resize(2 * static_cast<std::size_t>(half_));
    fill(position, room.data());
    return room.data();
  }

  // Rotary positions (Su et al. 2021, equation 34): turns one token's vectors, a head each, queries as keys. The pairs
  // are dimensions i and i + half of a head.
  void turn(float* vectors, int heads, int position, std::vector<float>& room) const {
    const float* sines = at(position, room);
    const float* cosines = sines + half_;
    for (int head = 0; head < heads; ++head) {
      float* first = vectors + head * 2 * half_;
      float* second = first + half_;
      for (int i = 0; i < half_; ++i) {
        const float a = first[i];
        const float b = second[i];
        first[i] = a * cosines[i] - b * sines[i];
        second[i] = b * cosines[i] + a * sines[i];
      }
    }
  }

 private:
  static constexpr int kTabled = 512;

  void fill(int position, float* to) const {
    for (int i = 0; i < half_; ++i) {
      to[i] = static_cast<float>(std::sin(position * rates_[i]));
      to[half_ + i] = static_cast<float>(std::cos(position * rates_[i]));
    }
  }

  int half_ = 0;
  std::vector<double> rates_;
  std::vector<float> table_;
};

}  // namespace headway
